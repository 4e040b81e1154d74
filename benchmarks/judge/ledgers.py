"""What the three ledgers hold of a run: who revealed an arm when, and the counts at any moment."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.judge.traffic import Flags, Floats, Ints, Requests
from benchmarks.judge.world import CHARGES, HORIZON, ORDERS, Split
from canary_middleware.core.gauge import SLOW_KIND
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Matured, Seen
from canary_middleware.core.verdict import Evidence

ERRORS: Final = "errors"
RETURNED: Final = "throughput"
FAILURES: Final = "failures"
SLOT: Final = HORIZON / 4
COHORTS: Final = (Cohort.STABLE, Cohort.CANARY)


@dataclass(slots=True)
class Entered:
    """Ledger A: the first request of a visitor in a period, by time."""

    time: Floats
    cell: Ints
    canary: Flags
    failed: Flags
    bucket: Ints


@dataclass(slots=True)
class Ripened:
    """Ledger C: visitors of a period, by the moment at which they count; events by guard."""

    time: Floats
    cell: Ints
    canary: Flags
    hits: Mapping[str, Flags]


@dataclass(slots=True)
class First:
    """Ledger B of one kind: the first event of each visitor, by time."""

    time: Floats
    period: Ints
    canary: Flags


@dataclass(slots=True)
class Run:
    """One run as the judge will see it.

    Attributes:
        split: its weights.
        cells: that ``cell`` of the ledgers counts through.
        entered: ledger A.
        firsts: ledger B by kind.
        ripened: ledger C.
        requests: all of them.
    """

    split: Split
    cells: tuple[Cell, ...]
    entered: Entered
    firsts: Mapping[str, First]
    ripened: Ripened
    requests: Requests

    def odds(self) -> list[float]:
        """Probability of the canary by cell."""
        weights = self.split.periods
        return [cell.interval.odds(weights[cell.period]) for cell in self.cells]

    def evidence(self, now: float) -> Evidence:
        """All counts at a moment."""
        current = sum(start <= now for start in self.split.starts)
        return Evidence(
            weights={p: w for p, w in self.split.periods.items() if p <= current},
            current=current,
            entries=dict(self._entries(now)),
            firsts=dict(self._firsts(now)),
            matured=dict(self._matured(now)),
            betting=0,
            seen=dict(self._seen(now)),
        )

    def _entries(self, now: float) -> Iterator[tuple[Arm, Entries]]:
        it = self.entered
        upto = int(np.searchsorted(it.time, now, side="right"))
        arm = 2 * it.cell[:upto] + it.canary[:upto]
        size = 2 * len(self.cells)
        n = np.bincount(arm, minlength=size)
        failed = np.bincount(arm[it.failed[:upto]], minlength=size)
        table = np.bincount(BUCKETS * arm + it.bucket[:upto], minlength=size * BUCKETS)
        for index in np.flatnonzero(n).tolist():
            counts = array("q", table[index * BUCKETS : (index + 1) * BUCKETS].tolist())
            yield self._arm(index), Entries(int(n[index]), int(failed[index]), 0, counts)

    def _matured(self, now: float) -> Iterator[tuple[Arm, Matured]]:
        it = self.ripened
        upto = int(np.searchsorted(it.time, now, side="right"))
        arm = 2 * it.cell[:upto] + it.canary[:upto]
        size = 2 * len(self.cells)
        n = np.bincount(arm, minlength=size)
        hits = {name: np.bincount(arm[hit[:upto]], minlength=size) for name, hit in it.hits.items()}
        for index in np.flatnonzero(n).tolist():
            by_name = {name: [int(counts[index])] for name, counts in hits.items()}
            yield self._arm(index), Matured(int(n[index]), by_name)

    def _firsts(self, now: float) -> Iterator[tuple[tuple[str, int, Cohort], int]]:
        for kind, it in self.firsts.items():
            upto = int(np.searchsorted(it.time, now, side="right"))
            counts = np.bincount(2 * it.period[:upto] + it.canary[:upto])
            for index in np.flatnonzero(counts).tolist():
                key = kind, 1 + int(index) // 2, COHORTS[int(index) % 2]
                yield key, int(counts[index])

    def _seen(self, now: float) -> Iterator[tuple[Cohort, Seen]]:
        it = self.requests
        upto = int(np.searchsorted(it.time, now, side="right"))
        for cohort in COHORTS:
            mine = it.canary[:upto] == (cohort is Cohort.CANARY)
            n, failed = int(mine.sum()), int((mine & it.failed[:upto]).sum())
            observed = {
                CHARGES: [n, int((mine & it.twice[:upto]).sum())],
                ORDERS: [int((mine & it.ordered[:upto]).sum()), 0],
            }
            kinds = [0, 0, n - failed, 0, 0, failed, 0, 0, 0, 0, 0]
            yield cohort, Seen(kinds, observed=observed)

    def _arm(self, index: int) -> Arm:
        return Arm(self.cells[int(index) // 2], COHORTS[int(index) % 2])


def of_visitors(requests: Requests, split: Split) -> Run:
    """The rule for sticky visitors, STATS 4.2."""
    periods = len(split.weights)
    visit = requests.who * periods + requests.period
    entry = _first(visit, (int(requests.who.max()) + 1) * periods)
    entered_at = np.full(len(entry), np.inf)
    entered_at[entry >= 0] = requests.time[entry[entry >= 0]]
    lower = _lower(entry, split)
    throws = np.sort(entry[(entry >= 0) & _open(entry, lower, requests)])
    cells, cell = _cells(lower, visit[throws], split)
    entered = Entered(
        requests.time[throws], cell, requests.canary[throws], requests.failed[throws],
        requests.bucket[throws],
    )  # fmt: skip
    return Run(
        split,
        cells,
        entered,
        {
            FAILURES: _firsts(requests, requests.failed),
            SLOW_KIND: _firsts(requests, requests.slow),
            CHARGES: _firsts(requests, requests.twice),
        },
        _ripened(requests, split, visit, entered_at, throws, cell),
        requests,
    )


def of_requests(requests: Requests, split: Split) -> Run:
    """Every request is a throw of its own, policy ``request``."""
    cells = tuple(Cell(period) for period in split.periods)
    nobody = First(*(np.zeros(0, kind) for kind in (float, np.int64, bool)))
    return Run(
        split,
        cells,
        Entered(requests.time, requests.period, requests.canary, requests.failed, requests.bucket),
        dict.fromkeys((FAILURES, SLOW_KIND, CHARGES), nobody),
        Ripened(
            requests.time,
            requests.period,
            requests.canary,
            {ERRORS: requests.failed, CHARGES: requests.twice, ORDERS: requests.ordered},
        ),
        requests,
    )


def _first(keys: Ints, size: int) -> Ints:
    """Index of the first element with each key, -1 for none."""
    first = np.full(size, -1)
    first[keys[::-1]] = np.arange(len(keys))[::-1]
    return first


def _lower(entry: Ints, split: Split) -> Ints:
    """By visit: the largest weight under which the visitor was seen before this period."""
    seen = entry.reshape(-1, len(split.weights)) >= 0
    below = np.where(seen, np.array(split.weights), 0)
    before = np.zeros_like(below)
    before[:, 1:] = np.maximum.accumulate(below, axis=1)[:, :-1]
    return before.reshape(-1)


def _open(entry: Ints, lower: Ints, requests: Requests) -> Flags:
    """Whether the coin of each visit is still to be thrown: nobody who was on the canary."""
    return requests.place[entry] >= lower


def _cells(lower: Ints, visits: Ints, split: Split) -> tuple[tuple[Cell, ...], Ints]:
    periods = len(split.weights)
    bounds = (0, *split.weights)
    known = np.searchsorted(np.array(bounds), lower[visits])
    number = visits % periods * len(bounds) + known
    used = np.flatnonzero(np.bincount(number))
    cell = np.searchsorted(used, number)
    cells = [Cell(1 + int(one) // len(bounds), bounds[int(one) % len(bounds)]) for one in used]
    return tuple(cells), cell


def _firsts(requests: Requests, event: Flags) -> First:
    at = np.flatnonzero(event)
    if len(at):
        first = _first(requests.who[at], int(requests.who[at].max()) + 1)
        at = at[np.sort(first[first >= 0])]
    return First(requests.time[at], requests.period[at], requests.canary[at])


def _ripened(
    requests: Requests,
    split: Split,
    visit: Ints,
    entered_at: Floats,
    throws: Ints,
    cell: Ints,
) -> Ripened:
    """Visitors count when the slot of their entry and a horizon are over, within their period."""
    entry = entered_at[visit]
    ripe = (np.floor(entered_at / SLOT) + 1) * SLOT + HORIZON
    within = requests.time < ripe[visit]
    events = {
        ERRORS: requests.failed & within,
        RETURNED: (requests.time > entry) & within,
        CHARGES: requests.twice & within,
        ORDERS: requests.ordered & within,
    }
    time = ripe[visit[throws]]
    ends = np.array([*split.starts[1:], np.inf])
    counts = time <= ends[requests.period[throws]]
    hits = {}
    for name, event in events.items():
        had = np.zeros(len(entered_at), bool)
        had[visit[event]] = True
        hits[name] = had[visit[throws[counts]]]
    return Ripened(time[counts], cell[counts], requests.canary[throws[counts]], hits)
