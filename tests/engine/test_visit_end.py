from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.model import (
    Audience,
    Cohort,
    Reason,
    Rescue,
)
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.rescue import Supersede
from canary_middleware.core.state import Phase
from canary_middleware.core.weight import FULL
from canary_middleware.engine.recorder import Series
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT, killed
from tests.engine.world import (
    ALL,
    BOTH,
    HALF,
    NAVIGATION,
    SEARCH,
    Hook,
    Witness,
    World,
    at,
    counts,
    under,
    view,
)

# --- staleness, readiness, kills ------------------------------------------------------------------


@pytest.mark.parametrize("identify", [None, Hook("alice")])
def test_the_dead_mans_switch(identify: Any) -> None:
    made = under(ALL, identify=identify, max_staleness=60.0)
    assert made.visit().expose("checkout").reason is Reason.STALE_CONTROL, "never confirmed"
    made.engine.confirm(made.time.monotonic)
    made.time.monotonic += 60
    assert made.visit().expose("checkout").is_canary
    made.time.monotonic += 0.001
    assert made.visit().expose("checkout").reason is Reason.STALE_CONTROL
    made.engine.confirm(made.time.monotonic)
    assert made.visit().expose("checkout").is_canary


def test_promoted_outlives_a_silent_store() -> None:
    made = under(at(FULL, Phase.PROMOTED), max_staleness=60.0)
    made.time.monotonic += 10**7
    assert made.visit().expose("checkout").is_canary


@pytest.mark.parametrize("identify", [None, Hook("alice")])
def test_a_target_that_is_not_ready(identify: Any) -> None:
    made = under(ALL, *BOTH, identify=identify)
    made.engine.set_ready("checkout", ready=False)
    visit = made.visit()
    assert visit.expose("checkout").reason is Reason.NOT_READY
    assert visit.expose("search").is_canary
    made.engine.set_ready("checkout", ready=True)
    assert made.visit().expose("checkout").is_canary


@pytest.mark.parametrize("hook", ["identify", "predicate"])
def test_a_kill_heard_while_a_hook_runs_counts_for_the_request_that_waits(hook: str) -> None:
    made: World
    slow = Hook("alice", before=lambda: made.engine.adopt(killed(ALL)))
    rollout = CHECKOUT
    if hook == "predicate":
        rollout = replace(CHECKOUT, testers=Audience(predicate=slow))
    made = under(ALL, rollout, identify=slow if hook == "identify" else Hook("alice"))
    assert made.visit().expose("checkout").reason is Reason.KILL_SWITCH
    assert slow.calls == 1


def test_whoever_asks_after_the_kill_is_stable_however_early_the_request_came() -> None:
    made = under(ALL)
    visit = made.visit()
    made.engine.adopt(killed(ALL))
    assert visit.expose("checkout").reason is Reason.KILL_SWITCH


# --- outcomes -------------------------------------------------------------------------------------


def test_one_outcome_per_exposure_and_only_once() -> None:
    made = under(ALL, *BOTH)
    visit = made.visit()
    visit.expose("checkout")
    visit.expose("search")
    assert made.engine.recorder.in_flight().total() == 2
    made.time.monotonic += 0.25
    for kind in (OutcomeClass.SUCCESS, OutcomeClass.EXCEPTION):
        visit.finish(kind)
    assert counts(made, Cohort.CANARY) == counts(made, Cohort.CANARY, "search") == {"2xx": 1}
    assert made.engine.recorder.cells()[Series("checkout", "2", Cohort.CANARY, "2")].seconds == 0.25
    assert made.engine.recorder.in_flight() == {}


def test_given_seconds_are_taken() -> None:
    made = under(ALL)
    visit = made.visit()
    visit.expose("checkout")
    made.time.monotonic += 100
    visit.finish(OutcomeClass.INFORMATIONAL, 0.5)
    assert made.engine.recorder.cells()[Series("checkout", "2", Cohort.CANARY, "2")].seconds == 0.5


def test_a_late_exposure_is_counted_logged_once_and_still_has_its_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = under(ALL, *BOTH)
    for _ in range(2):
        visit = made.visit()
        visit.started = True
        visit.expose("checkout")
        visit.expose("search")
        visit.finish(OutcomeClass.SUCCESS)
    assert made.events() == {"late_exposure": 2}, "once per request"
    assert len(caplog.records) == 1
    assert counts(made, Cohort.CANARY) == {"2xx": 2}


