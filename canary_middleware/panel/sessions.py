"""Sessions: what the cookie of a browser that signed in says. Pure but for chance.

It is signed with a key made of the hash in its person's line. So all processes that read the file
agree without a secret of their own, and a line that was removed or got another token ends its
sessions. Who reads the hashes could sign, too; therefore a session also holds the proof of which
the line is the hash, and which only the token gives. It is masked with a key made of the hash, so
that whoever steals a cookie cannot make another one that lasts longer. Nothing but the token, or
the file and a cookie together, makes sessions.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

from canary_middleware.core.token import TokenCodec, urlsafe
from canary_middleware.errors import TokenError
from canary_middleware.panel.tokens import Line, is_proof, proof

LIFE: Final = 12 * 3_600
"""Seconds, from the sign-in; a shift. Nothing prolongs a session."""
_EARLY: Final = 300
"""Seconds that the clock of the process that made it may be ahead."""


def issue(line: Line, token: str, namespace: str, now: float) -> str:
    """The value of the cookie of a session that begins now.

    Args:
        line: of the token.
        token: with which somebody has signed in.
        namespace: of the panel.
        now: seconds since the epoch.
    """
    nonce = secrets.token_bytes(16)
    masked = urlsafe(_masked(proof(token), line, nonce)).decode()
    fields = [line.id, str(int(now)), urlsafe(nonce).decode(), masked]
    return _codec(line, namespace).sign(fields)


def holder(value: str, lines: Iterable[Line], namespace: str, now: float) -> Line | None:
    """The line whose session this is; ``None`` where it is over or was never one."""
    claimed = value.partition(".")[0]
    line = next((line for line in lines if line.id == claimed), None)
    if line is None:
        return None
    try:
        fields = _codec(line, namespace).verify(value.encode()).fields
        began, data = int(fields[1]), _masked(_bytes(fields[3]), line, _bytes(fields[2]))
    except (TokenError, ValueError, IndexError):
        return None
    return line if is_proof(line, data) and began - _EARLY <= now < began + LIFE else None


def _codec(line: Line, namespace: str) -> TokenCodec:
    return TokenCodec([line.digest], namespace, "panel-session")


def _masked(data: bytes, line: Line, nonce: bytes) -> bytes:
    """A proof under a mask that is used once, or without it again."""
    mask = hmac.digest(line.digest, b"canary panel session" + nonce, "sha256")
    return bytes(one ^ other for one, other in zip(data, mask, strict=True))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
