"""What finished exposures told, as plain counters: one cell per rollout, release and cohort.

A cell is O(1) in requests, visitors and paths. It is written by request threads under its
recorder's lock and read by whoever publishes it.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

# Boundaries of http.server.request.duration in the OpenTelemetry semantic conventions (seconds).
EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


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
    """

    counts: list[int] = field(default_factory=_no_counts)
    durations: list[int] = field(default_factory=_no_durations)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Finished exposures."""
        return sum(self.counts)

    def merge(self, other: Cell) -> None:
        """Add what another cell counted."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.durations = [a + b for a, b in zip(self.durations, other.durations, strict=True)]
        self.seconds += other.seconds

    def add(self, kind: int, seconds: float) -> None:
        """Book one outcome."""
        self.counts[kind] += 1
        self.durations[bisect_left(EDGES, seconds)] += 1
        self.seconds += seconds
