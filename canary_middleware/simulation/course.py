"""One rollout from its start to its end: the real judge, controller and transitions decide."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from canary_middleware.core.command import Command
from canary_middleware.core.controller import Situation, decide
from canary_middleware.core.gate import AGREED
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Policy
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.ramp import Course
from canary_middleware.core.state import Document, Entry, Phase, Plan, Verb
from canary_middleware.core.transitions import apply
from canary_middleware.core.verdict import Evidence, Settings, Verdict
from canary_middleware.core.weight import FULL
from canary_middleware.simulation.crowd import Crowd, Now, Toll
from canary_middleware.simulation.traffic import HEALTHY, Harm, Side, Traffic

NAME: Final = "simulation"
BEFORE: Final = 5000
"""Requests of stable in the baseline."""
GROWTH: Final = 0.1
"""A tick brings about so much more of what was seen already, and one canary visitor."""
TICKS: Final = 2000
"""Nobody waits for more."""

Judge = Callable[[Settings, Evidence], Verdict]
OVER: Final = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Point:
    """Where a rollout stands at a moment."""

    time: float
    weight: int
    visitors: int


@dataclass(frozen=True, slots=True)
class End:
    """How one simulated rollout ended.

    Attributes:
        phase: promoted, rolled back, or what it still was when time was up.
        time: seconds since the start.
        weight: in 0.001 %, before the last move.
        toll: what it cost.
        proven: promoted with proof up to the margins.
        why: the reason of the last move.
        guards: that rolled it back, or that lack evidence.
        missing: for a promotion, in words; ``""`` once it is over.
        way: weight over time.
    """

    phase: Phase
    time: float
    weight: int
    toll: Toll
    proven: bool
    why: str
    guards: tuple[str, ...]
    missing: str
    way: tuple[Point, ...]


def moving(plan: Plan, bake: int) -> Plan:
    """The plan with a ramp that moves by itself; one without steps gets the default's."""
    if plan.course.automatic:
        return plan
    steps = plan.steps or tuple(FULL * share // 100 for share in (1, 5, 25, 50, 100))
    course = replace(
        plan.course,
        bakes=(bake,) * len(steps),
        samples=plan.course.samples or (50,) * len(steps),
        approvals=plan.course.approvals or (False,) * len(steps),
        horizon=max(1, min(plan.course.horizon, bake // 4)),
    )
    return replace(plan, steps=steps, course=course)


class Simulated:
    """A release on its way, with somebody who approves at once.

    Args:
        plan: as ``start`` freezes it, with a ramp that moves.
        traffic: of the application.
        random: where chance comes from.
        harm: what is wrong with the canary.
        judge: another one, to see whether anybody notices.
    """

    def __init__(
        self,
        plan: Plan,
        traffic: Traffic,
        random: Random,
        harm: Harm = HEALTHY,
        judge: Judge = judge,
    ) -> None:
        self.traffic = traffic
        self.crowd = Crowd(random, traffic, plan, harm)
        self.time = 0.0
        self.verdict: Verdict | None = None
        self._judge = judge
        self._document = Document(lineage=NAME)
        self._do(Command(Verb.START, NAME, plan=plan))
        self._do(Command(Verb.BASELINE, NAME, starts=_baseline(traffic)))
        self._settings = Settings(
            guards=tuple(_capped(guard) for guard in plan.guards),
            policy=plan.policy,
            alpha=plan.course.alpha,
            horizon=plan.course.horizon,
            baseline=array("q", _baseline(traffic)),
        )

    @property
    def entry(self) -> Entry:
        """Where it stands."""
        state = self._document.rollouts[NAME]
        return state.entries[state.current or ""]

    @property
    def course(self) -> Course:
        """Of its plan."""
        return self.entry.plan.course

    def run(self, until: float) -> End:
        """Until it is promoted or rolled back, or time is up."""
        way, before = [self._point()], self.entry
        for _ in range(TICKS):
            if self.entry.phase in OVER or self.time >= until:
                break
            before = self.entry
            self._tick(min(self._span(), until - self.time))
            if self.entry.weight != before.weight:
                way += [replace(self._point(), weight=before.weight), self._point()]
        return self._end(before, (*way, self._point()))

    def _tick(self, span: float) -> None:
        self.time += span
        entry = self.entry
        self.crowd.pass_time(Now(self.time, span, entry.period, entry.weight))
        betting = entry.baseline.since if entry.baseline else 0
        weights = {one.revision: one.weight for one in entry.periods}
        evidence = self.crowd.evidence(weights, entry.period, betting)
        self.verdict = self._judge(self._settings, evidence)
        if entry.phase is Phase.AWAITING_APPROVAL:
            self._do(Command(Verb.APPROVE, NAME))
            return
        move = decide(self._situation(self.verdict))
        if move is not None:
            self._do(move.command(NAME, entry.release))

    def _situation(self, verdict: Verdict) -> Situation:
        entry, toll = self.entry, self.crowd.toll
        stay = entry.stay
        return Situation(
            entry=entry,
            verdict=verdict,
            now=self.time,
            elapsed=self.time - stay[0].at,
            sampled=self.crowd.sampled(frozenset(one.revision for one in stay)),
            visitors=toll.visitors,
            requests=toll.requests,
            idle=self.time - self.crowd.last,
            gate=AGREED,
        )

    def _span(self) -> float:
        """Seconds until the next look: often while few have seen it, and when the bake ends."""
        entry, course = self.entry, self.course
        drawn = self.traffic.rate * max(entry.weight, 1) / FULL
        seen = self.crowd.sampled(frozenset(one.revision for one in entry.periods))
        span = max(1.0, (1 + GROWTH * seen) / drawn)
        at = self.time - entry.stay[0].at
        if 0 <= entry.step < len(course.bakes):
            left = course.bakes[entry.step] - at
            span = min(span, max(1.0, left)) if left > 0 else min(span, max(60.0, at / 10))
        return span

    def _do(self, command: Command) -> None:
        self._document = apply(self._document, command, self.time)

    def _point(self) -> Point:
        return Point(self.time, self.entry.weight, self.crowd.toll.visitors)

    def _end(self, before: Entry, way: tuple[Point, ...]) -> End:
        entry, verdict = self.entry, self.verdict
        return End(
            phase=entry.phase,
            time=self.time,
            weight=before.weight,
            toll=self.crowd.toll,
            # What was proven before everybody got it stays so.
            proven=bool(entry.proven) or (verdict is not None and verdict.proven),
            why=entry.why,
            guards=tuple(self._guards(verdict)) if verdict else (),
            missing="; ".join(verdict.missing) if verdict and entry.phase not in OVER else "",
            way=way,
        )

    def _guards(self, verdict: Verdict) -> Iterator[str]:
        if self.entry.phase is Phase.ROLLED_BACK:
            yield from (found.guard for found in verdict.breaches)
        elif self.entry.phase is not Phase.PROMOTED:
            yield from (found.guard for found in verdict.findings if found.missing)


def _capped(guard: Guard) -> Guard:
    """A mean whose cap will be found is supposed to have it from the beginning, to scale."""
    return replace(guard, cap=guard.cap or 1.0) if guard.metric is Metric.MEAN else guard


def _baseline(traffic: Traffic) -> tuple[int, ...]:
    """Stable's latency before the start, as it is expected."""
    upto = Side(traffic).latency
    below = (0.0, *upto[: BUCKETS - 1])
    return tuple(round(BEFORE * (a - b)) for a, b in zip(upto, below, strict=True))


def simulate(
    plan: Plan,
    traffic: Traffic,
    seed: int,
    harm: Harm = HEALTHY,
    until: float = math.inf,
    judge: Judge = judge,
) -> End:
    """One rollout; the same seed gives the same."""
    if plan.policy is Policy.REQUEST:
        traffic = traffic.anew
    return Simulated(plan, traffic, Random(seed), harm, judge).run(until)
