"""Many simulated rollouts, summed up: how long a good release takes, what a bad one costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from canary_middleware.core.guards import Metric
from canary_middleware.core.state import Phase, Plan
from canary_middleware.core.weight import FULL
from canary_middleware.simulation.course import End, simulate
from canary_middleware.simulation.traffic import HEALTHY, REGRESSIONS, Harm, Traffic

RUNS: Final = 30
"""Of each release, where nobody asks for more."""
LONGEST: Final = 7 * 86_400.0
"""Seconds after which nobody waits for the end of a rollout any more."""

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Good:
    """What becomes of a healthy release.

    Attributes:
        ends: every run.
    """

    ends: tuple[End, ...]

    def share(self, *phases: Phase) -> float:
        """Of the runs that ended so."""
        return fmean(end.phase in phases for end in self.ends)

    @property
    def false_rollbacks(self) -> float:
        """Share of runs."""
        return self.share(Phase.ROLLED_BACK)

    @property
    def promoted(self) -> float:
        """Share of runs."""
        return self.share(Phase.PROMOTED)

    @property
    def under_way(self) -> float:
        """Share of runs that were still holding, or on their way, when time was up."""
        return 1 - self.promoted - self.false_rollbacks

    def time(self, share: float) -> float | None:
        """Seconds until so many of all runs are promoted; ``None`` for never."""
        times = sorted(end.time for end in self.ends if end.phase is Phase.PROMOTED)
        wanted = max(1, round(share * len(self.ends)))
        return times[wanted - 1] if wanted <= len(times) else None

    @property
    def proven(self) -> float:
        """Share of the promotions that are proven up to the margins."""
        promoted = [end.proven for end in self.ends if end.phase is Phase.PROMOTED]
        return fmean(promoted) if promoted else 0.0

    @property
    def held_by(self) -> tuple[tuple[str, int], ...]:
        """Guards without enough evidence, and in how many of the runs that did not end."""
        open_ = [end for end in self.ends if end.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK)]
        return tuple(Counter(guard for end in open_ for guard in end.guards).most_common())

    @property
    def reason(self) -> str:
        """What was missing in one of those at last."""
        return next((end.missing for end in self.ends if end.missing), "")


@dataclass(frozen=True, slots=True)
class Bad:
    """What becomes of a bad release.

    Attributes:
        harm: what is wrong with it.
        ends: every run; none where no guard watches for this.
    """

    harm: Harm
    ends: tuple[End, ...]

    @property
    def caught(self) -> tuple[End, ...]:
        """Runs that were rolled back."""
        return tuple(end for end in self.ends if end.phase is Phase.ROLLED_BACK)

    @property
    def chance(self) -> float:
        """To be rolled back before everybody has it."""
        return sum(end.weight < FULL for end in self.caught) / max(1, len(self.ends))

    def expected(self, what: Callable[[End], float]) -> float | None:
        """Mean over the runs that were rolled back; ``None`` for none."""
        return fmean(map(what, self.caught)) if self.caught else None

    @property
    def weight(self) -> int | None:
        """Median weight at the rollback, in 0.001 %."""
        return round(median(end.weight for end in self.caught)) if self.caught else None

    @property
    def guard(self) -> str:
        """That found it most often; ``""`` for none."""
        found = Counter(guard for end in self.caught for guard in end.guards)
        return found.most_common(1)[0][0] if found else ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Everything that was simulated.

    Attributes:
        plan: ramp and guards.
        traffic: that they were shown.
        good: the healthy release.
        bad: one per regression.
    """

    plan: Plan
    traffic: Traffic
    good: Good
    bad: tuple[Bad, ...]


def forecast(
    plan: Plan,
    traffic: Traffic,
    *,
    runs: int = RUNS,
    seed: int = 1,
    until: float = LONGEST,
    regressions: Sequence[Harm] = REGRESSIONS,
    tell: Tell = len,
) -> Forecast:
    """Simulate; the same seed gives the same.

    Args:
        plan: with a ramp that moves by itself.
        traffic: of the application.
        runs: of each release.
        seed: where chance begins.
        until: seconds after which a rollout is left as it is.
        regressions: bad releases.
        tell: is called with the name of each release before it is simulated.
    """

    def ends(harm: Harm) -> Iterator[End]:
        tell(harm.name)
        for number in range(runs):
            yield simulate(plan, traffic, seed * 1_000_003 + number, harm, until)

    return Forecast(
        plan,
        traffic,
        Good(tuple(ends(HEALTHY))),
        tuple(Bad(harm, tuple(ends(harm)) if watched(plan, harm) else ()) for harm in regressions),
    )


def watched(plan: Plan, harm: Harm) -> bool:
    """Whether any guard that rolls back could see it at all."""
    guarded = {guard.metric for guard in plan.guards if guard.breaches}
    if harm.breaks:
        return Metric.NEVER in guarded
    return bool(guarded & {Metric.FAILURES, Metric.LATENCY})


def detection(bad: Bad, moments: Iterable[float]) -> list[float]:
    """Share of the runs that were rolled back by each moment."""
    times = [end.time for end in bad.caught]
    return [sum(time <= moment for time in times) / max(1, len(bad.ends)) for moment in moments]
