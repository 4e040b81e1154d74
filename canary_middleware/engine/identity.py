"""Who is it: the verified cookie, remembered by its exact bytes, and the rule of the first draw."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from canary_middleware.core.bucket import ANONYMOUS
from canary_middleware.core.cookie import (
    MAX_AGE,
    Cookie,
    CookieFormat,
    binding_of,
    find,
    new_cookie,
    read,
    write,
)
from canary_middleware.core.model import Assignment, Visitor
from canary_middleware.core.routing import Drawn
from canary_middleware.core.token import TokenCodec
from canary_middleware.engine.recorder import Recorder
from canary_middleware.errors import TokenError

CACHE_SIZE = 8192


class Known:
    """A visitor whose cookie this process has verified.

    Attributes:
        cookie: its content.
        drawn: what buckets are drawn by.
        until: wall-clock second from which the cookie must be looked at again.
        reissue: write it again: signed by an older key, half of its life gone, or from the future.
        memo: the mark of a snapshot, and the assignments of this visitor by rollout under it.
    """

    __slots__ = ("cookie", "drawn", "memo", "reissue", "until")

    def __init__(self, cookie: Cookie, until: float, *, reissue: bool) -> None:
        self.cookie = cookie
        self.drawn = Drawn(ANONYMOUS, cookie.id)
        self.until = until
        self.reissue = reissue
        self.memo: tuple[object, dict[str, Assignment]] = (None, {})

    def rewritten(self, cookie: Cookie) -> Known:
        """The same visitor with another content of the cookie, to be issued again."""
        return Known(cookie, self.until, reissue=True)


class Visitors:
    """Reads and writes visitor cookies.

    Args:
        keys: oldest first.
        cookie: the cookie's name and attributes.
        bind_key: 32 bytes under which subjects are bound to cookies.
        wall: wall clock, seconds.
        random: gives that many random bytes.

    Attributes:
        issued: cookies that were issued.
        issued_by_tls: those of them to clients that came by TLS.
        returned: requests that brought a genuine cookie.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        cookie: CookieFormat,
        bind_key: bytes,
        wall: Callable[[], float],
        random: Callable[[int], bytes],
        recorder: Callable[[], Recorder],
    ) -> None:
        self._codec = TokenCodec(keys, cookie.namespace, "visitor")
        self._format = cookie
        self._names = cookie.names
        self._bind_key = bind_key
        self._wall = wall
        self._random = random
        self._recorder = recorder
        # Only genuine cookies get in, so nobody can fill it with forgeries; genuine ones are cheap
        # to make for a bot that drops its cookie, hence the bound.
        self._cache: OrderedDict[bytes, Known] = OrderedDict()
        # Plain numbers without a lock: of threads that count at once one may be lost.
        self.issued = self.issued_by_tls = self.returned = 0

    def known(self, header: bytes) -> Known | None:
        """The visitor in a Cookie header; ``None`` if there is no acceptable cookie."""
        # The key is the whole pair, so that a header without any other cookie is one.
        known = self._cache.get(header)
        if known is None or self._wall() >= known.until:
            known = self._sought(header) if header else None
        if known is not None:
            self.returned += 1
        return known

    def _sought(self, header: bytes) -> Known | None:
        for name in self._names:
            value = find(header, name)
            if value is None:
                continue
            known = self._cache.get(name + value)
            if known is None or self._wall() >= known.until:
                known = self._verified(value, name)
            if known is not None:
                return known
        return None

    def _verified(self, value: bytes, name: bytes) -> Known | None:
        now = self._wall()
        try:
            verified = self._codec.verify(value)
            cookie = read(verified, now)
        except TokenError as error:
            self._recorder().count(f"cookie_{error.why if value else 'duplicated'}")
            return None
        due = cookie.due(now) or not verified.newest or name != self._names[0]
        until = cookie.issued + (MAX_AGE if due else MAX_AGE / 2)
        known = Known(cookie, until, reissue=due)
        if len(self._cache) >= CACHE_SIZE:
            # One operation: a dict that another thread fills cannot be asked for its first.
            self._cache.popitem(last=False)
        self._cache[name + value] = known
        return known

    def forget(self) -> None:
        """Verify every cookie anew at its next sight."""
        self._cache.clear()

    def draw(self) -> Known:
        """A new anonymous visitor."""
        now = self._wall()
        return Known(new_cookie(self._random, now), now + MAX_AGE, reissue=True)

    def binding(self, visitor: Visitor) -> str:
        """Keyed hash of a subject for :attr:`Cookie.binding`."""
        return binding_of(self._bind_key, visitor.subject)

    def line(self, cookie: Cookie, *, by_tls: bool = False) -> str:
        """The Set-Cookie line that issues a cookie now, to a client that came so."""
        self.issued += 1
        self.issued_by_tls += by_tls
        return self._format.header(write(self._codec, cookie, int(self._wall())))


MAX_REMEMBERED: Final = 256
"""Characters of a subject that is worth remembering; clients make up longer ones."""

_plain = lru_cache(maxsize=4096)(Visitor)


def as_visitor(found: Any) -> Visitor | None:
    """What ``identify`` returned, as a visitor.

    Raises:
        TypeError: it is neither a ``Visitor`` nor a string nor ``None``.
    """
    if found is None or isinstance(found, Visitor):
        return found
    if inspect.iscoroutine(found):
        found.close()  # or Python warns of it at each request
        raise TypeError("identify returned a coroutine: write it with `async def`, for ASGI")
    if isinstance(found, str):
        found = str(found)  # of a subclass only the text
        if len(found) > MAX_REMEMBERED:
            return Visitor(found)
        return _plain(found) if found else None
    raise TypeError(f"identify must return Visitor, str or None, not {type(found).__name__}")
