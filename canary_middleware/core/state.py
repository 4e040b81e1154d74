"""The control state that all processes share: one small immutable document per namespace.

Values only. What may follow what is in :mod:`canary_middleware.core.transitions`, what a process
does with a document that it loaded in :mod:`canary_middleware.core.adoption`.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from canary_middleware.core.drill import Drill
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.guards import Guard, Metric, Precaution
from canary_middleware.core.model import Memory, Policy, Rollout
from canary_middleware.core.ramp import Course

EVERYTHING: Final = "*"
"""Scope of the kill that covers the whole namespace; no rollout can have this name."""


class Phase(enum.Enum):
    """Where a release stands on its way out."""

    IDLE = "idle"
    RAMPING = "ramping"
    PAUSED = "paused"
    HOLDING = "holding"
    AWAITING_APPROVAL = "awaiting_approval"
    PROMOTED = "promoted"
    FINISHED = "finished"
    ROLLED_BACK = "rolled_back"


ACTIVE: Final = frozenset({Phase.RAMPING, Phase.PAUSED, Phase.HOLDING, Phase.AWAITING_APPROVAL})
"""Phases in which the dead-man's switch applies; all others fail static (DESIGN section 5)."""


class Verb(enum.Enum):
    """What can be done to a release; ``kill`` is missing because it is unconditional."""

    START = "start"
    WEIGHT = "weight"
    PAUSE = "pause"
    RESUME = "resume"
    APPROVE = "approve"
    HOLD = "hold"
    ADVANCE = "advance"
    AWAIT = "await"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    REVIVE = "revive"
    REBASE = "rebase"
    FINISH = "finish"
    PRECAUTION = "precaution"
    BASELINE = "baseline"
    DRILL = "drill"
    SETTLE = "settle"
    NOTE = "note"


