"""One run under the eyes of the judge: when it rolls back, at each error level, and at what cost.

The first crossing comes from sums at every revealed arm. At that moment, at the one before it, at
some others and at the end the judge itself is asked about the counts, and must say the same.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from benchmarks.judge.ledgers import Run, of_requests, of_visitors
from benchmarks.judge.traffic import run as requests_of
from benchmarks.judge.traffic import usual
from benchmarks.judge.watch import Ledger, ledgers
from benchmarks.judge.world import GUARDS, HEALTHY, HORIZON, SPAN, Harm, Split, World
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Policy
from canary_middleware.core.verdict import Decision, Evidence, Settings, Verdict

Judge = Callable[[Settings, Evidence], Verdict]
ALPHAS = (0.05, 0.01)
GRID = 6
"""Moments at which the judge is asked although nothing happened."""
EVERY = 20
"""Of so many runs, one is looked at on the grid."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened until a rollback, or until the end of the run.

    Attributes:
        found: whether there was one.
        time: seconds.
        ledger: which was first.
        visitors: that had seen the canary.
        requests: that it had answered.
        bad: of them, failed or charged twice.
    """

    found: bool
    time: float
    ledger: str
    visitors: int
    requests: int
    bad: int


@dataclass(frozen=True, slots=True)
class Case:
    """Traffic under a split, with or without harm; runs differ by their number.

    Attributes:
        world: traffic.
        split: weights.
        harm: what is wrong with the canary.
        key: of the seeds.
    """

    world: World
    split: Split
    harm: Harm = HEALTHY
    key: int = 0

    @property
    def settings(self) -> Settings:
        """Of the judge, at alpha 1 %."""
        return _settings(self.world)

    def run(self, number: int) -> Run:
        """One run."""
        rng = np.random.default_rng([self.key, self.split.weights[0], number])
        requests = requests_of(rng, self.world, self.split, self.harm)
        return (of_visitors if self.world.sticky else of_requests)(requests, self.split)


@lru_cache(maxsize=64)
def _settings(world: World) -> Settings:
    return Settings(
        guards=GUARDS,
        policy=Policy.FOLLOW if world.sticky else Policy.REQUEST,
        horizon=HORIZON,
        baseline=array("q", usual(world).baseline),
    )


@dataclass(slots=True)
class Observer:
    """Looks at runs and keeps count of disagreements between sums and judge.

    Attributes:
        judge: that is asked.
        asked: how often.
        disagreed: how often it said otherwise.
    """

    judge: Judge = judge
    asked: int = 0
    disagreed: int = 0

    def look(self, case: Case, number: int) -> dict[float, Seen]:
        """By error level, what happened."""
        run = case.run(number)
        books = ledgers(run, case.settings)
        found = [book.crossings(ALPHAS) for book in books]
        result = {}
        for index, alpha in enumerate(ALPHAS):
            times = [each[index] for each in found]
            first = min(times)
            settings = replace(case.settings, alpha=alpha)
            agreed = self._agrees(run, settings, first, books, dense=number % EVERY == 0)
            name = books[times.index(first)].name if first < math.inf else ""
            result[alpha] = _seen(run, first if agreed else math.inf, name)
        return result

    def _agrees(
        self, run: Run, settings: Settings, first: float, books: list[Ledger], *, dense: bool
    ) -> bool:
        right = True
        for moment in _moments(first, books, dense=dense):
            self.asked += 1
            verdict = self.judge(settings, run.evidence(moment))
            if moment < first or moment == first:
                wrong = (verdict.decision is Decision.ROLLBACK) != (moment == first)
                self.disagreed += wrong
                right = right and not wrong
        return right


def _moments(first: float, books: list[Ledger], *, dense: bool) -> Iterator[float]:
    """When the judge is asked: around the crossing, and before it on a grid and at the end."""
    if first < math.inf:
        yield first
        revealed = np.concatenate([book.time for book in books])
        before = revealed[revealed < first]
        if len(before):
            yield float(before.max())
    elif dense:
        yield SPAN + HORIZON
    if dense:
        yield from (moment for step in range(1, GRID) if (moment := SPAN * step / GRID) < first)


def _seen(run: Run, until: float, name: str) -> Seen:
    it = run.requests
    found = until < math.inf
    upto = int(np.searchsorted(it.time, until, side="right"))
    canary = it.canary[:upto]
    bad = canary & (it.failed[:upto] | it.twice[:upto])
    visitors = len(np.unique(it.who[:upto][canary]))
    return Seen(found, until, name, visitors, int(canary.sum()), int(bad.sum()))
