"""The visitors of a simulated rollout, in counts: who is new, who is known, what they reveal.

Everybody is one of a fixed number of people who come equally often. What the judge may know of a
visitor is the largest weight at which they were seen on stable, or that they are on the canary;
people of whom the same is known are one number here (STATS section 4.1).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from canary_middleware.core.gauge import SLOW_KIND
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import VALUES, Arm, Entries, Matured, Seen
from canary_middleware.core.verdict import Evidence
from canary_middleware.core.weight import FULL
from canary_middleware.simulation.chance import binomial, poisson, spread
from canary_middleware.simulation.traffic import HEALTHY, Harm, Side, Traffic

FAILURES: Final = "failures"
PIECES: Final = 4
"""Parts of a visit over which its later requests are spread."""


class Now(NamedTuple):
    """Where a moment lies.

    Attributes:
        time: seconds since the start.
        span: seconds since the moment before.
        period: revision.
        weight: in 0.001 %.
    """

    time: float
    span: float
    period: int
    weight: int


class Later(NamedTuple):
    """First events that are still to come, of people who are in the middle of a visit."""

    due: float
    kind: str
    cohort: Cohort
    weight: int
    many: int


class Waiting(NamedTuple):
    """Visitors whose horizon is not over yet."""

    ripe: float
    arm: Arm
    matured: Matured


@dataclass(slots=True)
class Toll:
    """What the rollout has cost so far.

    Attributes:
        visitors: who have seen the canary.
        requests: that the canary answered.
        failed: of them; or that took too long, or broke what must never happen.
    """

    visitors: int = 0
    requests: int = 0
    failed: int = 0


@dataclass(slots=True)
class Crowd:
    """Draws traffic piece by piece and keeps the ledgers.

    Args:
        random: where chance comes from.
        traffic: of the application.
        plan: guards and horizon.
        harm: what is wrong with the canary.
    """

    random: Random
    traffic: Traffic
    plan: Plan
    harm: Harm = HEALTHY
    toll: Toll = field(default_factory=Toll)
    entries: dict[Arm, Entries] = field(default_factory=dict)
    firsts: dict[tuple[str, int, Cohort], int] = field(default_factory=dict)
    matured: dict[Arm, Matured] = field(default_factory=dict)
    seen: dict[Cohort, Seen] = field(default_factory=lambda: {one: Seen() for one in Cohort})
    last: float = -math.inf
    _sides: dict[Cohort, Side] = field(init=False)
    _known: dict[int, int] = field(default_factory=dict)
    _later: list[Later] = field(default_factory=list)
    _waiting: list[Waiting] = field(default_factory=list)
    _had: dict[tuple[str, Cohort], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sides = {
            Cohort.STABLE: Side(self.traffic), Cohort.CANARY: Side(self.traffic, self.harm),
        }  # fmt: skip

    def pass_time(self, now: Now) -> None:
        """Everybody who comes between the moment before and this one."""
        self._happen(now)
        self._ripen(now)
        for lo, people in self._people():
            self._come(now, lo, people)

    def evidence(self, weights: Mapping[int, int], current: int, betting: int) -> Evidence:
        """As the judge is given it."""
        return Evidence(
            weights=weights, current=current, entries=self.entries, firsts=self.firsts,
            matured=self.matured, betting=betting, seen=self.seen,
        )  # fmt: skip

    def sampled(self, periods: frozenset[int]) -> int:
        """Canary visitors measured in some periods."""
        return sum(
            entries.n
            for arm, entries in self.entries.items()
            if arm.cohort is Cohort.CANARY and arm.cell.period in periods
        )

    # --- who comes -------------------------------------------------------------------------------

    def _people(self) -> list[tuple[int, float]]:
        """How many people there are of each kind: -1 is known to be on the canary."""
        unseen = max(0.0, self.traffic.crowd - sum(self._known.values()))
        return [*self._known.items(), (0, unseen)]

    def _come(self, now: Now, lo: int, people: float) -> None:
        """Some of those of whom the same is known come, and some of these more than once."""
        visits = self.traffic.rate * now.span / self.traffic.crowd
        if math.isinf(people):
            count, again = poisson(self.random, self.traffic.rate * now.span), 0
        else:
            came = -math.expm1(-visits)
            count = binomial(self.random, round(people), came)
            again = poisson(self.random, people * (visits - came))
        if count:
            self._throw(now, lo, count, again)

    def _throw(self, now: Now, lo: int, count: int, again: int) -> None:
        """Those who come for the first time in the period are throws of the coin."""
        origin = None if lo == 0 else Cohort.CANARY if lo < 0 else Cohort.STABLE
        cell = Cell(now.period, max(0, lo), FULL)
        if lo < 0 or not cell.interval.throws(now.weight):
            cohort = Cohort.CANARY if lo < 0 or now.weight > lo else Cohort.STABLE
            if lo >= 0 and cohort is Cohort.CANARY:  # everybody is
                self._know(lo, -count if lo else 0)
                self._know(-1, count)
            self._visit(now, cohort, count + again, origin)
            return
        canary = binomial(self.random, count, cell.interval.odds(now.weight))
        if lo > 0:
            self._know(lo, -count)
        for cohort, some in ((Cohort.CANARY, canary), (Cohort.STABLE, count - canary)):
            if some:
                self._know(-1 if cohort is Cohort.CANARY else now.weight, some)
                self._enter(now, Arm(cell, cohort), some, origin)
                more = binomial(self.random, again, some / count)
                if more:
                    self._visit(now, cohort, more, cohort)

    def _know(self, lo: int, count: int) -> None:
        self._known[lo] = max(0, self._known.get(lo, 0) + count)
        if lo < 0:
            self.toll.visitors += count

    def _enter(self, now: Now, arm: Arm, count: int, origin: Cohort | None) -> None:
        """First sights in the period: ledger A at once, ledger C at the end of the horizon."""
        if arm.cohort is Cohort.CANARY:
            self.last = now.time
        failed, hits = self._visit(now, arm.cohort, count, origin)
        latency = spread(self.random, count, self._sides[arm.cohort].latency)
        entries = self.entries.setdefault(arm, Entries())
        entries.merge(Entries(count, failed, 0, array("q", latency)))
        if self.plan.policy is Policy.REQUEST:  # what a request had is known with its answer
            self.matured.setdefault(arm, Matured()).merge(Matured(count, hits))
            return
        slot = self.plan.slot
        ripe = (now.time // slot + 1) * slot + self.plan.course.horizon + self.traffic.gate
        self._waiting.append(Waiting(ripe, arm, Matured(count, hits)))

    # --- what they do ----------------------------------------------------------------------------

    def _visit(
        self, now: Now, cohort: Cohort, count: int, origin: Cohort | None
    ) -> tuple[int, dict[str, list[int]]]:
        """One visit of each: how many of them began with a failure, and had what, by guard."""
        side, random = self._sides[cohort], self.random
        more = poisson(random, count * max(0.0, self.traffic.requests - 1))
        failed, failed_later = self._events(now, FAILURES, cohort, count, more, side.fails, origin)
        slow, slow_later = self._events(now, SLOW_KIND, cohort, count, more, side.slow, origin)
        hits = {
            guard.name: self._hits(guard, cohort, count, failed + min(failed_later, count - failed))
            for guard in self.plan.matured
        }
        broken = 0
        for guard in self.plan.matured:
            if guard.metric is Metric.NEVER:
                broken = hits[guard.name][0]
                self._first(now, guard.name, cohort, broken, 0, origin)
        kinds = self.seen[cohort].kinds
        kinds[OutcomeClass.SERVER_ERROR] += failed + failed_later
        kinds[OutcomeClass.SUCCESS] += count + more - failed - failed_later
        if cohort is Cohort.CANARY:
            self.toll.requests += count + more
            self.toll.failed += failed + failed_later + broken
            if side.harm.slower > 1 or side.harm.hanging:
                self.toll.failed += slow + slow_later
        return failed, hits

    def _events(
        self,
        now: Now,
        kind: str,
        cohort: Cohort,
        count: int,
        more: int,
        share: float,
        origin: Cohort | None,
    ) -> tuple[int, int]:
        """Requests with an event: the first of a visit each, and later ones."""
        at_once = binomial(self.random, count, share)
        later = binomial(self.random, more, share)
        # Of several later ones of one visitor only one is a first.
        people = 1 - (1 - share) ** (more / count)
        firsts = min(later, binomial(self.random, count - at_once, people))
        self._first(now, kind, cohort, at_once, firsts, origin)
        return at_once, later

    def _hits(self, guard: Guard, cohort: Cohort, count: int, failed: int) -> list[int]:
        random, rate = self.random, self.traffic.rates.get(guard.of, 0.0)
        if guard.metric is Metric.FAILURES:
            return [failed]
        if guard.metric is Metric.RETURNED:
            return [binomial(random, count, 1 - math.exp(1 - max(1.0, self.traffic.requests)))]
        if guard.metric is Metric.NEVER:
            return [binomial(random, count, self._sides[cohort].harm.breaks)]
        observed = binomial(random, count, rate)
        if guard.metric is Metric.SHARE:
            return [observed]
        return spread(random, observed, [(at + 1) / VALUES for at in range(VALUES)])

    # --- first events and matured visitors -------------------------------------------------------

    def _first(
        self,
        now: Now,
        kind: str,
        cohort: Cohort,
        at_once: int,
        later: int,
        origin: Cohort | None,
    ) -> None:
        """Ledger B: of those who never had this event before."""
        new = 1 - self._have(kind, origin)
        self._count(now.period, kind, cohort, binomial(self.random, at_once, new))
        left = binomial(self.random, later, new)
        for piece in range(PIECES):
            some = binomial(self.random, left, 1 / (PIECES - piece))
            left -= some
            if some:
                due = now.time + self.traffic.visit * (piece + 0.5) / PIECES
                self._later.append(Later(due, kind, cohort, now.weight, some))

    def _have(self, kind: str, origin: Cohort | None) -> float:
        """Share of the people who are known to be on a side that had an event before."""
        if origin is None:
            return 0.0
        sides = (lo < 0 for lo in self._known)
        known = sum(
            count
            for count, canary in zip(self._known.values(), sides, strict=True)
            if canary is (origin is Cohort.CANARY)
        )
        return min(1.0, self._had.get((kind, origin), 0) / max(1, known))

    def _count(self, period: int, kind: str, cohort: Cohort, count: int) -> None:
        if count:
            key = kind, period, cohort
            self.firsts[key] = self.firsts.get(key, 0) + count
            self._had[kind, cohort] = self._had.get((kind, cohort), 0) + count

    def _happen(self, now: Now) -> None:
        due = [one for one in self._later if one.due <= now.time]
        if due:
            self._later = [one for one in self._later if one.due > now.time]
        for one in due:
            moved = 0
            if one.cohort is Cohort.STABLE and now.weight > one.weight:
                odds = (now.weight - one.weight) / (FULL - one.weight)
                moved = binomial(self.random, one.many, odds)
            self._count(now.period, one.kind, Cohort.CANARY, moved)
            self._count(now.period, one.kind, one.cohort, one.many - moved)

    def _ripen(self, now: Now) -> None:
        """Slots still open when the period ends are discarded (STATS section 4.2)."""
        mine = [one for one in self._waiting if one.arm.cell.period == now.period]
        self._waiting = [one for one in mine if one.ripe > now.time]
        for one in mine:
            if one.ripe <= now.time:
                self.matured.setdefault(one.arm, Matured()).merge(one.matured)
