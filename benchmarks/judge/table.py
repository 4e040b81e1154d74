"""The table of false and missed alarms: one harness and one configuration for both.

``python -m benchmarks.judge`` prints what was measured beside what must hold, and ends with 1 where
something does not. ``--judge always-promote`` and ``--judge always-hold`` put a judge there that
never looks; both must fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.judge.alarms import Line, detection, false_alarms, sticky_detection
from benchmarks.judge.observe import Judge, Observer
from benchmarks.judge.promotion import at_the_margin, of_the_healthy
from benchmarks.judge.rollouts import healthy
from canary_middleware.core.judge import judge
from canary_middleware.core.verdict import Decision, Evidence, Settings, Verdict


def always_promote(settings: Settings, evidence: Evidence) -> Verdict:
    """Sees nothing wrong, ever."""
    told = judge(settings, evidence)
    return replace(told, decision=Decision.PROMOTE, proven=True, missing=())


def always_hold(settings: Settings, evidence: Evidence) -> Verdict:
    """Never knows."""
    told = judge(settings, evidence)
    return replace(told, decision=Decision.INCONCLUSIVE, proven=False, missing=("patience",))


JUDGES: Final[Mapping[str, Judge]] = {
    "judge": judge, "always-promote": always_promote, "always-hold": always_hold,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effort:
    """Runs per line.

    Attributes:
        nulls: of each healthy release.
        bad: of each bad one.
        margins: at each margin, and of healthy ones to be promoted.
        rollouts: on the state machine.
    """

    nulls: int
    bad: int
    margins: int
    rollouts: int = 200

    @classmethod
    def of(cls, runs: int) -> Effort:
        """In proportion, as the full table has it."""
        return cls(runs, max(10, runs // 4), max(10, runs // 5))


USUAL: Final = Effort(200, 150, 60)
FULL: Final = Effort.of(2000)
Part = Callable[[Observer, Effort], Iterator[Line]]

PARTS: Final[Mapping[str, Part]] = {
    "sticky": lambda observer, effort: sticky_detection(observer, effort.bad),
    "requests": lambda observer, effort: detection(observer, effort.bad),
    "promotion": lambda observer, effort: of_the_healthy(observer.judge, effort.margins // 2),
    "margins": lambda observer, effort: at_the_margin(observer.judge, effort.margins),
    "rollouts": lambda observer, effort: healthy(observer.judge, effort.rollouts),
    "nulls": lambda observer, effort: false_alarms(observer, effort.nulls),
}


def lines(
    effort: Effort = USUAL, judge: Judge = judge, parts: tuple[str, ...] = tuple(PARTS)
) -> Iterator[Line]:
    """The table; the last line says whether judge and sums agreed."""
    observer = Observer(judge)
    for part in parts:
        yield from PARTS[part](observer, effort)
    name = f"the judge contradicts the sums, of {observer.asked:,} times that it was asked"
    yield Line(name, f"{observer.disagreed:,}", "never", observer.disagreed == 0)


def main() -> list[str]:
    """For ``./dev bench``.

    Raises:
        SystemExit: something does not hold.
    """
    found = list(lines())
    if any(line.held is False for line in found):
        raise SystemExit("\n".join(map(str, found)))
    return [str(line) for line in found]
