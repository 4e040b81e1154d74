"""Whole rollouts of a healthy release on the state machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from benchmarks.judge.alarms import Line
from benchmarks.judge.observe import Judge
from benchmarks.judge.world import CHARGES, GUARDS, ORDERS
from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import Phase, Plan
from canary_middleware.simulation.course import End, simulate
from canary_middleware.simulation.traffic import Traffic

PLAN = Plan.from_rollout(
    Rollout(
        "checkout", stable="1.4.2", canary="1.5.0", owner="payments", guards=GUARDS,
        ramp=Ramp.default(bake="1h"),
    )
)  # fmt: skip
SITES = tuple(
    Traffic(visitors=visitors, rates={CHARGES: 0.3, ORDERS: 0.05}) for visitors in (60_000, 6_000)
)
"""One on which the margins can be proven in three days, and one on which they cannot."""
DAYS = 14 * 86_400.0
"""The age at which a ramp holds whatever it knows: until then, one may be between two steps."""


def healthy(judge: Judge, runs: int) -> Iterator[Line]:
    """At most 1 % are rolled back; each ends promoted or holding, and says what is missing."""
    ends = [
        simulate(PLAN, SITES[seed % len(SITES)], seed, until=DAYS, judge=judge)
        for seed in range(runs)
    ]
    wrong = sum(end.phase is Phase.ROLLED_BACK for end in ends)
    good = sum(map(_ends_well, ends))
    yield Line(
        f"{runs} A/A rollouts: rolled back",
        f"{wrong / runs:.1%}",
        "at most 1%",
        wrong <= runs / 100,
    )
    phases = Counter(end.phase.value for end in ends)
    counted = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
    name = "  promoted, or holding with the reason and what is missing"
    yield Line(name, f"{good} of {runs}", "all", good == runs - wrong)
    yield Line(f"  {counted}; hours until the end, median", f"{_hours(ends):.1f}", "", None)


def _ends_well(end: End) -> bool:
    if end.phase is Phase.PROMOTED:
        return bool(end.why)
    return end.phase is Phase.HOLDING and "missing" in end.why and bool(end.guards)


def _hours(ends: list[End]) -> float:
    return median(end.time for end in ends) / 3600
