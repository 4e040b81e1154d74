"""What the middleware does to the headers of an exposed response: Vary, Cache-Control, Set-Cookie.

Sources: RFC 9110 section 12.5.5 (Vary), RFC 9111 sections 5.2 and 7.3 (a shared cache may store a
Set-Cookie), RFC 9213 (targeted cache control). One implementation serves ASGI (bytes) and WSGI (str).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

Text = TypeVar("Text", bytes, str)

PUBLIC = frozenset({"public", "immutable", "s-maxage"})
FRESHNESS = frozenset({"private", "no-cache", "max-age", "stale-while-revalidate", "stale-if-error"})
TARGETED = frozenset({"cdn-cache-control", "surrogate-control", "x-accel-expires"})
"""Headers by which an application tells a shared cache to keep a page whatever Cache-Control says."""


class HeaderRules(Generic[Text]):
    """The rules in the string type of one interface.

    Args:
        kind: ``bytes`` for ASGI, ``str`` for WSGI.
    """

    def __init__(self, kind: type[Text]) -> None:
        def text(value: str) -> Text:
            return value if kind is str else value.encode("ascii")  # type: ignore[return-value]  # mypy cannot narrow a TypeVar by a value

        self._text = text
        self._vary = text("vary")
        self._cache_control = text("cache-control")
        self._vary_name = text("Vary" if kind is str else "vary")
        self._cache_name = text("Cache-Control" if kind is str else "cache-control")
        self._cookie_name = text("Set-Cookie" if kind is str else "set-cookie")
        self._private = text("private, no-cache")
        self._no_store = text("no-store")
        self._star = text("*")
        self._comma = text(",")
        self._equals = text("=")
        self._joint = text(", ")
        self._public = frozenset(map(text, PUBLIC))
        self._freshness = frozenset(map(text, FRESHNESS))
        self._special = frozenset(map(text, TARGETED | {"vary", "cache-control"}))
        self._private_line = (self._cache_name, self._private)
        self._no_store_line = (self._cache_name, self._no_store)

    def vary_line(self, names: Iterable[str]) -> Text:
        """``Vary`` value for these request header names, to be prebuilt."""
        return self._text(", ".join(names))

    def edit(
        self,
        headers: Iterable[tuple[Text, Text]],
        vary: Text,
        cookie: Text | None = None,
        *,
        no_store: bool = False,
    ) -> list[tuple[Text, Text]] | None:
        """Headers of an exposed response; ``None`` if the application made it public: nothing may change.

        Args:
            headers: as the application gave them; not changed.
            vary: from :meth:`vary_line`.
            cookie: a Set-Cookie line to add, if any.
            no_store: for a rescued answer, which must be kept by nobody.
        """
        plain: list[tuple[Text, Text]] = []
        special: list[tuple[Text, Text]] = []
        for line in headers:
            (special if line[0].lower() in self._special else plain).append(line)
        if special:
            if not no_store and self._is_public(special):
                return None
            self._edit_special(plain, special, vary, no_store)
        else:
            plain.append(self._no_store_line if no_store else self._private_line)
            plain.append((self._vary_name, vary))
        if cookie is not None:
            plain.append((self._cookie_name, cookie))
        return plain

    def _is_public(self, special: Sequence[tuple[Text, Text]]) -> bool:
        for name, value in special:
            key = name.lower()
            if key == self._cache_control:
                if not self._public.isdisjoint(self._directives(value)):
                    return True
            elif key != self._vary:
                return True
        return False

    def _edit_special(
        self,
        plain: list[tuple[Text, Text]],
        special: Sequence[tuple[Text, Text]],
        vary: Text,
        no_store: bool,
    ) -> None:
        named = [value for name, value in special if name.lower() == self._vary]
        cache = [value for name, value in special if name.lower() == self._cache_control]
        plain.append((self._cache_name, self._no_store if no_store else self._strict(cache)))
        plain.append((self._vary_name, self._appended(named, vary)))

    def _strict(self, values: Sequence[Text]) -> Text:
        parts = [part for value in values for part in self._parts(value)]
        if any(part.lower() == self._no_store for part in parts):
            return self._joint.join(parts)
        kept = [part for part in parts if self._directive(part) not in self._freshness]
        return self._joint.join([self._private, *kept])

    def _appended(self, values: Sequence[Text], vary: Text) -> Text:
        parts = [part for value in values for part in self._parts(value)]
        if self._star in parts:
            return self._joint.join(parts)
        seen = {part.lower() for part in parts}
        parts += [part for part in self._parts(vary) if part.lower() not in seen]
        return self._joint.join(parts)

    def _directives(self, value: Text) -> set[Text]:
        return {self._directive(part) for part in self._parts(value)}

    def _directive(self, part: Text) -> Text:
        return part.partition(self._equals)[0].strip().lower()

    def _parts(self, value: Text) -> list[Text]:
        return [part.strip() for part in value.split(self._comma) if part.strip()]
