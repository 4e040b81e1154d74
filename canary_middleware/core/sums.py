"""Totals arranged as the formulas want them: both arms of each cell, beside its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, Generic, NamedTuple, TypeVar

from canary_middleware.core.mixtures import Cells, Table
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import VALUES, Arm, Entries, Matured
from canary_middleware.core.verdict import Evidence, Settings
from canary_middleware.core.weight import FULL

FAILED: Final = "failures"
"""Kind of first events that every failing guard shares."""
SLOW: Final = "slow"
"""Likewise of the guards of latency."""

Counted = TypeVar("Counted", Entries, Matured)
Histograms = Sequence[tuple[float, tuple[Sequence[int], Sequence[int]]]]


class Pair(NamedTuple, Generic[Counted]):
    """One throw of many visitors with the same history.

    Attributes:
        rho: probability that it gave the canary.
        cell: whose throw.
        canary: what came of it there.
        stable: likewise.
    """

    rho: float
    cell: Cell
    canary: Counted
    stable: Counted


class Sums:
    """The evidence by ledger; cells that are no throw, or of no known period, are left out.

    Args:
        evidence: as folded from all processes.
        settings: under the policy ``request`` nobody matures: all is known with the answer.
    """

    def __init__(self, evidence: Evidence, settings: Settings) -> None:
        self.evidence = evidence
        self.per_request = settings.policy is Policy.REQUEST
        self.unit = "requests" if self.per_request else "visitors"
        # Bytes are the cheapest key under which its curves are remembered.
        self.baseline = None if settings.baseline is None else settings.baseline.tobytes()
        self.entries = _paired(evidence, evidence.entries, Entries)
        if self.per_request:
            self.matured = _at_once(self.entries, evidence.matured)
        else:
            self.matured = _paired(evidence, evidence.matured, Matured)
        # Before that there was nothing to compare a latency by.
        self._compared = [one for one in self.entries if one.cell.period >= evidence.betting]
        self._firsts = _firsts(evidence)
        self._hits: dict[str, Cells] = {}

    @cached_property
    def visitors(self) -> tuple[int, int]:
        """First sights of canary and stable; who is on stable at several weights counts once."""
        canary = sum([pair.canary.n for pair in self.entries])
        first = [pair.stable.n for pair in self.entries if pair.cell.interval == (0, FULL)]
        return canary, sum(first)

    def sights(self) -> list[tuple[float, tuple[int, int]]]:
        """Throws per cell, for the sample ratio."""
        return [(pair.rho, (pair.canary.n, pair.stable.n)) for pair in self.entries]

    @cached_property
    def failures(self) -> Cells:
        """Ledger A: entries that failed."""
        return [
            (pair.rho, _table(pair.canary.failures, pair.stable.failures, pair))
            for pair in self.entries
        ]

    @cached_property
    def client_errors(self) -> Cells:
        """Ledger A: entries that the client made a mistake with."""
        return [
            (pair.rho, _table(pair.canary.client_errors, pair.stable.client_errors, pair))
            for pair in self.entries
        ]

    @cached_property
    def latency(self) -> Histograms:
        """Ledger A: latency of entries, since there was something to compare it by."""
        return [(pair.rho, (_starts(pair.canary), _starts(pair.stable))) for pair in self._compared]

    def slower(self, at: int) -> Cells:
        """Ledger A: entries in bucket ``at`` of the latency and beyond."""
        return [
            (rho, Table(*(arm[-1] - arm[at - 1] for arm in arms), *(arm[at - 1] for arm in arms)))
            for rho, arms in self.below
        ]

    @cached_property
    def below(self) -> Histograms:
        """Ledger A: entries up to each bucket of the latency."""
        return [
            (rho, (list(accumulate(canary)), list(accumulate(stable))))
            for rho, (canary, stable) in self.latency
        ]

    def firsts(self, kind: str) -> Cells:
        """Ledger B: visitors with a first event, under the weight of the period it happened in."""
        return self._firsts.get(kind, [])

    def hits(self, name: str) -> Cells:
        """Ledger C: matured visitors with an event."""
        cells = self._hits.get(name)
        if cells is None:
            cells = self._hits[name] = [
                (pair.rho, _table(_first(pair.canary, name), _first(pair.stable, name), pair))
                for pair in self.matured
            ]
        return cells

    def values(self, name: str) -> Histograms:
        """Ledger C: matured visitors by value, those without one first."""
        return [
            (pair.rho, (_values(pair.canary, name), _values(pair.stable, name)))
            for pair in self.matured
        ]


def _paired(
    evidence: Evidence, ledger: Mapping[Arm, Counted], nobody: Callable[[], Counted]
) -> list[Pair[Counted]]:
    cells: dict[Cell, list[Counted | None]] = {}
    for (cell, cohort), counted in ledger.items():
        cells.setdefault(cell, [None, None])[cohort is Cohort.STABLE] = counted
    return [
        Pair(rho, cell, canary or nobody(), stable or nobody())
        for cell, (canary, stable) in cells.items()
        if (rho := evidence.odds(cell)) is not None
    ]


def _firsts(evidence: Evidence) -> dict[str, list[tuple[float, Table]]]:
    found: dict[tuple[str, int], list[int]] = {}
    for (kind, period, cohort), count in evidence.firsts.items():
        if 0 < evidence.weights.get(period, 0) < FULL:
            found.setdefault((kind, period), [0, 0])[cohort is Cohort.STABLE] += count
    cells: dict[str, list[tuple[float, Table]]] = {}
    for (kind, period), (canary, stable) in found.items():
        rho = evidence.weights[period] / FULL
        cells.setdefault(kind, []).append((rho, Table(canary, stable)))
    return cells


def _starts(entries: Entries) -> Sequence[int]:
    return entries.counts[-BUCKETS:]


def total(cells: Cells) -> Table:
    """All cells together: to be shown, never to be judged."""
    if len(cells) == 1:
        return cells[0][1]
    return Table(*map(sum, zip(*(table for _, table in cells), strict=True)))


def _at_once(
    entries: Iterable[Pair[Entries]], ledger: Mapping[Arm, Matured]
) -> list[Pair[Matured]]:
    def of(cell: Cell, cohort: Cohort, entered: Entries) -> Matured:
        counted = ledger.get(Arm(cell, cohort))
        return Matured(entered.n, {} if counted is None else counted.hits)

    return [
        Pair(
            pair.rho,
            pair.cell,
            of(pair.cell, Cohort.CANARY, pair.canary),
            of(pair.cell, Cohort.STABLE, pair.stable),
        )
        for pair in entries
    ]


def _table(canary: int, stable: int, pair: Pair[Entries] | Pair[Matured]) -> Table:
    """Events and the rest; an event that was flushed before its entry is not one too many."""
    others = max(0, pair.canary.n - canary), max(0, pair.stable.n - stable)
    return Table(canary, stable, *others)


def _first(matured: Matured, name: str) -> int:
    counts = matured.hits.get(name)
    return counts[0] if counts else 0


def _values(matured: Matured, name: str) -> list[int]:
    counts = matured.hits.get(name, [])
    without = max(0, matured.n - sum(counts))
    return [without, *counts, *[0] * (VALUES - len(counts))]
