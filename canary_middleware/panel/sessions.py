"""Sessions: what the cookie of a browser that signed in says, signed. Pure.

The key of a session is made of the hash in its person's line. So all processes that read the file
agree without a secret of their own, and a line that was removed or got another token ends its
sessions. Whoever reads the hashes can make sessions, which is why others should not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from canary_middleware.core.token import TokenCodec
from canary_middleware.errors import TokenError
from canary_middleware.panel.tokens import Line

LIFE: Final = 12 * 3_600
"""Seconds, from the sign-in; a shift. Nothing prolongs a session."""
_EARLY: Final = 300
"""Seconds that the clock of the process that made it may be ahead."""


def issue(line: Line, namespace: str, now: float) -> str:
    """The value of the cookie of a session that begins now (seconds since the epoch)."""
    return _codec(line, namespace).sign([line.id, str(int(now))])


def holder(value: str, lines: Iterable[Line], namespace: str, now: float) -> Line | None:
    """The line whose session this is; ``None`` where it is over or was never one."""
    claimed = value.partition(".")[0]
    line = next((line for line in lines if line.id == claimed), None)
    if line is None:
        return None
    try:
        verified = _codec(line, namespace).verify(value.encode())
    except TokenError:
        return None
    began = int(verified.fields[1])
    return line if began - _EARLY <= now < began + LIFE else None


def _codec(line: Line, namespace: str) -> TokenCodec:
    return TokenCodec([line.digest], namespace, "panel-session")
