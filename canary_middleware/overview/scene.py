"""What ``watch`` and ``status`` show of rollouts: values, gathered once and drawn elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from canary_middleware.core.drill import Drill
from canary_middleware.core.evidence import Told, told
from canary_middleware.core.gate import shown as gate_host
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.records import Audit
from canary_middleware.core.state import ACTIVE, Entry, Kill, Phase
from canary_middleware.core.totals import Seen, quantile
from canary_middleware.core.verdict import Verdict
from canary_middleware.core.weight import FULL, format_weight

QUANTILES: Final = (0.5, 0.95, 0.99)
ENDED: Final = frozenset({Phase.PROMOTED, Phase.FINISHED, Phase.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the processes have counted of a release, and what the judge says of it.

    Attributes:
        verdict: see there.
        seen: all requests, by version.
        processes: whose totals these are.
        age: seconds since the one longest silent has written; ``None``: nobody does.
    """

    verdict: Verdict
    seen: Mapping[Cohort, Seen] = field(default_factory=dict)
    processes: int = 0
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One version.

    Attributes:
        cohort: see there.
        version: its label.
        share: of visitors, in 0.001 %.
        requests: all of them, evidence or not.
        errors: 5xx, exceptions, time-outs and rescued answers.
        client_errors: 4xx.
        quantiles: seconds until the answer started, at :data:`QUANTILES`.
        observed: by guard, the requests in which its metric was observed and those of them that
            were above what is allowed.
    """

    cohort: Cohort
    version: str
    share: int
    requests: int
    errors: int
    client_errors: int
    quantiles: tuple[float | None, ...]
    observed: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class View:
    """One rollout.

    Attributes:
        name: its name.
        entry: its current release; ``None`` before the first start.
        killed: the kill in force.
        numbers: ``None`` where nothing was counted, and when they cannot be read.
        trouble: why they, or some of them, cannot be read.
        last: the latest line of its history.
    """

    name: str
    entry: Entry | None = None
    killed: Kill | None = None
    numbers: Numbers | None = None
    trouble: str = ""
    last: Audit | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.entry is not None and (self.killed is not None or self.entry.phase in ENDED)

    @property
    def succeeded(self) -> bool:
        """Whether it ended with everybody on the canary."""
        promoted = (Phase.PROMOTED, Phase.FINISHED)
        return self.killed is None and self.entry is not None and self.entry.phase in promoted

    def told(self, now: float) -> Told | None:
        """The verdict so far, with what its words need; ``None`` where nothing is compared."""
        if self.entry is None or self.numbers is None or not self.entry.plan.guards:
            return None
        age = max(0.0, now - self.entry.since)
        seen = self.numbers.seen
        return told(
            self.numbers.verdict, self.entry, age, drill=drilling(self.entry, now), seen=seen
        )

    def sides(self) -> tuple[Side, ...]:
        """Canary and stable."""
        if self.entry is None or self.numbers is None:
            return ()
        weight = 0 if self.killed else self.entry.weight
        seen = self.numbers.seen
        return (
            _side(Cohort.CANARY, self.entry.release, weight, seen),
            _side(Cohort.STABLE, self.entry.stable, FULL - weight, seen),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A namespace at one moment.

    Attributes:
        namespace: its name.
        at: wall-clock seconds.
        revision: of the control state; ``None`` where nothing was ever started.
        views: its rollouts.
        reports: processes that report.
        behind: of them, that do not follow the present state.
        trouble: why all of this is older than it should be.
    """

    namespace: str
    at: float
    revision: int | None = None
    views: tuple[View, ...] = ()
    reports: int = 0
    behind: int = 0
    trouble: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """What changes when something happens; mere counting does not."""
        return (self.trouble.partition(":")[0], *(_key(view) for view in self.views))


def _key(view: View) -> tuple[object, ...]:
    entry, verdict = view.entry, view.numbers.verdict if view.numbers else None
    return (
        view.name,
        view.killed,
        view.trouble,
        entry and (entry.run, entry.phase, entry.weight, entry.stable, entry.drill, entry.noted),
        verdict and (verdict.decision, verdict.proven, *(one.guard for one in verdict.breaches)),
    )


def drilling(entry: Entry, now: float) -> Drill | None:
    """The drill that is on."""
    drill = entry.drill
    return drill if drill and drill.begun <= now < drill.begun + drill.seconds else None


@dataclass(frozen=True, slots=True)
class Bake:
    """How far a step is.

    Attributes:
        step: counted from one.
        steps: how many there are.
        passed: seconds.
        needed: seconds; 0 for a ramp that a person moves.
        then: the next weight, as text; ``""`` after the last step.
        approval: a person must agree to it.
        gate: host of the webhook that must agree to it; ``""`` for none.
    """

    step: int
    steps: int
    passed: float
    needed: int
    then: str
    approval: bool
    gate: str = ""

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self.needed - self.passed)

    @property
    def onward(self) -> str:
        """What comes next, and whose leave it takes: ``"then 5% with an approval"``."""
        if not self.goal:
            return ""
        leave = f" if {self.gate} agrees" if self.gate else ""
        return f"then {self.goal}{' with an approval' if self.approval else leave}"

    @property
    def goal(self) -> str:
        """What it goes on to by itself or by hand; ``""`` where a person promotes it."""
        return self.then or ("promotion" if self.needed else "")


def bake(entry: Entry, now: float) -> Bake | None:
    """Where a release stands on its ramp; ``None`` when it is on none, or paused: nothing runs."""
    plan, step = entry.plan, entry.step
    if not 0 <= step < len(plan.steps) or entry.phase not in ACTIVE - {Phase.PAUSED}:
        return None
    course, last = plan.course, step + 1 == len(plan.steps)
    began = entry.stay[0].at if entry.stay else entry.since
    return Bake(
        step=step + 1,
        steps=len(plan.steps),
        passed=max(0.0, now - began),
        needed=course.bakes[step] if step < len(course.bakes) else 0,
        then="" if last else format_weight(plan.steps[step + 1]),
        approval=not last and step + 1 < len(course.approvals) and course.approvals[step + 1],
        gate=gate_host(course.gate) if course.gate else "",
    )


def _side(cohort: Cohort, version: str, share: int, seen: Mapping[Cohort, Seen]) -> Side:
    mine = seen.get(cohort) or Seen()
    return Side(
        cohort=cohort,
        version=version,
        share=share,
        requests=mine.n,
        errors=mine.failures,
        client_errors=mine.kinds[OutcomeClass.CLIENT_ERROR],
        quantiles=tuple(quantile(mine.starts, share) for share in QUANTILES),
        observed={name: (times, bad) for name, (times, bad) in mine.observed.items()},
    )
