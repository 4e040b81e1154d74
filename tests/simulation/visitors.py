"""Sticky visitors one by one, in pure Python: what the judge is shown by hundreds of requests.

The whole table, with more nulls and many more runs, is ``python -m benchmarks.judge``.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from canary_middleware.core.gauge import SLOW_KIND
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import histogram
from canary_middleware.core.sums import FAILED
from canary_middleware.core.throw import Cell, Interval
from canary_middleware.core.totals import Arm, Entries, bucket_of
from canary_middleware.core.verdict import Decision, Evidence, Settings, Verdict
from canary_middleware.core.weight import FULL

Judge = Callable[[Settings, Evidence], Verdict]
Fails = Callable[[float, bool, bool], float]
"""Probability of a failure: part of the run that is over, chronic visitor, canary."""
GUARDS: Final = (*Guard.defaults(), Guard.never("charges"))
SPREAD: Final = 0.5
"""Of the logarithm of a latency, once for the visitor and once for the request."""
SLOW: Final = 1.0
ANYWHERE: Final = Interval()


def _baseline() -> array[int]:
    random, counts = Random(99), histogram()
    for _ in range(3000):
        counts[bucket_of(0.1 * math.exp(random.gauss(0, SPREAD * math.sqrt(2))))] += 1
    return counts


BASELINE: Final = _baseline()


def healthy(at: float, chronic: bool, canary: bool) -> float:
    return 0.5 if chronic else 0.01


def incident(at: float, chronic: bool, canary: bool) -> float:
    """Both versions fail twenty times as often for a while."""
    return (0.9 if chronic else 0.2) if 0.4 < at < 0.5 else healthy(at, chronic, canary)


def drift(at: float, chronic: bool, canary: bool) -> float:
    """Errors of both become ten times as many until the end."""
    return min(0.9, healthy(at, chronic, canary) * (0.3 + 2.7 * at))


def worse(share: float) -> Fails:
    def fails(at: float, chronic: bool, canary: bool) -> float:
        return share if canary else healthy(at, chronic, canary)

    return fails


@dataclass(slots=True)
class Visitor:
    place: int
    chronic: bool
    usual: float
    known: Interval = ANYWHERE
    period: int = 0
    failed: bool = False
    slow: bool = False


@dataclass(slots=True)
class Site:
    """Requests of visitors with a power law of activity, weights that rise in equal parts.

    Attributes:
        random: where chance comes from.
        weights: one after the other, in 0.001 %.
        fails: see :data:`Fails`.
        slower: factor of the canary's latency.
        per_request: book every request as if it were a visitor of its own: what not to do.
        most: requests of one visitor.
    """

    random: Random
    weights: tuple[int, ...]
    fails: Fails = healthy
    slower: float = 1.0
    per_request: bool = False
    most: int = 30
    entries: dict[Arm, Entries] = field(default_factory=dict)
    firsts: dict[tuple[str, int, Cohort], int] = field(default_factory=dict)
    canary_visitors: int = 0

    def evidence(self, period: int) -> Evidence:
        weights = dict(enumerate(self.weights[:period], start=1))
        return Evidence(weights, period, self.entries, self.firsts)

    def requests(self, visitors: int) -> Iterator[int]:
        """Serve the run, one request after the other; yields the period."""
        random = self.random
        crowd = [
            Visitor(
                random.randrange(FULL),
                random.random() < 0.01,
                0.1 * math.exp(random.gauss(0, SPREAD)),
            )
            for _ in range(visitors)
        ]
        numbers = range(1, self.most + 1)
        times = random.choices(numbers, [k**-1.5 for k in numbers], k=visitors)
        visits = [one for one, number in zip(crowd, times, strict=True) for _ in range(number)]
        random.shuffle(visits)
        for number, visitor in enumerate(visits):
            at = number / len(visits)
            period = 1 + int(at * len(self.weights))
            self._serve(visitor, at, period)
            yield period

    def _serve(self, visitor: Visitor, at: float, period: int) -> None:
        weight = self.weights[period - 1]
        cohort = Cohort.CANARY if visitor.place < weight else Cohort.STABLE
        canary = cohort is Cohort.CANARY
        failed = self.random.random() < self.fails(at, visitor.chronic, canary)
        seconds = visitor.usual * math.exp(self.random.gauss(0, SPREAD))
        seconds *= self.slower if canary else 1
        if self.per_request or visitor.period < period:
            self._enter(visitor, period, cohort, failed, seconds)
        if not self.per_request:
            self._first(visitor, period, cohort, failed=failed, slow=seconds > SLOW)

    def _enter(
        self, visitor: Visitor, period: int, cohort: Cohort, failed: bool, seconds: float
    ) -> None:
        weight = self.weights[period - 1]
        known = ANYWHERE if self.per_request else visitor.known
        if known.throws(weight):
            entries = self.entries.setdefault(Arm(Cell(period, *known), cohort), Entries())
            entries.n += 1
            entries.failures += failed
            entries.latency[bucket_of(seconds)] += 1
            self.canary_visitors += cohort is Cohort.CANARY
        visitor.known = known.after(weight, cohort)
        visitor.period = period

    def _first(
        self, visitor: Visitor, period: int, cohort: Cohort, *, failed: bool, slow: bool
    ) -> None:
        for kind, now, before in (
            (FAILED, failed, visitor.failed),
            (SLOW_KIND, slow, visitor.slow),
        ):
            if now and not before:
                key = kind, period, cohort
                self.firsts[key] = self.firsts.get(key, 0) + 1
        visitor.failed |= failed
        visitor.slow |= slow


def rolled_back(
    judge: Judge, site: Site, *, visitors: int = 1200, every: int = 40, alpha: float = 0.01
) -> int | None:
    """Canary visitors until the first rollback, looked at again and again; ``None`` for never."""
    policy = Policy.REQUEST if site.per_request else Policy.FOLLOW
    settings = Settings(GUARDS, policy, alpha, baseline=BASELINE)
    for number, period in enumerate(site.requests(visitors), start=1):
        if number % every == 0:
            verdict = judge(settings, site.evidence(period))
            if verdict.decision is Decision.ROLLBACK:
                return site.canary_visitors
    return None