@pytest.mark.parametrize("started", [True, False])
def test_who_asks_after_the_end_is_answered_and_leaves_nothing_behind(started: bool) -> None:
    """A background task, or the thread of a request that was cancelled."""
    made = under(ALL)
    visit = made.visit()
    visit.started = started
    visit.finish(OutcomeClass.ABORTED)
    assert visit.expose("checkout").is_canary
    assert made.engine.recorder.running == {}
    assert made.engine.recorder.cells() == {}


def test_the_public_answer_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    made = under(ALL)
    for _ in range(2):
        made.visit("/a?token=secret").note_public()
    assert made.events() == {"public_response": 2}
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


# --- superseding ----------------------------------------------------------------------------------


def test_only_a_failed_canary_is_rescued() -> None:
    made = under(ALL)
    visit = made.visit()
    visit.expose("checkout")
    assert [visit.supersede(status) for status in (200, 404, 499)] == [None] * 3
    assert visit.supersede(500) is Supersede.RESCUE


@pytest.mark.parametrize(
    ("method", "extra", "replayable"),
    [("GET", (), True), ("HEAD", (), True), ("POST", (), False), ("PUT", ("PUT",), True)],
)
def test_only_methods_that_may_run_twice(
    method: str, extra: tuple[str, ...], replayable: bool
) -> None:
    rollout = replace(CHECKOUT, rescue=Rescue(methods=("GET", "HEAD", *extra)))
    visit = under(ALL, rollout).visit(method=method)
    visit.expose("checkout")
    assert visit.replayable() is replayable


def test_every_canary_of_the_request_must_agree() -> None:
    stubborn = replace(SEARCH, rescue=Rescue(enabled=False))
    once = replace(SEARCH, rescue=Rescue(methods=()))
    for other, rescued, replayable in ((stubborn, None, True), (once, Supersede.RESCUE, False)):
        visit = under(ALL, CHECKOUT, other).visit()
        visit.expose("checkout")
        visit.expose("search")
        assert visit.supersede(500) is rescued
        assert visit.replayable() is replayable


def test_a_rollout_that_is_stable_has_no_say() -> None:
    found = replace(ALL, rollouts={"checkout": ALL.rollouts["checkout"]})
    visit = under(
        found, CHECKOUT, replace(SEARCH, rescue=Rescue(methods=(), enabled=False))
    ).visit()
    visit.expose("checkout")
    assert not visit.expose("search").is_canary
    assert visit.replayable()
    assert visit.supersede(500) is Supersede.RESCUE


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_kill_supersedes_any_answer_of_a_killed_canary(status: int, enabled: bool) -> None:
    made = under(ALL, replace(CHECKOUT, rescue=Rescue(enabled=enabled)))
    visit = made.visit()
    visit.expose("checkout")
    made.engine.adopt(killed(ALL))
    assert visit.supersede(status) is Supersede.KILL
    assert made.events() == {"in_flight_at_kill": 1}, "no place in the budget is taken for it"


def test_a_kill_of_another_rollout_supersedes_nothing() -> None:
    made = under(ALL, *BOTH)
    visit = made.visit()
    visit.expose("checkout")
    made.engine.adopt(killed(ALL, "search"))
    assert visit.supersede(200) is None


def test_a_later_exposure_does_not_hide_the_kill() -> None:
    """One is canary, the kill comes, then the same request asks for search."""
    made = under(ALL, *BOTH)
    visit = made.visit()
    visit.expose("checkout")
    made.engine.adopt(killed(ALL))
    assert visit.expose("search").reason is Reason.KILL_SWITCH
    assert visit.supersede(200) is Supersede.KILL


def second_run(visit: Visit, why: Supersede) -> Visit:
    visit.abandon(why)
    return visit.again(why, view())


def test_a_rescue_is_one_outcome_of_the_canary_and_none_of_stable() -> None:
    made = under(ALL, *BOTH)
    visit = made.visit()
    visit.expose("checkout")
    made.time.monotonic += 0.5
    assert visit.supersede(500) is Supersede.RESCUE
    second = second_run(visit, Supersede.RESCUE)
    assert second.rescued
    given = second.expose("checkout")
    assert (given.cohort, given.reason, given.version) == (Cohort.STABLE, Reason.ERROR, "1")
    assert second.begun == visit.begun
    assert second.supersede(500) is None, "once"
    second.finish(OutcomeClass.SUCCESS)
    assert counts(made, Cohort.CANARY) == {"rescued": 1}
    assert counts(made, Cohort.STABLE) == {}
    assert made.engine.recorder.running == {}


