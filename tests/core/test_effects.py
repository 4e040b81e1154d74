"""What the verbs of the controller change, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.command import Command
from canary_middleware.core.drill import LONGEST, Drill, Fault
from canary_middleware.core.effects import BREACH
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Policy
from canary_middleware.core.ramp import Course
from canary_middleware.core.state import (
    ACTIVE,
    Baseline,
    Cap,
    Document,
    Entry,
    Period,
    Phase,
    Plan,
    Verb,
)
from canary_middleware.core.transitions import apply
from canary_middleware.core.weight import FULL
from canary_middleware.errors import VerbRefusedError

COURSE = Course(
    bakes=(600,) * 4, samples=(50,) * 4, approvals=(False, False, True, False),
)  # fmt: skip
PLAN = Plan("1", "2", steps=(1_000, 5_000, 25_000, FULL), course=COURSE)
STARTS = (1,) * 128
DRILL = Drill(Fault.ERROR, share=FULL, begun=20.0, seconds=60, by="me")


class History:
    """A release and what is done to it, a second after the other."""

    def __init__(self, plan: Plan = PLAN) -> None:
        self.document = Document("a")
        self.now = 9.0
        self.do(Verb.START, plan=plan)

    def do(self, verb: Verb, **arguments: Any) -> Entry:
        self.now += 1
        command = replace(Command(verb, "checkout", verb.value), **arguments)
        self.document = apply(self.document, command, self.now)
        return self.entry

    @property
    def entry(self) -> Entry:
        found = self.document.entry("checkout", "2")
        assert found is not None
        return found

    def refused(self, verb: Verb, **arguments: Any) -> str:
        before = self.document
        with pytest.raises(VerbRefusedError) as caught:
            self.do(verb, **arguments)
        assert self.document is before
        assert caught.value.hint
        return str(caught.value)

    def awaiting(self) -> History:
        self.do(Verb.ADVANCE)
        self.do(Verb.AWAIT)
        return self

    def placed(self, phase: Phase) -> History:
        state = self.document.rollouts["checkout"]
        entry = replace(self.entry, phase=phase)
        state = replace(state, entries={"2": entry})
        self.document = replace(self.document, rollouts={"checkout": state})
        return self


def test_a_second_leader_cannot_advance_what_the_first_has_advanced() -> None:
    history = History()
    assert history.do(Verb.ADVANCE, step=0).step == 1
    assert "it is at step 1, no longer at 0" in history.refused(Verb.ADVANCE, step=0)
    assert "no longer at 3" in history.refused(Verb.PROMOTE, step=3)


def test_a_gate_is_entered_by_approval_only_and_once() -> None:
    history = History()
    history.do(Verb.ADVANCE)
    assert "nobody has approved 25%" in history.refused(Verb.ADVANCE)
    waiting = history.do(Verb.AWAIT)
    assert (waiting.phase, waiting.weight, waiting.period) == (Phase.AWAITING_APPROVAL, 5_000, 2)
    entered = history.do(Verb.APPROVE)
    assert (entered.phase, entered.step, entered.weight) == (Phase.RAMPING, 2, 25_000)
    assert (entered.period, entered.since, entered.reached) == (4, history.now, 2)
    assert "does not fit" in history.refused(Verb.APPROVE)
    assert history.do(Verb.ADVANCE).weight == FULL


@pytest.mark.parametrize("verb", [Verb.ADVANCE, Verb.AWAIT, Verb.PROMOTE])
def test_evidence_that_came_after_all_moves_a_release_that_holds(verb: Verb) -> None:
    history = History()
    held = history.do(Verb.HOLD)
    assert (held.phase, held.weight, held.period, held.since) == (Phase.HOLDING, 1_000, 1, 11.0)
    assert history.do(verb).phase is {
        Verb.ADVANCE: Phase.RAMPING, Verb.AWAIT: Phase.AWAITING_APPROVAL,
        Verb.PROMOTE: Phase.PROMOTED,
    }[verb]  # fmt: skip


def test_holding_for_another_reason_goes_on_holding() -> None:
    history = History()
    history.do(Verb.HOLD)
    again = history.do(Verb.HOLD, why="too old", stopped="age")
    assert (again.since, again.why, again.stopped) == (11.0, "too old", "age")


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_precaution_takes_everybody_off_without_blame(phase: Phase) -> None:
    history = History()
    history.do(Verb.ADVANCE)
    off = history.placed(phase).do(Verb.PRECAUTION)
    assert (off.phase, off.weight, off.step) == (Phase.PAUSED, 0, -1)
    assert (off.period, off.epoch, off.since) == (3, 3, history.now), "pins hold nobody there"
    assert "0% already" in history.refused(Verb.PRECAUTION)
    back = history.do(Verb.RESUME)
    assert (back.step, back.weight, back.run) == (0, 1_000, 1)


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_a_baseline_opens_a_period_and_touches_nothing_else(phase: Phase) -> None:
    history = History().placed(phase)
    before = history.entry
    after = history.do(Verb.BASELINE, starts=STARTS)
    assert after.baseline == Baseline(STARTS, since=2)
    assert after.periods == (Period(1, 1_000, 10.0), Period(2, 1_000, 11.0))
    assert after.stay == after.periods, "the bake does not begin anew"
    assert replace(after, baseline=None, period=1, periods=before.periods) == before
    assert "it has a baseline" in history.refused(Verb.BASELINE, starts=STARTS)
    assert "no latencies" in History().refused(Verb.BASELINE)


def test_a_cap_opens_a_period_once_and_touches_nothing_else() -> None:
    means = (Guard.mean("revenue", margin="5%"), Guard.mean("items", cap=9.0), Guard.mean("visits"))
    history = History(replace(PLAN, guards=means))
    before = history.entry
    assert before.uncapped == means[:1]
    after = history.do(Verb.BASELINE, cap=("revenue", 180.0))
    assert after.caps == (Cap("revenue", 180.0, since=2),)
    assert after.periods == (*before.periods, Period(2, before.weight, 11.0))
    assert replace(after, caps=(), period=1, periods=before.periods) == before
    assert [guard.cap for guard in after.guards] == [180.0, 9.0, 0.0]
    assert after.plan.guards == means
    assert after.stay == after.periods
    for name in ("revenue", "items", "visits", "other"):
        assert "no mean without a cap" in history.refused(Verb.BASELINE, cap=(name, 1.0))


def test_a_stay_begins_with_the_last_change_that_is_no_baseline() -> None:
    history = History()
    history.do(Verb.BASELINE, starts=STARTS)
    assert [one.revision for one in history.do(Verb.ADVANCE).stay] == [3]
    assert [one.revision for one in history.do(Verb.REBASE, stable="1a").stay] == [4]
    history.do(Verb.PAUSE)
    assert [one.revision for one in history.do(Verb.RESUME).stay] == [6]
    assert history.entry.since == history.now


@pytest.mark.parametrize("verb", [Verb.BASELINE, Verb.NOTE, Verb.DRILL])
def test_quiet_verbs_leave_the_clock_of_the_bake_alone(verb: Verb) -> None:
    history = History()
    before = history.entry
    after = history.do(verb, starts=STARTS, drill=DRILL, note="would advance to 5%")
    assert (after.since, after.why, after.stay[0]) == (before.since, before.why, before.stay[0])
    assert (after.phase, after.weight, after.step) == (before.phase, before.weight, before.step)


def test_a_note_is_all_that_observe_mode_leaves() -> None:
    history = History()
    before = history.entry
    after = history.do(Verb.NOTE, note="would advance to 5%")
    assert after == replace(before, noted="would advance to 5%")
    assert history.do(Verb.ADVANCE).noted == ""


def test_a_drill_is_kept_until_it_settles_and_the_evidence_starts_from_zero() -> None:
    history = History()
    history.do(Verb.BASELINE, starts=STARTS)
    drilled = history.do(Verb.DRILL, drill=DRILL)
    assert (drilled.drill, drilled.period) == (DRILL, 2)
    settled = history.do(Verb.SETTLE)
    assert (settled.phase, settled.weight, settled.step) == (Phase.PAUSED, 1_000, 0)
    assert (settled.drill, settled.run, settled.period, settled.epoch) == (None, 4, 4, 1)
    assert settled.periods == (Period(4, 1_000, history.now),)
    assert (settled.begun, settled.since) == (history.now, history.now)
    assert settled.baseline == Baseline(STARTS, since=2), "a drill never reached stable"
    assert "there is no drill" in history.refused(Verb.SETTLE)


@pytest.mark.parametrize("verb", [Verb.ADVANCE, Verb.PROMOTE])
def test_nobody_more_gets_a_canary_that_is_drilled(verb: Verb) -> None:
    history = History()
    history.do(Verb.DRILL, drill=DRILL)
    assert "a drill is under way" in history.refused(verb)
    assert "a drill is under way" in history.refused(Verb.DRILL, drill=DRILL)
    assert history.do(Verb.ROLLBACK).drill == DRILL, "what it was rolled back in"
    awaiting = History().awaiting()
    awaiting.do(Verb.DRILL, drill=DRILL)
    assert "a drill is under way" in awaiting.refused(Verb.APPROVE)


@pytest.mark.parametrize("drill", [
    None, replace(DRILL, share=0), replace(DRILL, seconds=LONGEST + 1), replace(DRILL, seconds=0),
])  # fmt: skip
def test_a_drill_is_bounded_in_share_and_time(drill: Drill | None) -> None:
    assert "no share and time" in History().refused(Verb.DRILL, drill=drill)


def test_a_drill_of_nobody_proves_nothing() -> None:
    history = History()
    history.do(Verb.WEIGHT, weight=0)
    assert "nobody is drawn at 0%" in history.refused(Verb.DRILL, drill=DRILL)
    history.do(Verb.ROLLBACK)
    assert "does not fit" in history.refused(Verb.DRILL, drill=DRILL)


def test_resume_skips_an_approval_only_when_told_to() -> None:
    for weight in (5_001, 25_000, 25_001):
        history = History()
        history.do(Verb.WEIGHT, weight=weight)
        assert "nobody has approved 25%" in history.refused(Verb.RESUME)
        assert history.do(Verb.RESUME, skip_approval=True).weight >= weight


def test_resume_asks_for_no_approval_that_was_given() -> None:
    history = History().awaiting()
    history.do(Verb.APPROVE)
    history.do(Verb.WEIGHT, weight=6_000)
    assert history.do(Verb.RESUME).step == 2
    history.do(Verb.WEIGHT, weight=1_000)
    history.do(Verb.RESUME)
    history.do(Verb.ADVANCE)
    assert "nobody has approved" in history.refused(Verb.ADVANCE), "the ramp asks each time"


def test_resume_goes_past_a_limit_for_good() -> None:
    history = History()
    history.do(Verb.HOLD, stopped="visitors")
    resumed = history.do(Verb.RESUME)
    assert (resumed.stopped, resumed.waived, resumed.run) == ("", ("visitors",), 1)
    history.do(Verb.HOLD, stopped="age")
    history.do(Verb.PAUSE)
    assert history.do(Verb.RESUME).waived == ("age", "visitors")


PROOF = "errors at most 1 point worse"


def proven() -> History:
    history = History(replace(PLAN, steps=(1_000, FULL), course=Course(
        bakes=(600,) * 2, samples=(50,) * 2, approvals=(False,) * 2)))  # fmt: skip
    history.do(Verb.ADVANCE, proven=PROOF)
    return history


def test_what_was_proven_when_everybody_got_it_stays_so() -> None:
    history = proven()
    for verb in (Verb.NOTE, Verb.HOLD, Verb.RESUME, Verb.PROMOTE):
        assert history.do(verb).proven == PROOF
    gated = History().awaiting()
    gated.do(Verb.APPROVE)
    gated.do(Verb.ADVANCE, proven=PROOF)
    assert gated.entry.weight == FULL
    asked = History()
    asked.do(Verb.ADVANCE)
    assert asked.do(Verb.AWAIT, proven=PROOF).proven == PROOF
    assert asked.do(Verb.APPROVE).proven == PROOF
    assert asked.do(Verb.ADVANCE).proven == "", "each raise has its own"


@pytest.mark.parametrize(("verb", "arguments"), [
    (Verb.WEIGHT, {"weight": FULL}), (Verb.REBASE, {"stable": "1a"}),
])  # fmt: skip
def test_what_a_person_changes_has_to_be_proven_anew(verb: Verb, arguments: dict[str, Any]) -> None:
    assert proven().do(verb, **arguments).proven == ""


def test_evidence_from_zero_proves_nothing() -> None:
    history = proven()
    history.do(Verb.PAUSE, stopped=BREACH)
    assert history.do(Verb.RESUME).proven == ""
    history = proven()
    history.do(Verb.ROLLBACK)
    assert history.do(Verb.START, plan=PLAN, acknowledge=True).proven == ""


def test_resume_after_a_breach_starts_the_evidence_from_zero() -> None:
    history = History()
    history.do(Verb.PAUSE, stopped=BREACH)
    resumed = history.do(Verb.RESUME)
    assert (resumed.stopped, resumed.run, resumed.begun) == ("", 3, history.now)
    assert resumed.periods == (Period(3, 1_000, history.now),)


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.SESSION, Policy.KEEP])
def test_evidence_from_zero_keeps_nobody_under_keep(policy: Policy) -> None:
    """Who is kept was not thrown in the new run: stable alone would count there."""
    history = History(replace(PLAN, policy=policy))
    history.do(Verb.PAUSE, stopped=BREACH)
    resumed = history.do(Verb.RESUME)
    assert resumed.epoch == (resumed.run if policy is Policy.KEEP else 1)
    history.do(Verb.DRILL, drill=DRILL)
    settled = history.do(Verb.SETTLE)
    assert settled.epoch == (settled.run if policy is Policy.KEEP else 1)
