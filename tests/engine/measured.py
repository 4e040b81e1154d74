"""A process whose rollout is measured, and visitors who carry their cookies from visit to visit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Assignment, Cohort
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.ramp import Course
from canary_middleware.core.state import (
    Baseline,
    Document,
    Entry,
    Period,
    Phase,
    Plan,
    RolloutState,
)
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers
from canary_middleware.core.weight import FULL
from canary_middleware.engine.measuring import Measuring
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT
from tests.engine.world import NAVIGATION, World, pair, world

RUN = 10
GUARDS = (
    Guard.errors(),
    Guard.latency(),
    Guard.throughput(),
    Guard.rate("orders"),
    Guard.mean("revenue", cap=16.0),
    Guard.never("charges"),
)
QUICK = Baseline(tuple(1000 if bucket == 40 else 0 for bucket in range(128)), RUN)
"""Every answer of stable started after 41 to 45 ms."""


def measured(
    *weights: int, guards: tuple[Guard, ...] = GUARDS, made: World | None = None, **plan: Any
) -> World:
    """A process under the last of these weights, each of which was a period of the run."""
    baseline = plan.pop("baseline", QUICK)
    made = made or world(replace(CHECKOUT, guards=guards))
    made.engine.adopt(
        document(*weights, guards=guards, at=made.time.wall, baseline=baseline, **plan)
    )
    return made


def document(
    *weights: int, guards: tuple[Guard, ...], at: float, baseline: Baseline | None, **plan: Any
) -> Document:
    """The control state of such a process; the run began at the beginning of its first hour."""
    begun = 1_800_000_000.0
    periods = tuple(Period(RUN + i, weight, begun) for i, weight in enumerate(weights))
    entry = Entry(
        "2", "1", Phase.RAMPING, weights[-1], 0, RUN, periods[-1].revision, at, "",
        Plan("1", "2", guards=guards, course=Course(horizon=900), **plan),
        run=RUN, begun=begun, periods=periods, baseline=baseline,
    )  # fmt: skip
    return Document("lineage", 50, rollouts={"checkout": RolloutState("2", {"2": entry})})


@dataclass
class Person:
    """Somebody with a browser.

    Attributes:
        made: the process that answers.
        cookie: what the browser sends.
        issued: how often it was told to keep another one.
    """

    made: World
    cookie: str = ""
    issued: int = 0

    def ask(
        self,
        status: int = 200,
        *,
        after: float = 0.02,
        observe: dict[str, float] | None = None,
        keep: bool = True,
    ) -> Assignment:
        """One request from its arrival to its end."""
        visit = self.arrive()
        found = visit.expose("checkout")
        for metric, value in (observe or {}).items():
            visit.observe(metric, value)
        self.made.time.monotonic += after
        self.start(visit, status, keep=keep)
        visit.finish(classify(status))
        return found

    def arrive(self, **headers: str) -> Visit:
        """A request that has just arrived."""
        given = {**NAVIGATION, **headers, **({"cookie": self.cookie} if self.cookie else {})}
        return self.made.visit(**{key.replace("-", "_"): value for key, value in given.items()})

    def start(self, visit: Visit, status: int, *, keep: bool = True) -> None:
        """The answer starts."""
        visit.status = status
        visit.answer(status)
        visit.started = True
        line = visit.cookie_line() if visit.issue else None
        if line is not None and keep:
            self.cookie, self.issued = pair(line), self.issued + 1

    def raises(self, after: float = 0.02) -> Assignment:
        """A request whose handler raises before anything started."""
        visit = self.arrive()
        found = visit.expose("checkout")
        self.made.time.monotonic += after
        visit.finish(OutcomeClass.EXCEPTION)
        return found


def person_on(made: World, cohort: Cohort) -> Person:
    """Somebody whom the coin puts on that side at their first request."""
    while True:
        known = made.engine.visitors.draw()
        person = Person(made, pair(made.engine.visitors.line(known.cookie)))
        visit = person.arrive()
        lane = made.engine.snapshot.by_name["checkout"]
        bucket = lane.track.draws(b"".join((known.drawn.kind, known.drawn.subject.encode())))
        if (Cohort.CANARY if bucket < lane.limit else Cohort.STABLE) is cohort:
            visit.finished = True
            return person


def settle(measuring: Measuring) -> None:
    """The store's answer in a fleet of one process: nobody else told of anybody."""
    for question in measuring.questions():
        measuring.settle(question, [True] * len(question.entrances))


def booked(made: World, later: float = 100.0) -> Ledgers:
    """The ledgers once everything is old enough."""
    made.time.monotonic += later
    made.engine.measuring.book(made.time.monotonic)
    settle(made.engine.measuring)
    made.engine.measuring.book(made.time.monotonic)
    return made.engine.measuring.ledgers()["checkout", "2"]


def entries(made: World, period: int = RUN, lo: int = 0, hi: int = FULL) -> dict[Cohort, Entries]:
    """Ledger A of one cell."""
    found = booked(made).entries
    cell = Cell(period, lo, hi)
    return {cohort: found[Arm(cell, cohort)] for cohort in Cohort if Arm(cell, cohort) in found}
