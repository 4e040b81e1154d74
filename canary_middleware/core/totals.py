"""What one process has counted of one run of a release; sums of it are what the judge sees.

All of it is cumulative, O(metrics) in memory, and adds up: the totals of two processes are the
totals of both (STATS sections 1.7 and 4.5).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import (
    BUCKETS,
    STARTS,
    OutcomeClass,
    add_counts,
    histogram,
    merge_observed,
)
from canary_middleware.core.throw import Cell

VALUES: Final = 16
"""Buckets of the value of one visitor, relative to the cap of its guard."""
MAX_COUNT: Final = 2**53 - 1


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    return bisect_left(STARTS, seconds)


def quantile(histogram: Iterable[int], share: float) -> float | None:
    """Seconds below which ``share`` of a histogram lies, log-linear within a bucket; display only.

    ``None`` for an empty histogram, infinity where it lies in the unbounded bucket, the upper edge
    of the first one where it lies there: what is faster was not measured.
    """
    counts = list(histogram)
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            if index == BUCKETS - 1:
                return math.inf
            if not index:
                return STARTS[0]
            return float(STARTS[index] * 1.1 ** ((wanted - below) / count - 1))
        below += count
    return math.inf


class Arm(NamedTuple):
    """One side of a cell."""

    cell: Cell
    cohort: Cohort


class Slot(NamedTuple):
    """Visitors of an arm who came within the same quarter of a horizon.

    Attributes:
        cell: of the arm.
        cohort: of the arm.
        number: as :meth:`canary_middleware.core.gauge.Gauge.slot_at` has it; 0 is the sum of those
            that matured long ago.
    """

    cell: Cell
    cohort: Cohort
    number: int


class _Count:
    """A number that is one of an array's."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, of: Entries, owner: type[Entries]) -> int:
        return of.counts[self._place]

    def __set__(self, of: Entries, count: int) -> None:
        of.counts[self._place] = count


@dataclass(slots=True, init=False)
class Entries:
    """Ledger A of one arm: first exposed requests of visitors in a period.

    Attributes:
        counts: everything, in one array: numbers of their own would take four times the room.
        n: how many.
        failures: of them, that failed.
        client_errors: of them, that the client made.
        latency: time until the answer started, by :data:`STARTS`; a view of the counts.
    """

    counts: array[int]
    n = _Count(0)
    failures = _Count(1)
    client_errors = _Count(2)

    def __init__(
        self,
        n: int = 0,
        failures: int = 0,
        client_errors: int = 0,
        latency: array[int] | None = None,
    ) -> None:
        begin = array("q", (n, failures, client_errors))
        self.counts = begin + (histogram() if latency is None else latency)

    @property
    def latency(self) -> memoryview[int]:
        """Time until the answer started, by bucket."""
        return memoryview(self.counts)[-BUCKETS:]

    def merge(self, other: Entries) -> None:
        """Add what another process counted."""
        add_counts(self.counts, other.counts)


@dataclass(slots=True)
class Matured:
    """Ledger C of one slot: visitors, and those of them that had an event within the horizon.

    Attributes:
        n: visitors who entered.
        hits: by metric of the plan (see ``Plan.matured``), visitors by bucket of their value; a
            share has one bucket, a mean :data:`VALUES`.
    """

    n: int = 0
    hits: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, bucket: int) -> None:
        """Count a visitor for a metric."""
        counts = self.hits.setdefault(name, [])
        counts += [0] * (bucket + 1 - len(counts))
        counts[bucket] += 1

    def merge(self, other: Matured) -> None:
        """Add what another process counted."""
        self.n += other.n
        for name, counts in other.hits.items():
            mine = self.hits.setdefault(name, [0] * len(counts))
            mine += [0] * (len(counts) - len(mine))
            for index, count in enumerate(counts):
                mine[index] += count


def _no_kinds() -> list[int]:
    return [0] * len(OutcomeClass)


@dataclass(slots=True)
class Seen:
    """All requests of one version, evidence or not: for the eye, for caps and for the precaution.

    Attributes:
        kinds: by :class:`OutcomeClass`.
        starts: time until the answer started, by :data:`STARTS`.
        observed: by guard on a declared metric, the requests in which it was observed, and those of
            them that were above what is allowed (never).
    """

    kinds: list[int] = field(default_factory=_no_kinds)
    starts: array[int] = field(default_factory=histogram)
    observed: dict[str, list[int]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Requests."""
        return sum(self.kinds)

    @property
    def failures(self) -> int:
        """5xx, exceptions, time-outs and rescued answers."""
        return sum(self.kinds[kind] for kind in FAILURES)

    def merge(self, other: Seen) -> None:
        """Add what another process counted."""
        self.kinds = [a + b for a, b in zip(self.kinds, other.kinds, strict=True)]
        add_counts(self.starts, other.starts)
        merge_observed(self.observed, other.observed)


FAILURES: Final = (
    OutcomeClass.SERVER_ERROR, OutcomeClass.EXCEPTION, OutcomeClass.TIMEOUT, OutcomeClass.RESCUED,
)  # fmt: skip


@dataclass(slots=True)
class Pulse:
    """The last seconds of a process, for the precaution.

    Attributes:
        n: answers of both versions.
        failures: of them, that failed.
        slow: of them, that started later than the ceiling.
        stall: seconds for which an event loop has not turned.
    """

    n: int = 0
    failures: int = 0
    slow: int = 0
    stall: float = 0.0

    def merge(self, other: Pulse) -> None:
        """Add another process; the worst stall counts."""
        self.n += other.n
        self.failures += other.failures
        self.slow += other.slow
        self.stall = max(self.stall, other.stall)


@dataclass(slots=True)
class Ledgers:
    """Everything that a process ships of one release.

    Attributes:
        run: revision of the start that it belongs to; 0 before any start.
        upto: wall-clock seconds up to which everything has been booked.
        entries: ledger A.
        slots: ledger C.
        seen: by version.
        pulse: the last seconds.
        before: latency of stable before the start, for the baseline.
    """

    run: int = 0
    upto: float = 0.0
    entries: dict[Arm, Entries] = field(default_factory=dict)
    slots: dict[Slot, Matured] = field(default_factory=dict)
    seen: dict[Cohort, Seen] = field(default_factory=dict)
    pulse: Pulse = field(default_factory=Pulse)
    before: array[int] = field(default_factory=histogram)

    def merge(self, other: Ledgers) -> None:
        """Add what another process counted of the same run; it is booked up to the earlier time."""
        self.upto = min(self.upto, other.upto)
        for arm, entries in other.entries.items():
            self.entries.setdefault(arm, Entries()).merge(entries)
        for slot, matured in other.slots.items():
            self.slots.setdefault(slot, Matured()).merge(matured)
        for cohort, seen in other.seen.items():
            self.seen.setdefault(cohort, Seen()).merge(seen)
        self.pulse.merge(other.pulse)
        add_counts(self.before, other.before)
