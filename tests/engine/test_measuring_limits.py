"""What a hostile client, an odd application and another run must not do to the ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest

from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import Period, RolloutState
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Slot, bucket_of
from canary_middleware.core.weight import FULL
from canary_middleware.engine import tally
from tests.engine.measured import RUN, Person, booked, entries, measured, person_on
from tests.engine.world import World

CANARY, STABLE = Cohort.CANARY, Cohort.STABLE
HALF: Final = FULL // 2
CELL: Final = Cell(RUN)

# --- a store that refuses ------------------------------------------------------------------------


def test_what_a_store_refuses_to_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "UNASKED", 4)
    made = measured(HALF)
    measuring = made.engine.measuring
    for _ in range(30):
        person_on(made, STABLE).ask()
        made.time.monotonic += 100.0
        measuring.book(made.time.monotonic)
        questions = measuring.questions()  # and nothing comes back
    assert sum(len(question.entrances) for question in questions) == 4
    assert made.engine.recorder.events["entries_dropped"] == 30 - 2 * 4


# --- observations -------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [1e-300, 16.0, 0.0])
@pytest.mark.parametrize("value", [1e308, 10**400])
def test_observe_takes_any_finite_number(value: float, cap: float) -> None:
    made = measured(HALF, guards=(Guard.mean("revenue", cap=cap),))
    person = person_on(made, CANARY)
    visit = person.arrive()
    visit.expose("checkout")
    for _ in range(3):
        visit.observe("revenue", value)
    person.start(visit, 200)
    visit.finish(OutcomeClass.SUCCESS)
    ((_, matured),) = booked(made).slots.items()
    assert matured.hits == {"revenue": [0] * 15 + [1]}


def test_per_request_what_is_observed_counts_at_once() -> None:
    made = measured(HALF, policy=Policy.REQUEST)
    person = Person(made)
    for side, observed in ((CANARY, {"charges": 2.0}), (STABLE, {"orders": 1.0, "revenue": 8.0})):
        made.numbers.drawn = 0 if side is CANARY else 2**63  # what chance draws by
        for _ in range(30):
            assert person.ask(observe=observed).cohort is side
    found = booked(made)
    assert [found.entries[Arm(CELL, side)].n for side in (CANARY, STABLE)] == [30, 30]
    assert found.slots[Slot(CELL, CANARY, 0)].hits == {"charges": [30]}
    assert found.slots[Slot(CELL, STABLE, 0)].hits == {"orders": [30], "revenue": [0] * 7 + [30]}


def test_per_request_what_is_told_behind_the_answer_counts_once() -> None:
    made = measured(HALF, policy=Policy.REQUEST)
    person = Person(made)
    visit = person.arrive()
    side = visit.expose("checkout").cohort
    visit.observe("orders", 1)
    person.start(visit, 200)
    visit.finish(OutcomeClass.SUCCESS)
    for _ in range(3):
        visit.observe("orders", 1)
        visit.observe("charges", 1)
    found = booked(made)
    assert found.slots[Slot(CELL, side, 0)].hits == {"orders": [1], "charges": [1]}
    assert found.seen[side].observed == {"orders": [1, 0], "charges": [1, 1]}


# --- clients --------------------------------------------------------------------------------------


def test_whoever_leaves_makes_nobody_slow() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    made.time.monotonic += 0.1
    visit.finish(OutcomeClass.ABORTED)
    found = entries(made)[CANARY]
    assert [i for i, n in enumerate(found.latency) if n] == [bucket_of(0.1)]


def test_whoever_sends_slowly_makes_nobody_slow() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    made.time.monotonic += 0.1
    visit.listen().wait()
    found = entries(made)[CANARY]
    assert (found.n, found.failures) == (1, 0)
    assert [i for i, n in enumerate(found.latency) if n] == [bucket_of(0.1)]


@pytest.mark.parametrize(
    ("waited", "after", "length", "over", "failures"),
    [
        (3.0, 0.5, "9", False, 0),
        (3.0, 0.5, "9", True, 1),  # it had all of it
        (3.0, 0.5, "0", False, 1),  # there was nothing to wait for
        (0.9, 0.0, "9", False, 1),  # nothing out of the ordinary
        (3.0, 3.1, "9", False, 1),  # it took longer than the client
    ],
)
def test_a_server_that_tires_of_a_slow_upload_is_no_failing_version(
    waited: float, after: float, length: str, over: bool, failures: int
) -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive(content_length=length)
    visit.expose("checkout")
    visit.listen().wait()
    made.time.monotonic += waited
    visit.listen().come()
    visit.listen().over = over
    made.time.monotonic += after
    person.start(visit, 500)
    visit.finish(OutcomeClass.SERVER_ERROR)
    kinds = booked(made).seen[CANARY].kinds
    assert kinds[OutcomeClass.SERVER_ERROR] == failures
    assert kinds[OutcomeClass.ABORTED] == 1 - failures


# --- runs, periods, processes -----------------------------------------------------------------


def _under(made: World, periods: Sequence[Period], run: int = RUN) -> None:
    """The same release in other periods, or in another run."""
    known = made.engine.document
    assert known is not None
    entry = replace(
        known.rollouts["checkout"].entries["2"],
        run=run, begun=periods[0].at, period=periods[-1].revision, weight=periods[-1].weight,
        periods=tuple(periods),
    )  # fmt: skip
    rollouts = {"checkout": RolloutState("2", {"2": entry})}
    made.engine.adopt(replace(known, revision=known.revision + 1, rollouts=rollouts))


def test_what_waits_of_an_earlier_run_is_no_evidence_for_the_next() -> None:
    made = measured(HALF)
    late = person_on(made, CANARY)
    visit = late.arrive()
    visit.expose("checkout")
    _under(made, [Period(RUN + 20, HALF, made.time.wall)], run=RUN + 20)
    person_on(made, CANARY).ask(500)
    assert len(booked(made, 2.0).entries) == 1
    late.start(visit, 500)
    visit.finish(OutcomeClass.SERVER_ERROR)
    assert {arm.cell.period for arm in booked(made).entries} == {RUN + 20}
    ((*_, run, firsts),) = made.engine.measuring.take_firsts()
    assert (run, [first.period for first in firsts]) == (RUN + 20, [RUN + 20])


def test_who_is_pinned_since_an_earlier_run_is_no_evidence_and_no_trouble() -> None:
    made = measured(HALF, policy=Policy.SESSION)
    people = [person_on(made, side) for side in (CANARY, STABLE)]
    for person in people:
        person.ask()
    _under(made, [Period(RUN + 20, HALF, made.time.wall)], run=RUN + 20)
    issued = [person.issued for person in people]
    for person in people:
        assert person.ask(500).period == RUN
    assert [person.issued for person in people] == issued
    assert not booked(made).entries
    assert not [one for *_, run, one in made.engine.measuring.take_firsts() if run != RUN]


def test_a_folded_process_keeps_what_it_has_not_told_and_counts_nobody_twice() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    person.ask(500, keep=False)
    booked(made)
    made.engine.measuring.restart("checkout", "2")
    ((*_, firsts),) = made.engine.measuring.take_firsts()
    assert [first.kind for first in firsts] == ["failures"]
    person.ask()
    assert booked(made).entries == {}


def test_slots_of_periods_that_are_over_become_one_or_go() -> None:
    made = measured(10_000)
    begun, weights = made.time.wall, [10_000, 20_000, 30_000, 40_000]
    hour = 16 * 225
    for number in range(len(weights)):
        until = enumerate(weights[: number + 1])
        _under(made, [Period(RUN + i, weight, begun + i * hour) for i, weight in until])
        for _ in range(16):
            person_on(made, CANARY).ask()
            made.time.wall += 225
    slots = booked(made).slots
    people = [sum(m.n for s, m in slots.items() if s.cell.period == RUN + i) for i in range(4)]
    assert people == [12, 12, 12, 16], "who came too late in a period never matures"
    assert [len([s for s in slots if s.cell.period == RUN + i]) for i in range(3)] == [1, 1, 1]
