"""Strict reading of untrusted JSON: every value knows its place, so that a refusal can name it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from canary_middleware.errors import StoreCorruptError

MAX_TEXT: Final = 1_000
"""Characters in one string; labels, paths and reasons are far shorter."""
_END_OF_TIME: Final = 1e11
"""Seconds; the year 5138, far below where floats lose milliseconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """One value inside a larger one. Every method raises ``StoreCorruptError`` naming ``path``."""

    path: str
    value: Any

    def refuse(self, why: str) -> NoReturn:
        """Give up on the whole value."""
        raise StoreCorruptError(f"{self.path} {why}")

    def fields(self, *names: str) -> dict[str, Place]:
        """An object with exactly these members."""
        found = dict(self.items())
        if found.keys() != set(names):
            self.refuse(f"must have exactly the members {', '.join(names)}")
        return found

    def items(self) -> Iterator[tuple[str, Place]]:
        """The members of an object with free names."""
        if type(self.value) is not dict:
            self.refuse("is not an object")
        for name, value in self.value.items():
            yield Place(f"{self.path}, a member name", name).text(), self._child(name, value)

    def elements(self) -> Iterator[Place]:
        """The members of a list."""
        if type(self.value) is not list:
            self.refuse("is not a list")
        for index, value in enumerate(self.value):
            yield self._child(str(index), value)

    def text(self, *, empty: bool = False) -> str:
        """One line of printable text."""
        value = self.value
        if type(value) is not str or not value.isprintable() or len(value) > MAX_TEXT:
            self.refuse(f"is not one line of at most {MAX_TEXT} printable characters")
        if not value and not empty:
            self.refuse("is empty")
        return value

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(element.text() for element in self.elements())

    def one_of(self, *words: str) -> str:
        """One of a few words."""
        text = self.text()
        return text if text in words else self.refuse(f"is not one of {', '.join(words)}")

    def integer(self, low: int, high: int) -> int:
        """A whole number within bounds; ``true`` is none."""
        value = self.value
        if type(value) is not int or not low <= value <= high:
            self.refuse(f"is not a whole number from {low} to {high}")
        return value

    def seconds(self) -> float:
        """A duration or a time, zero or more."""
        value = self.value
        if type(value) not in (int, float) or not 0 <= value <= _END_OF_TIME:
            self.refuse("is not a number of seconds")
        return float(value)

    def _child(self, name: str, value: Any) -> Place:
        return Place(f"{self.path}.{name[:80]}", value)


def parse(data: bytes, limit: int, name: str, *, once: bool = False) -> Place:
    """JSON text as a :class:`Place`.

    Args:
        data: UTF-8.
        limit: bytes.
        name: of the whole, for refusals.
        once: refuse a member that is there twice, of which JSON's last one counts otherwise.

    Raises:
        StoreCorruptError: longer than ``limit`` bytes, no UTF-8, no JSON, NaN or infinite, or
            nested too deep.
    """
    root = Place(name, None)
    if len(data) > limit:
        root.refuse(f"takes {len(data)} bytes of at most {limit}")
    try:
        found = json.loads(
            data.decode(),
            parse_constant=_no_number,
            parse_float=_finite,
            object_pairs_hook=_once if once else None,
        )
    except (ValueError, RecursionError) as error:
        raise StoreCorruptError(f"{name} is not JSON: {str(error)[:200]}") from error
    return Place(name, found)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    # What would be read as infinite could never be written again.
    number = float(word)
    return number if math.isfinite(number) else _no_number(word)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member is there twice")
    return found
