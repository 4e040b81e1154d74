"""The visitor cookie: its name, its content, its Set-Cookie line, and how to find it in a header.

Content, in the order of the fields: format, random visitor id (96 bits), time of issue, then
optional sections of one letter and a value: ``b`` the bound subject, ``p`` a pin, ``m`` the last
sight that was measured. Sections that this version does not know are kept as they are, so that two
versions can share a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from canary_middleware.core.model import Cohort
from canary_middleware.core.pins import Pin
from canary_middleware.core.throw import Sight
from canary_middleware.core.token import TokenCodec, Verified, urlsafe
from canary_middleware.core.weight import FULL
from canary_middleware.errors import TokenError

FORMAT: Final = "1"
MAX_AGE: Final = 90 * 24 * 3600
SKEW: Final = 60
"""Seconds by which a cookie may come from the future before it is issued again."""

MAX_PINS: Final = 4
"""Pins in one cookie, so that it stays below 200 bytes; the ones that are oldest go first."""

NOBODY: Final = "-"
"""A binding that no subject has: whoever identifies is drawn by who they are, not by this id."""

LONGEST: Final = 118
"""Characters of all pins and sights together, likewise; a sight that leaves no room is not kept."""

_TIME: Final = re.compile(r"[0-9a-z]{1,8}")
_SLOT: Final = 3
_PIN: Final = re.compile(r"([cs])([0-9a-z]{1,11})(?:-([0-9a-z]{1,8}))?")
_SIGHT: Final = re.compile(
    r"([cu])([0-9a-z]{1,11})-([0-9a-z]{1,7})"
    r"(?:-([0-9a-z]{1,4})-([0-9a-z]{1,4})(?:-([0-9a-z]{1,4}))?)?"
)

Secure = bool | Literal["auto"]


class Cookie(NamedTuple):
    """What a visitor carries.

    Attributes:
        id: 16 characters of base64url, 96 random bits.
        issued: wall-clock seconds.
        sections: letter and value each, in the order of first writing.
    """

    id: str
    issued: int
    sections: tuple[str, ...] = ()

    @property
    def binding(self) -> str:
        """Keyed hash of the subject that signed in with this cookie, or ``""``."""
        return next((section[1:] for section in self.sections if section[0] == "b"), "")

    def bound(self, binding: str) -> Cookie:
        """The same visitor, bound to a subject."""
        others = tuple(section for section in self.sections if section[0] != "b")
        return self._replace(sections=(*others, "b" + binding))

    def pin(self, tag: str) -> Pin | None:
        """What is remembered under a tag of :func:`pin_tag`."""
        for section in self.sections:
            if section[0] == "p" and section.startswith(tag, 1):
                found = _PIN.fullmatch(section, 1 + len(tag))
                if found is not None:
                    cohort = Cohort.CANARY if found[1] == "c" else Cohort.STABLE
                    return Pin(cohort, int(found[2], 36), int(found[3] or "0", 36))
        return None

    def pinned(self, tag: str, pin: Pin) -> Cookie:
        """The same visitor with a pin, in place of older ones of that rollout."""
        slot = "p" + tag[:_SLOT]
        kept = [section for section in self.sections if not section.startswith(slot)]
        pins = [section for section in kept if section[0] == "p"]
        if len(pins) >= MAX_PINS:
            kept.remove(pins.pop(0))
        until = f"-{_base36(pin.until)}" if pin.until else ""
        side = "c" if pin.cohort is Cohort.CANARY else "s"
        text = f"p{tag}{side}{_base36(pin.period)}{until}"
        # A pin is what somebody was promised, a sight is evidence: those go first.
        others = [section for section in kept if section[0] == "m"] + pins
        while others and sum(1 + len(s) for s in (*kept, text) if s[0] in "pm") > LONGEST:
            kept.remove(others.pop(0))
        return self._replace(sections=(*kept, text))

    def sight(self, tag: str) -> Sight | None:
        """The last sight that was measured under a tag of :func:`pin_tag`."""
        for section in self.sections:
            if section[0] == "m" and section.startswith(tag, 1):
                found = _SIGHT.fullmatch(section, 1 + len(tag))
                if found is not None:
                    low, high, seen = (int(found[i] or "0", 36) for i in (4, 5, 6))
                    if found[4] is None:
                        high = FULL
                    if low < high <= FULL:
                        period, entry = int(found[2], 36), int(found[3], 36)
                        return Sight(period, entry, low, high, seen, found[1] == "c")
        return None

    def sighted(self, tag: str, sight: Sight) -> Cookie | None:
        """The same visitor with a sight in place of older ones of that rollout; ``None``: no room.

        A new visitor of a rollout takes 13 characters, later periods a few more.
        """
        slot = "m" + tag[:_SLOT]
        kept = [section for section in self.sections if not section.startswith(slot)]
        text = (
            f"m{tag}{'c' if sight.counted else 'u'}{_base36(sight.period)}-{_base36(sight.entry)}"
        )
        if (sight.lo, sight.hi, sight.seen) != (0, FULL, 0):
            text += f"-{_base36(sight.lo)}-{_base36(sight.hi)}"
        if sight.seen:
            text += f"-{_base36(sight.seen)}"
        taken = sum(1 + len(section) for section in kept if section[0] in "pm")
        if taken + 1 + len(text) > LONGEST:
            return None
        return self._replace(sections=(*kept, text))

    def due(self, now: float) -> bool:
        """Whether to issue it again: past half of its life, or from a clock that runs ahead."""
        return now - self.issued > MAX_AGE / 2 or self.issued - now > SKEW


def new_cookie(random: Callable[[int], bytes], now: float) -> Cookie:
    """A fresh anonymous visitor; ``random`` gives that many random bytes."""
    return Cookie(urlsafe(random(12)).decode("ascii"), int(now))


def binding_of(key: bytes, subject: str) -> str:
    """Keyed hash of a subject, 11 characters; tells users apart, reveals none of them."""
    data = subject.encode("utf-8", "surrogatepass")
    digest = blake2b(data, key=key, digest_size=8, person=b"canary-binding").digest()
    return urlsafe(digest).decode("ascii")


def pin_tag(key: bytes, rollout: str, lineage: str, epoch: int, binding: str = "") -> str:
    """What the pin of one release in one epoch stands under: 8 characters.

    The first three are of the rollout and the subject, so that a newer pin takes the place of an
    older one; the others name release, lineage and epoch, so that no pin of another one is found.

    Args:
        key: of the lane, from :func:`canary_middleware.core.bucket.lane_key`; it names the release.
        rollout: its name.
        lineage: of the control state.
        epoch: of the release there.
        binding: of the identified subject whose pin it is, where the cookie is somebody else's.
    """
    # Of whoever it is, too: a user must not lose a session to the next one in the same browser.
    whose = f"{rollout} {binding}".rstrip().encode()
    slot = blake2b(whose, digest_size=3, person=b"canary-pin").digest()
    text = f"{lineage} {epoch} {binding}".encode()
    rest = blake2b(text, key=key, digest_size=6, person=b"canary-pin").digest()
    return urlsafe(slot).decode("ascii")[:_SLOT] + urlsafe(rest).decode("ascii")[: 8 - _SLOT]


def write(codec: TokenCodec, cookie: Cookie, now: int | None = None) -> str:
    """The signed value of a cookie, issued ``now``: 69 characters, 82 with a bound subject."""
    issued = cookie.issued if now is None else now
    return codec.sign((FORMAT, cookie.id, _base36(issued), *cookie.sections))


def read(verified: Verified, now: float) -> Cookie:
    """The cookie in verified fields.

    Raises:
        TokenError: ``malformed`` or ``expired``.
    """
    fields = verified.fields
    if len(fields) < 3 or fields[0] != FORMAT or not all(fields) or not _TIME.fullmatch(fields[2]):
        raise TokenError("malformed")
    issued = int(fields[2], 36)
    if now - issued > MAX_AGE:
        raise TokenError("expired")
    return Cookie(fields[1], issued, tuple(fields[3:]))


@lru_cache(maxsize=64)
def _base36(number: int) -> str:
    """Remembered, because all cookies of a second carry the same one."""
    digits = ""
    while number > 0:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"


@dataclass(frozen=True, slots=True)
class CookieFormat:
    """Name and attributes, fixed by configuration and never decided per request.

    Args:
        namespace: part of the name.
        secure: ``True``: ``__Host-`` prefix and ``Secure`` (RFC 6265bis section 4.1.3.2).
            ``False``: neither, for plain HTTP. ``"auto"``: writes the secure one and
            reads both, for the day on which a site moves to HTTPS.

    Attributes:
        names: ``name=`` as it stands in a Cookie header; the one that is written comes first.
    """

    namespace: str
    secure: Secure = True
    names: tuple[bytes, ...] = field(init=False)
    _before: str = field(init=False)
    _after: str = field(init=False)

    def __post_init__(self) -> None:
        plain = f"canary-{self.namespace}=".encode()
        host = b"__Host-" + plain
        names = (host, plain) if self.secure == "auto" else (host,) if self.secure else (plain,)
        flags = "; Secure" if self.secure else ""
        after = f"; Max-Age={MAX_AGE}; Path=/; HttpOnly; SameSite=Lax{flags}"
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_before", names[0].decode("ascii"))
        object.__setattr__(self, "_after", after)

    def header(self, value: str) -> str:
        """The Set-Cookie line."""
        return self._before + value + self._after


def find(header: bytes, name: bytes) -> bytes | None:
    """The value of ``name=`` in a Cookie header; ``None`` if absent, ``b""`` if it is there twice.

    Works on the raw bytes: a cookie header can carry anything that other applications put in it,
    and parsing all of it costs more than everything else that the middleware does.
    """
    if header.startswith(name) and b";" not in header:  # it stands alone
        return header[len(name) :].strip()
    before, there, after = header.partition(name)
    if not there:
        return None
    if name in after or before[-2:] not in (b"", b"; "):
        # There twice, or part of another cookie's name or value: look at each of them.
        parts = [part.strip() for part in header.split(b";")]
        values = [part[len(name) :].strip() for part in parts if part.startswith(name)]
        return (values[0] if len(values) == 1 else b"") if values else None
    return after.partition(b";")[0].strip()
