"""Signed overrides: a token that puts its bearer on one side of one release of one rollout.

A token is the whole permission: whoever holds it may use it until it ends. So it names everything
it is good for, and what a request could choose is nothing.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Final, NamedTuple

from canary_middleware.core.cookie import CookieFormat
from canary_middleware.core.model import Cohort
from canary_middleware.core.token import TokenCodec, urlsafe
from canary_middleware.errors import TokenError

KIND: Final = "override"
"""Of the codec: a visitor cookie, which every visitor has, never verifies as an override."""

WAYS: Final = ("header", "cookie", "query")
"""How a request may carry a token."""

HEADER: Final = "X-Canary-Override"
EXPLAIN: Final = "X-Canary-Explain"
PARAMETER: Final = "canary-override"
COOKIE: Final = "canary-override-"
"""And the namespace; with the prefix that the visitor cookie has, too."""

LONGEST: Final = 30 * 24 * 3600
"""Seconds between the making and the end of a token: one that was lost cannot be called back."""

SKEW: Final = 60
"""Seconds by which a token may come from the future."""

_SIDES: Final = {"c": Cohort.CANARY, "s": Cohort.STABLE}
_TEXT: Final = re.compile(
    r"1\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,86})\.([cs])\.([0-9]{1,11})\.([0-9]{1,11})\.([dn])"
)


class Override(NamedTuple):
    """What a token says.

    Attributes:
        rollout: its name.
        release: the canary label; a token for another release does nothing.
        cohort: the side that its bearer gets.
        issued: wall-clock second of its making.
        until: wall-clock second from which it is worth nothing.
        debug: it works before the start and after a rollback, too, and may ask for explanations.
    """

    rollout: str
    release: str
    cohort: Cohort
    issued: int
    until: int
    debug: bool = False


def mint(codec: TokenCodec, override: Override) -> str:
    """The signed token: at most 250 characters of base64url and dots.

    Args:
        codec: of kind :data:`KIND`.
        override: with names that the configuration takes.

    Raises:
        ValueError: it would be valid for no time, or for longer than :data:`LONGEST`.
    """
    if not 0 < override.until - override.issued <= LONGEST:
        raise ValueError(f"an override is valid for 1 second to {LONGEST // 86_400} days")
    return codec.sign((
        "1",
        override.rollout,
        # A label may contain dots, which separate fields.
        urlsafe(override.release.encode("ascii")).decode("ascii"),
        "c" if override.cohort is Cohort.CANARY else "s",
        str(override.issued),
        str(override.until),
        "d" if override.debug else "n",
    ))  # fmt: skip


def parse(codec: TokenCodec, token: bytes) -> Override:
    """What a genuine token says, at whatever time.

    Raises:
        TokenError: ``oversized``, ``malformed`` or ``forged``.
    """
    found = _TEXT.fullmatch(".".join(codec.verify(token).fields))
    if found is None:
        raise TokenError("malformed")
    rollout, label, side, issued, until, debug = found.groups()
    override = Override(
        rollout, _release(label), _SIDES[side], int(issued), int(until), debug == "d"
    )
    if not 0 < override.until - override.issued <= LONGEST:
        raise TokenError("malformed")
    return override


def check(override: Override, now: float) -> Override:
    """The same override, if it is valid now.

    Raises:
        TokenError: ``expired``, or ``future``: it comes from the future.
    """
    if now >= override.until:
        raise TokenError("expired")
    if override.issued - now > SKEW:
        raise TokenError("future")
    return override


def read(codec: TokenCodec, token: bytes, now: float) -> Override:
    """What a token says that is genuine and valid now.

    Raises:
        TokenError: see :func:`parse` and :func:`check`.
    """
    return check(parse(codec, token), now)


def _release(label: str) -> str:
    try:
        return urlsafe_b64decode(label + "=" * (-len(label) % 4)).decode("ascii")
    except ValueError:  # also what UnicodeDecodeError and binascii.Error are
        raise TokenError("malformed") from None


def cookie_names(cookie: CookieFormat) -> tuple[str, ...]:
    """Names of the cookie that carries tokens, by the visitor cookie's; the one to write first."""
    names = (name.decode("ascii").removesuffix("=") for name in cookie.names)
    return tuple(name.replace("canary-", COOKIE, 1) for name in names)