def test_a_superseded_kill_is_booked_on_both_runs() -> None:
    made = under(ALL)
    visit = made.visit()
    visit.expose("checkout")
    made.engine.adopt(killed(ALL))
    assert visit.supersede(200) is Supersede.KILL
    second = second_run(visit, Supersede.KILL)
    assert not second.rescued
    assert second.expose("checkout").reason is Reason.KILL_SWITCH
    second.finish(OutcomeClass.SUCCESS)
    assert counts(made, Cohort.CANARY) == {"superseded": 1}
    assert counts(made, Cohort.STABLE) == {"2xx": 1}


def test_the_second_run_keeps_the_visitor_the_stable_draws_and_the_inputs() -> None:
    identify = Hook(None)
    found = replace(ALL, rollouts={**HALF.rollouts, "checkout": ALL.rollouts["checkout"]})
    made = under(found, *BOTH, identify=identify)
    visit = made.visit(**NAVIGATION)
    visit.expose("checkout")
    while visit.expose("search").is_canary:
        visit = made.visit(**NAVIGATION)
        visit.expose("checkout")
    calls, drawn = identify.calls, made.numbers.drawn
    assert visit.supersede(500) is Supersede.RESCUE
    second = second_run(visit, Supersede.RESCUE)
    assert second.expose("search") is visit.exposed["search"]
    assert second.cookie_line() == visit.cookie_line() is not None
    assert second.inputs() == visit.inputs()
    assert (identify.calls, made.numbers.drawn) == (calls, drawn)
    second.finish(OutcomeClass.SUCCESS)
    assert counts(made, Cohort.STABLE, "search") == {"2xx": 1}, "told by the second run only"


def test_the_budget() -> None:
    made = under(ALL)
    visits = [made.visit() for _ in range(4)]
    for visit in visits:
        visit.expose("checkout")
    taken = [visit.supersede(500) for visit in visits]
    assert taken == [Supersede.RESCUE] * 3 + [None]
    assert made.events() == {"rescues": 3, "rescues_over_budget": 1}
    second = second_run(visits[0], Supersede.RESCUE)
    for _ in range(2):
        second.finish(OutcomeClass.SUCCESS)
    more = [made.visit() for _ in range(2)]
    for visit in more:
        visit.expose("checkout")
    assert [visit.supersede(500) for visit in more] == [Supersede.RESCUE, None], "one came back"


def test_a_request_cancelled_before_its_second_run_gives_its_place_back() -> None:
    made = under(ALL)
    for _ in range(10):
        visit = made.visit()
        visit.expose("checkout")
        assert visit.supersede(500) is Supersede.RESCUE
        visit.abandon(Supersede.RESCUE)
        visit.finish(OutcomeClass.ABORTED)
    assert counts(made, Cohort.CANARY) == {"rescued": 10}, "and is booked once"


def test_an_application_that_swallows_its_end_is_booked_once() -> None:
    made = under(ALL)
    visit = made.visit()
    visit.expose("checkout")
    for _ in range(2):
        visit.abandon(Supersede.KILL)
    assert visit.expose("checkout").is_canary
    assert counts(made, Cohort.CANARY) == {"superseded": 1}


# --- telemetry ------------------------------------------------------------------------------------


def test_telemetry_hears_each_exposure_and_each_end_once() -> None:
    made = under(ALL, *BOTH)
    witness = Witness()
    made.engine.describe_with(witness)
    visit = made.visit()
    assert visit.expose("checkout").attributes == {"version": "2"}
    visit.expose("checkout")
    assert visit.supersede(500) is Supersede.RESCUE
    second = second_run(visit, Supersede.RESCUE)
    second.expose("checkout")
    second.expose("search")
    made.time.monotonic += 1
    for _ in range(2):
        second.finish(OutcomeClass.SUCCESS)
    assert witness.seen == [
        ("exposed", "checkout"),
        ("finished", (["checkout"], OutcomeClass.RESCUED, 0.0)),
        ("repeated", {"checkout": Reason.ERROR}),
        ("exposed", "checkout"),
        ("exposed", "search"),
        ("finished", (["search"], OutcomeClass.SUCCESS, 1.0)),
    ]


def test_a_visit_without_exposures_is_not_told() -> None:
    made = under(ALL)
    witness = Witness()
    made.engine.describe_with(witness)
    made.visit().finish(OutcomeClass.SUCCESS)
    assert witness.seen == []


def test_spans_are_remembered_in_their_order() -> None:
    visit = under(ALL).visit()
    assert visit.spans is None
    visit.tag("server")
    visit.tag("child")
    assert visit.spans == ["server", "child"]
