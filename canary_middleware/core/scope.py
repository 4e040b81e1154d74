"""Scopes: which requests belong to a rollout, by app-relative path prefixes and methods.

Prefixes cover whole segments: ``/checkout`` covers ``/checkout`` and ``/checkout/pay``, not
``/checkout-old``. Paths are decoded once, by the server, and never again here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Path prefixes, compiled so that a check is one ``startswith`` and one set look-up."""

    exact: frozenset[str]
    below: tuple[str, ...]

    @classmethod
    def of(cls, paths: Sequence[str]) -> Prefixes:
        """Compile ``("/", "/checkout")``; a trailing slash changes nothing."""
        bare = [path.rstrip("/") for path in paths]
        return cls(frozenset(path or "/" for path in bare), tuple(path + "/" for path in bare))

    def cover(self, path: str) -> bool:
        """Whether one of the prefixes is this path or a parent segment of it."""
        return path in self.exact or path.startswith(self.below)


@dataclass(frozen=True, slots=True)
class Scope:
    """Prefixes in, prefixes out, and methods (empty means all)."""

    inside: Prefixes
    outside: Prefixes
    methods: frozenset[str]

    @classmethod
    def of(cls, paths: Sequence[str], exclude: Sequence[str], methods: Sequence[str]) -> Scope:
        """Compile the scope of a rollout."""
        return cls(Prefixes.of(paths), Prefixes.of(exclude), frozenset(methods))

    def covers(self, path: str, method: str) -> bool:
        """Whether a request belongs to the rollout."""
        inside, outside = self.inside, self.outside
        return (
            (path in inside.exact or path.startswith(inside.below))
            and (not self.methods or method in self.methods)
            and not (path in outside.exact or path.startswith(outside.below))
        )

    def overlaps(self, other: Scope) -> bool:
        """Whether some request can belong to both (exclusions are not counted in favour)."""
        if self.methods and other.methods and self.methods.isdisjoint(other.methods):
            return False
        return any(self.inside.cover(path) for path in other.inside.exact) or any(
            other.inside.cover(path) for path in self.inside.exact
        )
