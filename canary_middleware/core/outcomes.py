"""What finished exposures told, as plain counters: one cell per rollout, release and cohort.

A cell is O(1) in requests, visitors and paths. It is written by request threads under its
recorder's lock and read by whoever publishes it.
"""

from __future__ import annotations

import enum
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

# Boundaries of http.server.request.duration in the OpenTelemetry semantic conventions (seconds).
EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

BUCKETS: Final = 128
"""Buckets of a fine latency histogram; the last one is unbounded."""
STARTS: Final = tuple(0.001 * 1.1**k for k in range(BUCKETS - 1))
"""Their upper edges in seconds, inclusive: 1 ms to 163 s (STATS section 1.3)."""


def histogram() -> array[int]:
    """Fine and empty: one kilobyte."""
    return array("q", [0]) * BUCKETS


class OutcomeClass(enum.IntEnum):
    """How one exposure ended; the value is its index in :attr:`Cell.counts`."""

    OTHER = 0
    INFORMATIONAL = 1
    SUCCESS = 2
    REDIRECTION = 3
    CLIENT_ERROR = 4
    SERVER_ERROR = 5
    EXCEPTION = 6
    ABORTED = 7
    RESCUED = 8
    SUPERSEDED = 9
    TIMEOUT = 10

    @property
    def label(self) -> str:
        """``2xx`` and so on for answers, a word for the rest."""
        return f"{self.value}xx" if 1 <= self.value <= 5 else self.name.lower()


_CLASSES: Final = tuple(OutcomeClass)
_OTHER: Final = OutcomeClass.OTHER


def classify(status: int) -> OutcomeClass:
    """The class of an HTTP status; anything outside 100 to 599 is ``OTHER``."""
    return _CLASSES[status // 100] if 100 <= status < 600 else _OTHER


def _no_counts() -> list[int]:
    return [0] * len(OutcomeClass)


def _no_durations() -> list[int]:
    return [0] * (len(EDGES) + 1)


@dataclass(slots=True)
class Cell:
    """Cumulative totals of one version.

    Attributes:
        counts: by :class:`OutcomeClass`.
        durations: by bucket of ``EDGES``, upper edges inclusive, the last one unbounded.
        seconds: sum of the durations.
        starts: by bucket of :data:`STARTS`, time until the answer started, of those that did.
        observed: by guard on a declared metric, the requests in which it was observed, and those
            of them that were above what is allowed.
    """

    counts: list[int] = field(default_factory=_no_counts)
    durations: list[int] = field(default_factory=_no_durations)
    seconds: float = 0.0
    starts: array[int] = field(default_factory=histogram)
    observed: dict[str, list[int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Finished exposures."""
        return sum(self.counts)

    def merge(self, other: Cell) -> None:
        """Add what another cell counted."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.durations = [a + b for a, b in zip(self.durations, other.durations, strict=True)]
        self.seconds += other.seconds
        add_counts(self.starts, other.starts)
        merge_observed(self.observed, other.observed)

    def add(self, kind: int, seconds: float, start: float = -1.0) -> None:
        """Book one outcome; ``start`` is negative where the answer never started."""
        self.counts[kind] += 1
        self.durations[bisect_left(EDGES, seconds)] += 1
        self.seconds += seconds
        if start >= 0:
            self.starts[bisect_left(STARTS, start)] += 1


def add_counts(mine: array[int], others: Iterable[int]) -> None:
    """Add another histogram to one."""
    for index, count in enumerate(others):
        if count:
            mine[index] += count


def merge_observed(mine: dict[str, list[int]], others: Mapping[str, list[int]]) -> None:
    """Add what was observed elsewhere."""
    for name, (times, bad) in list(others.items()):
        both = mine.setdefault(name, [0, 0])
        both[0] += times
        both[1] += bad