MATURED: Final = frozenset({
    Metric.FAILURES, Metric.RETURNED, Metric.SHARE, Metric.MEAN, Metric.NEVER,
})  # fmt: skip
"""Metrics that are counted per visitor within the horizon."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process declares about one rollout, frozen into the document by ``start``.

    Attributes:
        stable: label of the version that everybody has.
        canary: label of the release.
        paths: app-relative prefixes in scope.
        methods: upper-case methods in scope; empty means all.
        exclude: prefixes out of scope.
        steps: weights of the ramp in 0.001 %.
        owner: whom to ask.
        policy: who stays when the weight moves.
        session: seconds after its last sight for which a session lasts.
        affinity: where places are remembered.
        claim_life: seconds after the last sight for which the store remembers a subject.
        rollback_window: seconds after a promotion in which ``finish`` must be meant.
        guards: what is compared.
        precaution: the ceiling over both versions, or ``None``.
        course: the numbers of ramp and judge.
    """

    stable: str
    canary: str
    paths: tuple[str, ...] = ("/",)
    methods: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    owner: str | None = None
    policy: Policy = Policy.FOLLOW
    session: int = 1800
    affinity: Memory = Memory.COOKIE
    claim_life: int = 30 * 86400
    rollback_window: int = 3600
    guards: tuple[Guard, ...] = ()
    precaution: Precaution | None = None
    course: Course = Course()

    @classmethod
    def from_rollout(cls, rollout: Rollout) -> Plan:
        """The part of a declaration that processes must agree on."""
        return cls(
            stable=rollout.stable,
            canary=rollout.canary,
            paths=tuple(rollout.paths),
            methods=tuple(rollout.methods),
            exclude=tuple(rollout.exclude),
            steps=rollout.ramp.weights,
            owner=rollout.owner,
            policy=Policy(rollout.policy),
            session=parse_duration(rollout.session),
            affinity=Memory(rollout.affinity),
            claim_life=parse_duration(rollout.claim_life),
            rollback_window=parse_duration(rollout.rollback_window),
            guards=tuple(rollout.guards),
            precaution=rollout.precaution,
            course=Course.of(
                rollout.ramp,
                alpha=rollout.alpha,
                horizon=rollout.horizon,
                timeout=rollout.timeout,
            ),
        )

    @property
    def matured(self) -> tuple[Guard, ...]:
        """Guards in the ledger of matured visitors; a visitor's cookie has one bit for each."""
        return tuple(guard for guard in self.guards if guard.metric in MATURED)

    @property
    def slot(self) -> float:
        """Seconds of a slot of that ledger: a quarter of the horizon (STATS 4.5)."""
        return self.course.horizon / 4

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = asdict(self)
        if not self.course.gate:
            # Plans without it are as old as the others: their digests must stay what they were.
            del plain["course"]["gate"]
        return {**plain, "policy": self.policy.value, "affinity": self.affinity.value}

    @property
    def digest(self) -> str:
        """Sixteen hex digits by which two processes see that they declare the same."""
        canonical = json.dumps(self.plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill in force.

    Attributes:
        by: who struck it.
        why: the reason given.
        at: wall-clock seconds since the epoch.
        revision: revision of the document that it made; only a document whose ``lifted`` reaches
            this number lifts it.
    """

    by: str
    why: str
    at: float
    revision: int


@dataclass(frozen=True, slots=True)
class Period:
    """Time without a change of weight or label; outcomes of different periods never mix.

    Attributes:
        revision: that began it.
        weight: units of 0.001 %.
        at: wall-clock seconds of its beginning.
    """

    revision: int
    weight: int
    at: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """Latency of stable, frozen before the judge bets on latency.

    Attributes:
        starts: requests by bucket of :data:`canary_middleware.core.outcomes.STARTS`.
        since: revision of the first period in which latency counts.
    """

    starts: tuple[int, ...]
    since: int


@dataclass(frozen=True, slots=True)
class Cap:
    """What one visitor counts for at most in a mean that declares no cap, frozen as it was found.

    Attributes:
        guard: its name.
        value: in the metric's own unit.
        since: revision of the first period whose values are in parts of it.
    """

    guard: str
    value: float
    since: int


KEPT_PERIODS: Final = 64
"""Periods of a run that are remembered; what was counted in older ones counts no more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one release of a rollout stands.

    Attributes:
        release: its canary label.
        stable: label of the other side.
        phase: see :class:`Phase`.
        weight: units of 0.001 %.
        step: index into ``plan.steps``; -1 when the weight was set by hand.
        epoch: revision of the last event that voids all pins.
        period: revision of the last change of weight or label.
        since: wall-clock seconds of the beginning of its present phase and weight.
        why: the reason given for it.
        plan: the declaration as it was at ``start``.
        run: revision of that ``start``; evidence is of one run.
        begun: wall-clock seconds of it.
        periods: of this run, the present one last.
        baseline: see :class:`Baseline`; ``None`` while there is none.
        caps: see :class:`Cap`; of each guard at most one.
        drill: the rehearsal under way or the last one of this run, or ``None``.
        noted: what ``observe`` mode last said that it would do; ``""`` for nothing.
        reached: highest step of this run that was entered; gates above it were not passed yet.
        stopped: what a person must go on past with ``resume``: a limit of the ramp, or ``breach``;
            what a person may go on past: ``gate``.
        waived: limits, and gates of steps, that a person went past.
        proven: in words, what was proven when everybody got it: at 100 % nobody is compared any
            more, and what was shown at any moment stays shown; ``""`` for nothing.
    """

    release: str
    stable: str
    phase: Phase
    weight: int
    step: int
    epoch: int
    period: int
    since: float
    why: str
    plan: Plan
    run: int = 0
    begun: float = 0.0
    periods: tuple[Period, ...] = ()
    baseline: Baseline | None = None
    caps: tuple[Cap, ...] = ()
    drill: Drill | None = None
    noted: str = ""
    reached: int = -1
    stopped: str = ""
    waived: tuple[str, ...] = ()
    proven: str = ""

    @property
    def stay(self) -> tuple[Period, ...]:
        """Periods of the present stay at this weight; bake and samples count from the first one.

        All but those of the baseline and of caps begin a stay: these change what is measured, not
        what is tried.
        """
        measuring = {one.since for one in (self.baseline, *self.caps) if one is not None}
        begins = [at for at, one in enumerate(self.periods) if one.revision not in measuring]
        return self.periods[begins[-1] if begins else 0 :]

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Those of the plan, with the caps that were found."""
        caps = {one.guard: one.value for one in self.caps}
        return tuple([
            replace(guard, cap=caps[guard.name]) if guard.name in caps else guard
            for guard in self.plan.guards
        ])  # fmt: skip

    @property
    def uncapped(self) -> tuple[Guard, ...]:
        """Means that have a margin, but no cap yet that it could be proven by."""
        means = [guard for guard in self.guards if guard.metric is Metric.MEAN and not guard.cap]
        return tuple(guard for guard in means if guard.margin is not None)

    @property
    def warm_until(self) -> float:
        """Wall-clock seconds until which the stable side of a promoted release is kept ready."""
        return self.since + self.plan.rollback_window


@dataclass(frozen=True, slots=True)
class RolloutState:
    """All remembered releases of one rollout; ``current`` is the one last started."""

    current: str | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """The whole control state of a namespace.

    Attributes:
        lineage: random id drawn when the document was created; revisions of different lineages
            cannot be compared.
        revision: raised by every change.
        kills: kills in force by scope (a rollout or :data:`EVERYTHING`).
        lifted: by scope, the highest revision of a kill that was revived.
        rollouts: by name.
    """

    lineage: str
    revision: int = 0
    kills: Mapping[str, Kill] = field(default_factory=dict)
    lifted: Mapping[str, int] = field(default_factory=dict)
    rollouts: Mapping[str, RolloutState] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """What a compare-and-swap compares."""
        return self.lineage, self.revision

    def killed(self, rollout: str) -> Kill | None:
        """The kill in force for a rollout; the namespace's own comes first."""
        return self.kills.get(EVERYTHING) or self.kills.get(rollout)

    def entry(self, rollout: str, release: str) -> Entry | None:
        """Where a release stands; ``None`` means idle."""
        state = self.rollouts.get(rollout)
        return state.entries.get(release) if state else None
