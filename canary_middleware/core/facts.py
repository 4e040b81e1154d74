"""What a process can say of itself that nobody else can see; ``canary doctor`` reads it.

Facts are for people: nothing is decided by them. So they are read leniently, the other way round
than everything else in the store: what is missing, unknown or odd is left out.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, TypeVar

MOST: Final = 16
"""Members of a list."""
LONGEST: Final = 200
"""Characters of a text."""
_LARGEST: Final = 2**53
_T = TypeVar("_T")
_PURPOSE: Final = b"canary_middleware: which key is this"


def fingerprint(key: bytes) -> str:
    """Eight hex digits by which two processes see that they have the same key.

    HMAC-SHA256 (RFC 2104) of a constant under the key, cut to 32 bits: the key cannot be computed
    from it, and of four thousand million keys one has the same. Empty for no key.
    """
    return hmac.new(key, _PURPOSE, hashlib.sha256).hexdigest()[:8] if key else ""


@dataclass(frozen=True, slots=True)
class Cookies:
    """What was seen of the visitor cookie since the process began.

    Attributes:
        secure: ``on``, ``off`` or ``auto``; empty where nothing is known.
        issued: answers that carried it.
        by_tls: those of them to clients that came by TLS, as server or ``X-Forwarded-Proto`` say.
        returned: requests that brought a genuine one.
    """

    secure: str = ""
    issued: int = 0
    by_tls: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class Traced:
    """What was seen of spans, by requests that a rollout mattered to.

    Attributes:
        mode: ``annotate``, ``create`` or ``off``; empty without telemetry of ours.
        provider: class of the tracer provider; empty while nobody has set one.
        requests: that ended.
        around: a recording span was open when the middleware was entered.
        inside: a server span began within, and the span processor saw it.
        inner: only a span further inside was open when the version was asked for.
        unsampled: somebody's span was open at entry that is not recorded.
    """

    mode: str = ""
    provider: str = ""
    requests: int = 0
    around: int = 0
    inside: int = 0
    inner: int = 0
    unsampled: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """One process.

    Attributes:
        library: version of this package.
        python: version of Python.
        wall: wall-clock seconds of this process when the report was made.
        uptime: seconds since its agent began.
        signs: fingerprints of the keys that sign cookies, the newest last.
        buckets: fingerprint of the bucket secret; empty without one.
        cookies: see :class:`Cookies`.
        traced: see :class:`Traced`.
        server: which one it looks like; empty where none is known.
        threads: whether its server lets threads run; ``None`` where that goes without saying.
        preloaded: the application was loaded before the process was forked.
        forked: the agent of its parent ran already when it was forked.
        turn: seconds of the longest turn of its agent since the last report.
        stall: longest seconds that an event loop did not turn in the last minute.
        troubles: what fails now, as its log names it.
        max_staleness: seconds; ``None`` for never.
        poll: seconds between two looks.
        snapshot: whether the state is kept on the disk of its host.
    """

    library: str = ""
    python: str = ""
    wall: float = 0.0
    uptime: float = 0.0
    signs: tuple[str, ...] = ()
    buckets: str = ""
    cookies: Cookies = field(default_factory=Cookies)
    traced: Traced = field(default_factory=Traced)
    server: str = ""
    threads: bool | None = None
    preloaded: bool = False
    forked: bool = False
    turn: float = 0.0
    stall: float = 0.0
    troubles: tuple[str, ...] = ()
    max_staleness: float | None = None
    poll: float = 0.0
    snapshot: bool = False


def facts_text(facts: Facts) -> str:
    """One line of JSON, without what is as it is by default."""
    return json.dumps(_told(facts), separators=(",", ":"), allow_nan=False)


def facts_of(text: str) -> Facts | None:
    """The inverse of :func:`facts_text`; ``None`` for what is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _read(Facts(), found) if isinstance(found, dict) else None


def _told(value: Any) -> dict[str, Any]:
    plain = {one.name: getattr(value, one.name) for one in fields(value)}
    usual = type(value)()
    return {name: _kept(member) for name, member in plain.items() if member != getattr(usual, name)}


def _kept(member: Any) -> Any:
    if isinstance(member, (Cookies, Traced)):
        return _told(member)
    if isinstance(member, tuple):
        return [one[:LONGEST] for one in member[:MOST]]
    if isinstance(member, float):
        return round(member, 3)
    return member[:LONGEST] if isinstance(member, str) else member


def _read(usual: _T, found: Mapping[str, Any]) -> _T:
    return type(usual)(**dict(_members(usual, found)))


def _members(usual: Any, found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in asdict(usual):
        kept = getattr(usual, name)
        yield name, _checked(name, kept, found[name]) if name in found else kept


def _checked(name: str, usual: Any, value: Any) -> Any:
    """The value if it is one of the kind of the default, else the default."""
    if isinstance(usual, (Cookies, Traced)):
        return _read(usual, value) if isinstance(value, dict) else usual
    if isinstance(usual, tuple):
        return _texts(value)
    if isinstance(usual, str):
        return value[:LONGEST] if _is_text(value) else usual
    if isinstance(usual, bool) or name == "threads":
        return value if isinstance(value, bool) else usual
    return _number(usual, value)


def _number(usual: Any, value: Any) -> Any:
    if type(value) not in (int, float) or not 0 <= value < _LARGEST:
        return usual
    return int(value) if isinstance(usual, int) else float(value)


def _texts(value: Any) -> tuple[str, ...]:
    listed: Sequence[Any] = value if isinstance(value, list) else ()
    return tuple(one[:LONGEST] for one in listed[:MOST] if _is_text(one))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()
