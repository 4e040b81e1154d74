"""What the middleware does to the headers of an exposed response: Vary, Cache-Control, Set-Cookie.

Sources: RFC 9110 section 12.5.5 (Vary), RFC 9111 sections 5.2 and 7.3 (a shared cache may store a
Set-Cookie), RFC 9213 (targeted cache control). One implementation serves ASGI (bytes) and WSGI
(str).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

Text = TypeVar("Text", bytes, str)

PUBLIC: Final = frozenset({"public", "immutable", "s-maxage"})
FRESHNESS: Final = frozenset(
    {"private", "no-cache", "max-age", "stale-while-revalidate", "stale-if-error"}
)
TARGETED: Final = frozenset({
    "cdn-cache-control", "cloudflare-cdn-cache-control", "netlify-cdn-cache-control",
    "vercel-cdn-cache-control", "akamai-cache-control", "surrogate-control", "edge-control",
    "x-accel-expires",
})  # fmt: skip
"""Headers that tell one kind of shared cache what to do, whatever Cache-Control says."""

FORBIDDING: Final = frozenset({"no-store", "private", "no-cache"})
"""Directives that keep an answer out; with a value they speak of single header fields only."""

REMEMBERED_LINES: Final = 64

PRIVATE: Final = "private, no-cache"
NO_STORE: Final = "no-store"

# RFC 9110 section 5.6.1: a comma inside quotes does not separate, as in private="set-cookie, etag".
_PART: Final = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^,])+')


class HeaderRules(Generic[Text]):
    """The rules in the string type of one interface.

    Args:
        encode: from text to that type.
        decode: back; header values are latin-1 in both interfaces, so nothing is lost.
        lower: whether names are written in lower case, as ASGI demands.
    """

    def __init__(
        self, encode: Callable[[str], Text], decode: Callable[[Text], str], *, lower: bool
    ) -> None:
        def name(text: str) -> Text:
            return encode(text.lower() if lower else text)

        self._encode: Callable[[str], Text] = encode
        self._decode: Callable[[Text], str] = decode
        self._vary: Text = name("Vary")
        self._cache_control: Text = name("Cache-Control")
        self._set_cookie: Text = name("Set-Cookie")
        self._merged: frozenset[Text] = frozenset(map(encode, ("vary", "cache-control")))
        self._special: frozenset[Text] = self._merged | frozenset(map(encode, TARGETED))
        self._vary_lines: dict[tuple[str, ...], Text] = {}
        self._private_line: tuple[Text, Text] = (self._cache_control, encode(PRIVATE))
        self._no_store_line: tuple[Text, Text] = (self._cache_control, encode(NO_STORE))

    def vary_line(self, names: Iterable[str]) -> Text:
        """``Vary`` value for these request header names, each once."""
        key = tuple(names)
        line = self._vary_lines.get(key)
        if line is None:
            line = self._encode(_each_once(key))
            # `identify` reads a few combinations; one that reads ever new names builds each anew.
            if len(self._vary_lines) < REMEMBERED_LINES:
                self._vary_lines[key] = line
        return line

    def edit(
        self,
        headers: Iterable[tuple[Text, Text]],
        vary: Text,
        cookie: Text | None = None,
        *,
        no_store: bool = False,
    ) -> list[tuple[Text, Text]] | None:
        """Headers of an exposed response; ``None`` if it was made public: nothing may change then.

        Args:
            headers: as the application gave them; not changed.
            vary: from :meth:`vary_line`.
            cookie: a Set-Cookie line to add, if any.
            no_store: for a rescued answer, which must be kept by nobody.
        """
        lines = list(headers)
        cache_line = self._no_store_line if no_store else self._private_line
        for name, _ in lines:
            if name.lower() in self._special:
                # Rare, so that the way of most answers stays one look at each name.
                lines, special = self._parted(lines, self._special if no_store else self._merged)
                if not no_store:
                    if is_public(special):
                        return None
                    cache_line = (self._cache_control, self._encode(strict(special)))
                vary = self._encode(appended(special, self._decode(vary)))
                break
        lines += (cache_line, (self._vary, vary))
        if cookie is not None:
            lines.append((self._set_cookie, cookie))
        return lines

    def _parted(
        self, headers: Sequence[tuple[Text, Text]], replaced: frozenset[Text]
    ) -> tuple[list[tuple[Text, Text]], list[tuple[str, str]]]:
        """What is not replaced, as it is; and what says who may keep the answer, as text."""
        kept: list[tuple[Text, Text]] = []
        special: list[tuple[str, str]] = []
        for line in headers:
            name = line[0].lower()
            if name in self._special:
                special.append((self._decode(name), self._decode(line[1])))
            if name not in replaced:
                kept.append(line)
        return kept, special


def is_public(lines: Sequence[tuple[str, str]]) -> bool:
    """Whether the application lets shared caches give its answer to everybody."""
    if any(not _forbids(name, value) for name, value in lines if name in TARGETED):
        return True
    return not PUBLIC.isdisjoint(map(_directive, _parts(lines, "cache-control")))


def _forbids(name: str, value: str) -> bool:
    """Whether a targeted header keeps the answer out of its cache."""
    if name == "x-accel-expires":  # nginx: seconds, or "@" and a time; 0 is "do not keep"
        return value.strip() == "0"
    parts = {part.lower().replace(" ", "") for part in _parts([(name, value)], name)}
    if "max-age=0" in parts and not any(part.startswith("stale-") for part in parts):
        return True
    return not FORBIDDING.isdisjoint(parts)


def strict(lines: Sequence[tuple[str, str]]) -> str:
    """``private, no-cache`` and what the application said beside freshness; or its ``no-store``."""
    parts = _parts(lines, "cache-control")
    if NO_STORE in map(_directive, parts):
        return ", ".join(parts)
    return ", ".join([PRIVATE, *(part for part in parts if _directive(part) not in FRESHNESS)])


def appended(lines: Sequence[tuple[str, str]], vary: str) -> str:
    """The application's Vary and ours, each name once; ``*`` already says more."""
    parts = _parts(lines, "vary")
    if "*" in parts:
        return "*"
    return _each_once([*parts, *vary.split(", ")])


def _each_once(names: Iterable[str]) -> str:
    return ", ".join({name.lower(): name for name in names}.values())


def _parts(lines: Sequence[tuple[str, str]], wanted: str) -> list[str]:
    # As recipients read it: several lines are one list (RFC 9110 section 5.3), so a quote that one
    # of them leaves open ends in the next.
    value = ", ".join(value for name, value in lines if name == wanted)
    return [part.strip() for part in _PART.findall(value) if part.strip()]


def _directive(part: str) -> str:
    return part.partition("=")[0].strip().lower()


def asgi_rules() -> HeaderRules[bytes]:
    """Rules for ASGI messages."""
    return HeaderRules[bytes](
        lambda text: text.encode("latin-1"), lambda data: data.decode("latin-1"), lower=True
    )


def wsgi_rules() -> HeaderRules[str]:
    """Rules for WSGI's native strings (PEP 3333)."""
    return HeaderRules[str](str, str, lower=False)
