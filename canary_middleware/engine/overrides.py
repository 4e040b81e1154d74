"""Override tokens in a request: found, taken out before the application sees it, and verified."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final

from canary_middleware.core.cookie import CookieFormat
from canary_middleware.core.override import KIND, PARAMETER, Override, check, cookie_names, parse
from canary_middleware.core.stripping import (
    without_cookie,
    without_parameter,
    without_parameter_in,
)
from canary_middleware.core.token import TokenCodec
from canary_middleware.engine.recorder import Recorder
from canary_middleware.errors import TokenError

CACHE_SIZE: Final = 1024
"""Verified tokens that are remembered; forged ones never are."""

MOST: Final = 8
"""Tokens of one request that are looked at."""

# A cookie's value has no commas, and a header's line has several values with them.
_TOKEN: Final = re.compile(r"[^\s,:]+")
_RAW_URIS: Final = ("REQUEST_URI", "RAW_URI")

Scope = MutableMapping[str, Any]
Environ = dict[str, Any]
Accepted = dict[str, tuple[Override, str]]
"""Overrides with the text of their tokens, by rollout."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the tokens of one request are good for.

    Attributes:
        overrides: by rollout; each names the release that this process declares.
        explain: a debug token asks for an explanation of the answer.
        line: the Set-Cookie line that keeps what came in the query, if any.
    """

    overrides: Mapping[str, Override]
    explain: bool
    line: str | None


@dataclass(slots=True)
class Found:
    """What was taken out of one request: the texts of each way, in their order."""

    header: list[str] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    cookie: list[str] = field(default_factory=list)
    explain: bool = False

    def __bool__(self) -> bool:
        return bool(self.header or self.query or self.cookie or self.explain)


class Overrides:
    """Reads the tokens of every request, in the ways that are switched on.

    Args:
        ways: of :data:`canary_middleware.core.override.WAYS`.
        keys: oldest first.
        cookie: the visitor cookie's, whose prefix and ``Secure`` hold here, too.
        releases: the canary label of every declared rollout.
        wall: wall clock, seconds.
    """

    def __init__(
        self,
        ways: Sequence[str],
        keys: Sequence[bytes],
        cookie: CookieFormat,
        releases: Mapping[str, str],
        wall: Callable[[], float],
        recorder: Callable[[], Recorder],
    ) -> None:
        codec = TokenCodec(keys, cookie.namespace, KIND)
        self._parse = lru_cache(CACHE_SIZE)(partial(parse, codec))
        self._header, self._cookie, self._query = (
            way in ways for way in ("header", "cookie", "query")
        )
        self._names = cookie_names(cookie)
        self._secure = bool(cookie.secure)
        self._releases = releases
        self._wall = wall
        self._recorder = recorder

    @property
    def remembered(self) -> int:
        """How many verified tokens are kept."""
        return self._parse.cache_info().currsize

    # --- ASGI and WSGI ----------------------------------------------------------------------------

    def of_scope(self, scope: Scope) -> tuple[Scope, Given | None]:
        """The scope for the application: the same one, or a copy without the tokens."""
        found = Found()
        query: bytes = scope.get("query_string", b"")
        query = self._of_query(query.decode("latin-1"), found).encode("latin-1")
        headers = list(self._of_headers(scope["headers"], found))
        if not found:
            return scope, None
        return {**scope, "headers": headers, "query_string": query}, self._given(found)

    def _of_headers(
        self, headers: Iterable[tuple[bytes, bytes]], found: Found
    ) -> Iterable[tuple[bytes, bytes]]:
        for line in headers:
            name = line[0].lower()
            if name == b"x-canary-override" and self._header:
                found.header.append(line[1].decode("latin-1"))
            elif name == b"x-canary-explain":
                found.explain = True
            elif name == b"cookie" and self._cookie:
                rest = self._of_cookie(line[1].decode("latin-1"), found)
                if rest:
                    yield line[0], rest.encode("latin-1")
            else:
                yield line

    def of_environ(self, environ: Environ) -> tuple[Environ, Given | None]:
        """The environ for the application: the same one, or a copy without the tokens."""
        found = Found()
        query = self._of_query(environ.get("QUERY_STRING", ""), found)
        cookie = environ.get("HTTP_COOKIE", "")
        if self._cookie:
            cookie = self._of_cookie(cookie, found)
        if self._header and "HTTP_X_CANARY_OVERRIDE" in environ:
            found.header.append(environ["HTTP_X_CANARY_OVERRIDE"])
        found.explain = "HTTP_X_CANARY_EXPLAIN" in environ
        if not found:
            return environ, None
        copy = {**environ}
        copy.pop("HTTP_X_CANARY_EXPLAIN", None)
        if found.header:
            del copy["HTTP_X_CANARY_OVERRIDE"]
        if found.cookie:
            copy["HTTP_COOKIE"] = cookie
            if not cookie:
                del copy["HTTP_COOKIE"]
        if found.query:
            copy["QUERY_STRING"] = query
            copy.update(_raw_uris(environ))
        return copy, self._given(found)

    # --- both -------------------------------------------------------------------------------------

    def _of_query(self, query: str, found: Found) -> str:
        if not (query and self._query):
            return query
        rest, values = without_parameter(query, PARAMETER)
        found.query += values
        return rest

    def _of_cookie(self, header: str, found: Found) -> str:
        for name in self._names:
            header, values = without_cookie(header, name)
            found.cookie += values
        return header

    def _given(self, found: Found) -> Given:
        now = self._wall()
        room = MOST
        accepted: list[Accepted] = []
        for texts in (found.header, self._single(found.query), self._single(found.cookie)):
            tokens = _TOKEN.findall(",".join(texts))
            if len(tokens) > room:
                self._count("surplus")
            accepted.append(self._accepted(tokens[:room], now))
            room -= len(tokens[:room])
        header, query, cookie = accepted
        overrides = {
            name: override
            for name, (override, _) in {**cookie, **query, **header}.items()
            if self._is_ours(override)
        }
        explain = found.explain and any(override.debug for override in overrides.values())
        return Given(overrides, explain, self._line(query, cookie, now))

    def _single(self, texts: list[str]) -> list[str]:
        """A cookie or parameter that is there twice is as good as none, as the visitor cookie."""
        if len(texts) > 1:
            self._count("duplicated")
            return []
        return texts

    def _accepted(self, tokens: Iterable[str], now: float) -> Accepted:
        accepted: Accepted = {}
        for token in tokens:
            try:
                override = check(self._parse(token.encode("latin-1", "replace")), now)
            except TokenError as error:
                self._count(error.why)
            else:
                accepted.setdefault(override.rollout, (override, token))
        return accepted

    def _is_ours(self, override: Override) -> bool:
        declared = self._releases.get(override.rollout)
        if declared != override.release:
            self._count("unknown_rollout" if declared is None else "other_release")
        return declared == override.release

    def _line(self, query: Accepted, cookie: Accepted, now: float) -> str | None:
        """What came in the query is kept, so that the subresources of the page agree with it."""
        kept = {**cookie, **query}
        if not self._cookie or kept == cookie:
            return None
        value = ":".join(token for _, token in kept.values())
        life = int(max(override.until for override, _ in kept.values()) - now)
        flags = "; Secure" if self._secure else ""
        after = f"; Max-Age={life}; Path=/; HttpOnly; SameSite=Lax{flags}"
        return f"{self._names[0]}={value}{after}"

    def _count(self, why: str) -> None:
        self._recorder().count(f"override_{why}")


def _raw_uris(environ: Environ) -> Environ:
    """What servers give beside PEP 3333, in which the query stands once more."""
    given = {name: environ[name] for name in _RAW_URIS if name in environ}
    return {name: without_parameter_in(uri, PARAMETER) for name, uri in given.items()}
