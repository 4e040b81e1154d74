"""What one process has counted of one run of a release; sums of it are what the judge sees.

All of it is cumulative, O(metrics) in memory, and adds up: the totals of two processes are the
totals of both (STATS sections 1.7 and 4.5).
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import (
    BUCKETS,
    STARTS,
    OutcomeClass,
    add_counts,
    histogram,
    merge_observed,
)
from canary_middleware.core.reading import MAX_TEXT, Place, parse
from canary_middleware.core.throw import Cell
from canary_middleware.core.weight import FULL

VALUES: Final = 16
"""Buckets of the value of one visitor, relative to the cap of its guard."""
MAX_TOTALS: Final = 64 * 1024
"""Bytes of one encoded total, at most."""
MAX_COUNT: Final = 2**53 - 1
MAX_CELLS: Final = 256
MAX_SLOTS: Final = 64


_COHORTS: Final = {cohort.value: cohort for cohort in Cohort}
_INDEXES: Final = {str(index): index for index in range(BUCKETS)}


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    return bisect_left(STARTS, seconds)


def quantile(histogram: Iterable[int], share: float) -> float | None:
    """Seconds below which ``share`` of a histogram lies, log-linear within a bucket; display only.

    ``None`` for an empty histogram, infinity where it lies in the unbounded bucket.
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


@dataclass(slots=True)
class Entries:
    """Ledger A of one arm: first exposed requests of visitors in a period.

    Attributes:
        n: how many.
        failures: of them, that failed.
        client_errors: of them, that the client made.
        latency: time until the answer started, by :data:`STARTS`.
    """

    n: int = 0
    failures: int = 0
    client_errors: int = 0
    latency: array[int] = field(default_factory=histogram)

    def merge(self, other: Entries) -> None:
        """Add what another process counted."""
        self.n += other.n
        self.failures += other.failures
        self.client_errors += other.client_errors
        add_counts(self.latency, other.latency)


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


# --- as text -----------------------------------------------------------------------------------


def encode(ledgers: Ledgers) -> bytes:
    """Compact JSON; histograms without their empty buckets."""
    plain = {
        "run": ledgers.run,
        "upto": round(ledgers.upto, 3),
        "entries": [
            [*arm.cell, arm.cohort.value, e.n, e.failures, e.client_errors, _sparse(e.latency)]
            for arm, e in ledgers.entries.items()
        ],
        "slots": [
            [*slot.cell, slot.cohort.value, slot.number, m.n, m.hits]
            for slot, m in ledgers.slots.items()
        ],
        "seen": [
            [cohort.value, seen.kinds, _sparse(seen.starts), seen.observed]
            for cohort, seen in ledgers.seen.items()
        ],
        "pulse": [ledgers.pulse.n, ledgers.pulse.failures, ledgers.pulse.slow, ledgers.pulse.stall],
        "before": _sparse(ledgers.before),
    }
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def decode(data: bytes) -> Ledgers:
    """The inverse of :func:`encode`.

    Raises:
        StoreCorruptError: anything else.
    """
    fields = parse(data, MAX_TOTALS, "totals").fields(
        "run", "upto", "entries", "slots", "seen", "pulse", "before"
    )
    return Ledgers(
        run=fields["run"].integer(0, MAX_COUNT),
        upto=fields["upto"].seconds(),
        entries=dict(_entry(row) for row in fields["entries"].elements()),
        slots=dict(_slot(row) for row in fields["slots"].elements()),
        seen=dict(_seen(row) for row in fields["seen"].elements()),
        pulse=_pulse(fields["pulse"]),
        before=_full(fields["before"], fields["before"].value),
    )


# Places go down to the rows only: the totals of a thousand processes are full of numbers.


def _pulse(place: Place) -> Pulse:
    n, failures, slow, stall = _row(place, 4)
    n, failures, slow = _counts(place, [n, failures, slow])
    return Pulse(n, failures, slow, Place(place.path, stall).seconds())


def _entry(place: Place) -> tuple[Arm, Entries]:
    *cell, cohort, n, failures, client_errors, latency = _row(place, 8)
    n, failures, client_errors = _counts(place, [n, failures, client_errors])
    entries = Entries(n, failures, client_errors, _full(place, latency))
    return Arm(_cell(place, cell), _cohort(place, cohort)), entries


def _slot(place: Place) -> tuple[Slot, Matured]:
    *cell, cohort, number, n, hits = _row(place, 7)
    number, n = _counts(place, [number, n])
    slot = Slot(_cell(place, cell), _cohort(place, cohort), number)
    return slot, Matured(n, {name: _counts(place, at) for name, at in _named(place, hits)})


def _seen(place: Place) -> tuple[Cohort, Seen]:
    cohort, kinds, starts, observed = _row(place, 4)
    return _cohort(place, cohort), Seen(
        _counts(place, kinds, len(OutcomeClass)),
        _full(place, starts),
        {name: _counts(place, at, 2) for name, at in _named(place, observed)},
    )


def _cell(place: Place, row: list[Any]) -> Cell:
    period, lo, hi = _counts(place, row, 3)
    if max(lo, hi) > FULL:
        place.refuse("has a bound above 100%")
    return Cell(period, lo, hi)


def _cohort(place: Place, value: Any) -> Cohort:
    cohort = _COHORTS.get(value) if type(value) is str else None
    return place.refuse("has no cohort") if cohort is None else cohort


def _row(place: Place, length: int) -> list[Any]:
    row = place.value
    if type(row) is not list or len(row) != length:
        place.refuse(f"is not a list of {length}")
    return row


def _counts(place: Place, row: Any, length: int | None = None) -> list[int]:
    if type(row) is not list or (length is not None and len(row) != length):
        place.refuse("has no list of counts where one belongs")
    for count in row:
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            place.refuse(f"has something that is no count, from 0 to {MAX_COUNT}")
    return row


def _named(place: Place, found: Any) -> Iterable[tuple[str, Any]]:
    if type(found) is not dict:
        place.refuse("has no object where one belongs")
    for name in found:
        if not (name.isprintable() and 0 < len(name) <= MAX_TEXT):
            place.refuse("has a name that is none")
    return found.items()


def _sparse(counts: Iterable[int]) -> dict[str, int]:
    return {str(index): count for index, count in enumerate(counts) if count}


def _full(place: Place, found: Any) -> array[int]:
    if type(found) is not dict:
        place.refuse("has no histogram where one belongs")
    counts = histogram()
    for name, count in zip(found, _counts(place, [*found.values()]), strict=True):
        index = _INDEXES.get(name)
        if index is None:
            place.refuse(f"has no bucket {name[:80]}")
        counts[index] = count
    return counts
