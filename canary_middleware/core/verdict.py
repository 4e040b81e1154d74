"""What the judge is given and what it says: values only, so that every surface can show them."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Matured, Seen


class Decision(enum.StrEnum):
    """The three verdicts."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was declared, as ``start`` froze it.

    Attributes:
        guards: in the order of declaration.
        policy: ``request`` is judged per request.
        alpha: probability of a false rollback of the whole rollout.
        horizon: seconds; for words only.
        baseline: latency of stable, frozen before betting begins; ``None`` while there is none.
        exact: the release's clients can be followed from request to request, so that "proven" can
            be said at all; ``False`` after a manual decrease under ``keep``.
    """

    guards: tuple[Guard, ...]
    policy: Policy = Policy.FOLLOW
    alpha: float = 0.01
    horizon: int = 900
    baseline: array[int] | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums over all processes, of one run of a release.

    Attributes:
        weights: by revision of a period, its weight (0.001 %). Cells of other periods do not count.
        current: revision of the present period.
        entries: ledger A.
        firsts: ledger B: visitors by guard (``"failures"`` and ``"slow"`` for the built-in kinds,
            else the guard's name), period and cohort.
        matured: ledger C, matured slots only, summed per arm.
        betting: ledger A of latency counts in periods from this revision on: before it there was
            no baseline.
        capped: by guard on a mean whose cap was found, the revision of the first period whose
            values are in parts of it.
        seen: all requests.
        before: answers of stable before the start whose latency is known.
    """

    weights: Mapping[int, int]
    current: int
    entries: Mapping[Arm, Entries] = field(default_factory=dict)
    firsts: Mapping[tuple[str, int, Cohort], int] = field(default_factory=dict)
    matured: Mapping[Arm, Matured] = field(default_factory=dict)
    betting: int = 0
    capped: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[Cohort, Seen] = field(default_factory=dict)
    before: int = 0

    def odds(self, cell: Cell) -> float | None:
        """Probability of the canary in a cell; ``None`` where it is no throw or is unknown."""
        weight, interval = self.weights.get(cell.period), cell.interval
        if weight is None or not interval.throws(weight):
            return None
        return interval.odds(weight)


@dataclass(frozen=True, slots=True)
class Share:
    """Events among units of one version.

    Attributes:
        events: how many had it.
        of: how many there were; 0 where that is not counted (first events).
        quantiles: p50, p90, p99 in seconds (latency).
        mean: per visitor (means).
    """

    events: int = 0
    of: int = 0
    quantiles: tuple[float | None, ...] = ()
    mean: float | None = None

    @property
    def rate(self) -> float:
        """How often it is to be expected, never quite 0."""
        return (self.events + 0.5) / (self.of + 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one guard.

    Attributes:
        guard: its name.
        action: whether it may roll back.
        metric: its metric, and ``of`` for declared ones, in words: ``"failures"``, ``"charges"``.
        unit: what ``Share.of`` counts: ``"visitors"``, ``"requests"``, ``"orders"`` ...
        canary: its side.
        stable: the other side.
        log_e: natural log of the strongest e-value among the ledgers that this guard is in, each
            already weighted by its share of the budget: it breaches at ``threshold``.
        threshold: log(1/alpha).
        breach: it is past the threshold, alone or as a part of its ledger.
        suspect: it holds at least half of what its ledger needs.
        proof: log e-value of "not worse than the margin"; ``None`` where nothing can be proven.
        needed: what ``proof`` needs.
        proven: it is there.
        missing: in words, what is missing for a promotion; ``""`` for nothing.
        detectable: smallest risk ratio that would have been seen by now; ``None``: not computed.
    """

    guard: str
    action: Action
    metric: str
    unit: str
    canary: Share
    stable: Share
    log_e: float
    threshold: float
    breach: bool = False
    suspect: bool = False
    proof: float | None = None
    needed: float = 0.0
    proven: bool = False
    missing: str = ""
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the totals say at this moment.

    Attributes:
        decision: see :class:`Decision`.
        proven: a promotion would be "proven up to the margins"; else "no regression found".
        findings: by guard, in the order of declaration.
        visitors: first sights in the ledger of entries, canary and stable.
        mismatch: log e-value of the sample ratio; at log(1000) it blocks promotion.
        missing: what stands between here and a promotion, in words.
    """

    decision: Decision
    proven: bool
    findings: tuple[Finding, ...]
    visitors: tuple[int, int]
    mismatch: float = 0.0
    missing: tuple[str, ...] = ()

    @property
    def breaches(self) -> tuple[Finding, ...]:
        """Those that roll back, the strongest first."""
        found = [one for one in self.findings if one.breach and one.action is Action.BREACH]
        return tuple(sorted(found, key=lambda one: one.threshold - one.log_e))
