from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from canary_middleware.core.model import Audience, Cohort, Policy, Visitor
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.rescue import Supersede
from canary_middleware.core.state import Phase, RolloutState
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Slot, bucket_of
from canary_middleware.core.weight import FULL
from canary_middleware.stores import MemoryStore
from tests.core.control import CHECKOUT, KILL
from tests.engine.measured import GUARDS, RUN, Person, booked, entries, measured, person_on
from tests.engine.world import IMAGE, World, view, world

CANARY, STABLE = Cohort.CANARY, Cohort.STABLE
HALF: Final = FULL // 2

# --- the throw ------------------------------------------------------------------------------------


def test_a_visitor_counts_once_in_a_period_whatever_they_do() -> None:
    made = measured(HALF)
    people = [person_on(made, side) for side in (CANARY, CANARY, STABLE)]
    for _ in range(5):
        for person in people:
            person.ask()
    found = entries(made)
    assert (found[CANARY].n, found[STABLE].n) == (2, 1)
    assert [person.issued for person in people] == [2, 2, 2], "the sight, then that they came back"


def test_a_raise_throws_the_coin_again_for_stable_alone() -> None:
    made = measured(HALF)
    people = [person_on(made, side) for side in (CANARY, STABLE, STABLE, STABLE, STABLE)]
    for person in people:
        person.ask()
    measured(HALF, FULL * 3 // 4, made=made)
    sides = [person.ask().cohort for person in people]
    assert sides[0] is CANARY
    first = entries(made)
    assert (first[CANARY].n, first[STABLE].n) == (1, 4)
    again = entries(made, RUN + 1, lo=HALF)
    assert sum(arm.n for arm in again.values()) == 4, "canary visitors had no throw"
    assert {side: again[side].n for side in again} == {
        side: sides[1:].count(side) for side in set(sides[1:])
    }


def test_a_newcomer_of_a_later_period_has_a_cell_of_their_own() -> None:
    made = measured(HALF)
    measured(HALF, FULL * 3 // 4, made=made)
    person_on(made, CANARY).ask()
    assert entries(made, RUN + 1)[CANARY].n == 1


def test_a_decrease_under_follow_throws_for_those_who_were_on_canary() -> None:
    made = measured(HALF)
    people = [person_on(made, side) for side in (CANARY, CANARY, CANARY, STABLE)]
    for person in people:
        person.ask()
    measured(HALF, FULL // 4, made=made)
    for person in people:
        person.ask()
    assert sum(arm.n for arm in entries(made, RUN + 1, hi=HALF).values()) == 3
    assert not entries(made, RUN + 1, lo=HALF)


def test_who_keeps_no_cookies_is_a_new_throw_each_time() -> None:
    made = measured(HALF)
    for _ in range(20):
        Person(made).ask(keep=False)
    assert sum(arm.n for arm in entries(made).values()) == 20


def test_an_answer_without_its_cookie_counts_its_visitor_once() -> None:
    # A handler that raises past every framework: the server's own 500 carries no cookie of ours.
    made = measured(HALF)
    person = person_on(made, CANARY)
    for _ in range(4):
        person.raises()
        measured(HALF, made=made)  # another snapshot, so that nothing is remembered of the cookie
    assert entries(made)[CANARY].n == 1


def test_parallel_requests_with_the_cookie_of_before_enter_once_in_the_fleet() -> None:
    store = MemoryStore(lambda: 0.0)
    fleet = [measured(HALF) for _ in range(4)]
    first = person_on(fleet[0], STABLE)
    first.ask()
    told = [answered(made, store) for made in fleet]
    assert sum(one.n for one in told) == 1
    for made in fleet:
        measured(HALF, FULL * 3 // 4, made=made)
    for made in fleet * 3:  # all at once: no answer has brought the cookie of this period yet
        Person(made, first.cookie).ask(500)
    told = [answered(made, store, RUN + 1) for made in fleet]
    assert [(one.n, one.failures) for one in told] == [(1, 1), (0, 0), (0, 0), (0, 0)]


def answered(made: World, store: MemoryStore, period: int = RUN) -> Entries:
    """What one process has booked of a period after it asked the store, and asked it again."""
    measuring = made.engine.measuring
    made.time.monotonic += 100.0
    measuring.book(made.time.monotonic)
    waiting = measuring.ledgers()["checkout", "2"]
    for question in measuring.questions():
        assert waiting.upto < made.engine.settings.wall() - 90.0, "of that time not all is told"
        where = question.rollout, question.release, question.run, question.batch
        assert store.enter(*where, question.entered) == store.enter(*where, question.entered)
        assert measuring.questions() == [question], "until it is answered"
        measuring.settle(question, store.enter(*where, question.entered))
        measuring.settle(question, store.enter(*where, question.entered))
    ledgers = measuring.ledgers()["checkout", "2"]
    assert ledgers.upto > made.engine.settings.wall() - 90.0
    sums = Entries()
    for arm, one in ledgers.entries.items():
        if arm.cell.period == period:
            sums.n += one.n
            sums.failures += one.failures
    return sums


@pytest.mark.parametrize("weight", [0, FULL])
def test_nobody_is_thrown_where_all_are_on_one_side(weight: int) -> None:
    made = measured(weight)
    person = person_on(made, CANARY if weight else STABLE)
    person.ask()
    assert not booked(made).entries
    assert person.issued == 0


def test_per_request_every_exposure_is_a_throw_and_nothing_is_kept() -> None:
    made = measured(HALF, policy=Policy.REQUEST)
    person = Person(made)
    for _ in range(10):
        person.ask(500)
    ledgers = booked(made)
    assert sum(arm.n for arm in ledgers.entries.values()) == 10
    assert sum(arm.failures for arm in ledgers.entries.values()) == 10
    assert not ledgers.slots
    assert not made.engine.measuring.take_firsts()
    assert person.issued == 0


def test_whoever_is_drawn_by_name_counts_from_the_second_period_on() -> None:
    # They may have come before without a cookie, and the coin lies as it lay then.
    guards = GUARDS
    made = world(
        __import__("dataclasses").replace(CHECKOUT, guards=guards),
        identify=lambda _: Visitor("ann"),
    )
    measured(HALF, made=made)
    person = Person(made)
    side = person.ask().cohort
    assert person.issued == 1
    assert not booked(made).entries
    measured(HALF, FULL * 3 // 4, made=made)
    person.ask()
    ledgers = booked(made)
    if side is STABLE:
        assert [arm.cell for arm in ledgers.entries] == [Cell(RUN + 1, HALF, FULL)]
    else:
        assert not ledgers.entries


def test_without_a_cookie_a_name_never_counts_but_its_failures_do() -> None:
    made = world(
        __import__("dataclasses").replace(CHECKOUT, guards=GUARDS),
        identify=lambda _: Visitor("ann"),
    )
    measured(HALF, made=made)
    for _ in range(3):
        Person(made).ask(500, keep=False)
    assert not booked(made).entries
    ((_, _, run, firsts),) = made.engine.measuring.take_firsts()
    assert run == RUN
    assert len({first.visitor for first in firsts}) == 1
    assert {first.kind for first in firsts} == {"failures"}


def test_testers_are_no_evidence() -> None:
    rollout = replace(CHECKOUT, guards=GUARDS, testers=Audience(["ann"]))
    made = world(rollout, identify=lambda _: Visitor("ann"))
    measured(HALF, made=made)
    person = Person(made)
    person.ask(500, observe={"charges": 2})
    ledgers = booked(made)
    assert not ledgers.entries
    assert not ledgers.seen
    assert not made.engine.measuring.take_firsts()


# --- the age gate ---------------------------------------------------------------------------------


def test_nothing_is_booked_before_its_age() -> None:
    made = measured(HALF)
    person_on(made, CANARY).ask(500, after=0.1)
    assert not booked(made, 0.89).entries, "younger than a second"
    assert not made.engine.measuring.take_firsts()
    ledgers = booked(made, 0.02)
    assert [arm.failures for arm in ledgers.entries.values()] == [1]
    assert made.engine.measuring.take_firsts()


def test_what_has_not_started_by_then_failed_at_once_and_once() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive()
    visit.expose("checkout")
    found = entries(made)[CANARY]
    assert (found.n, found.failures, found.latency[-1]) == (1, 1, 1)
    assert [first.kind for first in made.engine.measuring.take_firsts()[0][3]] == [
        "failures",
        "slow",
    ]
    person.start(visit, 200)
    visit.finish(OutcomeClass.SUCCESS)
    assert entries(made)[CANARY].failures == 1
    assert not made.engine.measuring.take_firsts()


def test_who_waits_for_an_answer_is_known_before_there_is_one() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive()
    measuring = made.engine.measuring
    assert measuring.overdue("checkout", 0.0) == 0, "nothing depends on the version yet"
    visit.expose("checkout")
    made.time.monotonic += 10.1
    assert measuring.overdue("checkout", 10.0) == 1
    assert (measuring.overdue("checkout", 10.2), measuring.overdue("search", 10.0)) == (0, 0)
    visit.listen().wait()
    made.time.monotonic += 5.0
    assert measuring.overdue("checkout", 10.2) == 0, "the client is waited for"
    person.start(visit, 200)
    assert measuring.overdue("checkout", 10.0) == 0, "a stream goes on for as long as it likes"


def test_a_time_out_is_told_once_at_the_time_out() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    assert booked(made, 29.9).seen == {}
    kinds = booked(made, 0.2).seen[CANARY].kinds
    assert kinds[OutcomeClass.TIMEOUT] == sum(kinds) == 1
    visit.finish(OutcomeClass.SUCCESS)
    assert sum(booked(made).seen[CANARY].kinds) == 1


def test_latency_is_the_time_until_the_start() -> None:
    made = measured(HALF)
    person_on(made, CANARY).ask(after=0.3)
    found = entries(made)[CANARY]
    assert [i for i, n in enumerate(found.latency) if n] == [bucket_of(0.3)]


def test_slow_is_twice_the_usual_p99() -> None:
    made = measured(HALF)
    quick, slow = person_on(made, CANARY), person_on(made, STABLE)
    quick.ask(after=0.08)
    slow.ask(after=0.1)
    booked(made)
    ((*_, firsts),) = made.engine.measuring.take_firsts()
    assert [(one.kind, one.cohort) for one in firsts] == [("slow", STABLE)]


# --- what counts as what --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "failures", "client_errors"),
    [
        (OutcomeClass.SUCCESS, 0, 0),
        (OutcomeClass.CLIENT_ERROR, 0, 1),
        (OutcomeClass.SERVER_ERROR, 1, 0),
        (OutcomeClass.EXCEPTION, 1, 0),
        (OutcomeClass.ABORTED, 0, 0),
    ],
)
def test_kinds(kind: OutcomeClass, failures: int, client_errors: int) -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    visit.finish(kind)
    found = entries(made)[CANARY]
    assert (found.n, found.failures, found.client_errors) == (1, failures, client_errors)


def test_a_rescued_canary_failed_and_stable_is_not_asked() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive()
    visit.expose("checkout")
    visit.observe("orders", 1)
    assert visit.supersede(500) is Supersede.RESCUE
    visit.abandon(Supersede.RESCUE)
    second = visit.again(Supersede.RESCUE, view())
    assert not second.expose("checkout").is_canary
    person.start(second, 200)
    second.finish(OutcomeClass.SUCCESS)
    ledgers = booked(made)
    assert {arm.cohort: e.failures for arm, e in ledgers.entries.items()} == {CANARY: 1}
    assert ledgers.seen[CANARY].observed == {}, "what the first run observed is dropped"
    assert STABLE not in ledgers.seen


def test_a_killed_canary_is_not_asked_either() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    visit.abandon(Supersede.KILL)
    assert not booked(made).entries


def both(made: World) -> None:
    """Put ``search`` beside ``checkout``, measured as well, with everybody on its stable side."""
    held = made.engine.document
    assert held is not None
    entry = held.rollouts["checkout"].entries["2"]
    searched = RolloutState("2", {"2": replace(entry, phase=Phase.PAUSED)})
    made.engine.adopt(replace(held, rollouts={**held.rollouts, "search": searched}))


@pytest.mark.parametrize("why", [Supersede.RESCUE, Supersede.KILL])
def test_a_rollout_that_was_not_to_blame_is_answered_for_by_the_second_run(why: Supersede) -> None:
    made = measured(HALF, made=world(CHECKOUT, replace(CHECKOUT, name="search")))
    both(made)
    person = person_on(made, CANARY)
    while (visit := person.arrive()).expose("search").is_canary:
        person = person_on(made, CANARY)
    assert visit.expose("checkout").is_canary
    if why is Supersede.KILL:
        held = made.engine.document
        assert held is not None
        made.engine.adopt(replace(held, kills={"checkout": KILL}))
    visit.abandon(why)
    second = visit.again(why, view())
    second.expose("checkout")
    assert not second.expose("search").is_canary
    person.start(second, 200)
    second.finish(OutcomeClass.SUCCESS)
    booked(made)
    searched = made.engine.measuring.ledgers()["search", "2"].entries
    found = searched[Arm(Cell(RUN), STABLE)]
    assert (found.n, found.failures) == (1, 0)


def test_a_canary_that_timed_out_before_it_was_rescued_is_one_outcome() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    booked(made, 31.0)
    visit.abandon(Supersede.RESCUE)
    second = visit.again(Supersede.RESCUE, view())
    second.expose("checkout")
    second.finish(OutcomeClass.SUCCESS)
    kinds = booked(made).seen[CANARY].kinds
    assert kinds[OutcomeClass.TIMEOUT] == sum(kinds) == 1


def test_an_answer_after_the_gate_failed_however_late_it_is_looked_at() -> None:
    made = measured(HALF)
    person_on(made, CANARY).ask(after=1.5)
    found = entries(made)[CANARY]
    assert (found.n, found.failures, found.latency[-1]) == (1, 1, 1)


# --- processes that are not in step ---------------------------------------------------------------


def test_what_is_left_of_an_earlier_run_counts_no_more() -> None:
    made = measured(HALF)
    late = person_on(made, CANARY).arrive()
    late.expose("checkout")
    held = made.engine.document
    assert held is not None
    entry = held.rollouts["checkout"].entries["2"]
    periods = (replace(entry.periods[0], revision=RUN + 5),)
    anew = replace(entry, run=RUN + 5, period=RUN + 5, periods=periods)
    made.engine.adopt(replace(held, rollouts={"checkout": RolloutState("2", {"2": anew})}))
    person_on(made, STABLE).ask()
    booked(made, 0.99)
    late.finish(OutcomeClass.SERVER_ERROR)
    booked(made, 0.02)
    late.observe("charges", 2)
    assert [arm.cell.period for arm in booked(made).entries] == [RUN + 5]
    assert not made.engine.measuring.take_firsts()


def test_a_process_that_lags_leaves_alone_what_others_know_of_a_visitor() -> None:
    ahead = measured(HALF, FULL * 3 // 4)
    person = person_on(ahead, STABLE)
    person.ask()
    kept, person.made = person.cookie, measured(HALF)
    person.ask()
    assert person.cookie == kept
    assert not booked(person.made).entries


# --- declared metrics -----------------------------------------------------------------------------


def test_observations_add_up_within_a_request() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    visit.observe("charges", 1)
    visit.observe("charges", 1)
    visit.finish(OutcomeClass.SUCCESS)
    ledgers = booked(made)
    assert ledgers.seen[CANARY].observed == {"charges": [1, 1]}
    ((*_, firsts),) = made.engine.measuring.take_firsts()
    assert [first.kind for first in firsts] == ["charges"]


def test_two_charges_of_two_orders_are_fine() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    person.ask(observe={"charges": 1})
    person.ask(observe={"charges": 1})
    assert booked(made).seen[CANARY].observed == {"charges": [2, 0]}
    assert not made.engine.measuring.take_firsts()


def test_a_visitor_counts_once_per_metric_within_the_horizon() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    person.ask()
    for _ in range(3):
        person.ask(observe={"orders": 1, "revenue": 3.5})
    ((slot, matured),) = booked(made).slots.items()
    assert slot == Slot(Cell(RUN), CANARY, 1)
    assert (matured.n, matured.hits) == (
        1,
        {"throughput": [1], "orders": [1], "revenue": [0, 0, 0, 1]},
    )


def test_what_comes_after_the_horizon_does_not_count() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    person.ask()
    made.time.wall += 900 + 2 * 225
    person.ask(500, observe={"orders": 1})
    ((_, matured),) = booked(made).slots.items()
    assert matured.hits == {}


def test_slots_that_matured_long_ago_become_one() -> None:
    made = measured(HALF)
    for _ in range(30):
        person_on(made, CANARY).ask()
        made.time.wall += 225
    slots = booked(made).slots
    assert len(slots) <= 14
    assert sum(matured.n for matured in slots.values()) == 30
    assert slots[Slot(Cell(RUN), CANARY, 0)].n >= 17


def test_behind_the_answer_is_not_too_late() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive()
    visit.expose("checkout")
    person.start(visit, 200)
    visit.finish(OutcomeClass.SUCCESS)
    visit.observe("charges", 2)
    assert booked(made).seen[CANARY].observed == {"charges": [1, 1]}


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_what_is_no_number_is_told_and_dropped(value: object) -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.expose("checkout")
    visit.observe("charges", value)  # type: ignore[arg-type]  # what this test is about
    assert visit.observed is None
    assert made.events() == {"bad_observation": 1}


def test_a_metric_that_nobody_declared_is_told_once() -> None:
    made = measured(HALF)
    visit = person_on(made, CANARY).arrive()
    visit.observe("chrages", 1)
    assert made.events() == {"unknown_metric": 1}


# --- room and shipping ----------------------------------------------------------------------------


def test_the_cookie_stays_small() -> None:
    made = measured(HALF)
    person = person_on(made, STABLE)
    person.ask(observe={"orders": 1})
    weights = [HALF]
    for weight in (60_001, 70_002, 80_003, 99_999):
        weights.append(weight)
        measured(*weights, made=made)
        person.ask(observe={"orders": 1})
    assert len(person.cookie.partition("=")[2]) < 120


def test_first_events_that_the_store_refused_come_again() -> None:
    made = measured(HALF)
    person_on(made, CANARY).ask(500)
    booked(made)
    (batch,) = made.engine.measuring.take_firsts()
    assert not made.engine.measuring.take_firsts()
    made.engine.measuring.put_back(batch)
    assert made.engine.measuring.take_firsts() == [batch]


def test_a_folded_process_begins_at_zero_and_telemetry_loses_nothing() -> None:
    made = measured(HALF)
    person_on(made, CANARY).ask()
    before = booked(made)
    assert (before.seen[CANARY].n, len(before.entries)) == (1, 1)
    made.engine.measuring.restart("checkout", "2")
    after = booked(made)
    assert (after.seen, after.entries, after.slots) == ({}, {}, {})
    assert sum(cell.total for cell in made.engine.recorder.cells().values()) == 1


def test_arms_are_those_of_the_period_of_the_draw() -> None:
    made = measured(HALF)
    person = person_on(made, CANARY)
    visit = person.arrive()
    visit.expose("checkout")
    measured(HALF, FULL * 3 // 4, made=made)
    person.start(visit, 500)
    visit.finish(OutcomeClass.SERVER_ERROR)
    ledgers = booked(made)
    assert list(ledgers.entries) == [Arm(Cell(RUN), CANARY)]
    ((*_, firsts),) = made.engine.measuring.take_firsts()
    assert firsts[0].period == RUN


def test_an_exception_is_an_answer_at_the_moment_it_is_raised() -> None:
    made = measured(HALF)
    person_on(made, CANARY).raises(after=0.03)
    found = entries(made)[CANARY]
    assert [i for i, n in enumerate(found.latency) if n] == [bucket_of(0.03)]


def test_what_a_page_loads_beside_itself_is_no_throw() -> None:
    made = measured(HALF)
    person = person_on(made, STABLE)
    person.ask()
    measured(HALF, FULL * 3 // 4, made=made)
    for _ in range(3):
        visit = made.visit(
            **{key.replace("-", "_"): v for key, v in IMAGE.items()}, cookie=person.cookie
        )
        visit.expose("checkout")
        visit.finish(OutcomeClass.SUCCESS)
    assert entries(made, RUN + 1, lo=HALF) == {}
    person.ask()
    assert sum(arm.n for arm in entries(made, RUN + 1, lo=HALF).values()) == 1
