"""What the controller does in each situation, in the order in which its rules are asked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.controller import AFTERMATH, GRACE, Move, Situation, decide
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.effects import BREACH
from canary_middleware.core.gauge import gate_of
from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.ramp import Course
from canary_middleware.core.ratio import MISMATCH
from canary_middleware.core.state import ACTIVE, Entry, Period, Phase, Plan, Verb
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.core.weight import FULL

BAKE, PATIENCE = 600, 86_400
COURSE = Course(
    bakes=(BAKE,) * 4, samples=(50,) * 4, approvals=(False, False, True, False), patience=PATIENCE
)
PLAN = Plan(
    "1.4.2", "1.5.0", steps=(1_000, 5_000, 25_000, FULL), guards=(Guard.errors(),), course=COURSE
)
NOTHING = Verdict(Decision.INCONCLUSIVE, False, (), (60, 6_000), missing=("errors: 40 more",))
PROVEN = replace(NOTHING, decision=Decision.PROMOTE, proven=True, missing=())
WORSE = Verdict(
    Decision.ROLLBACK, False,
    (Finding("errors", Action.BREACH, "failures", "visitors", Share(7, 61), Share(9, 1_204),
             log_e=6.0, threshold=4.6, breach=True),),
    (61, 1_204),
)  # fmt: skip


def entry(step: int = 0, phase: Phase = Phase.RAMPING, plan: Plan = PLAN, **changes: Any) -> Entry:
    weight = plan.steps[step]
    plain = Entry(
        "1.5.0", "1.4.2", phase, weight, step, 1, 1, 0.0, "because", plan,
        run=1, periods=(Period(1, weight, 0.0),), reached=step,
    )  # fmt: skip
    return replace(plain, **changes)


def at(found: Entry | None = None, **changes: Any) -> Situation:
    """All that the first step needs, at the end of its bake."""
    plain = Situation(
        found or entry(), NOTHING, now=700.0, elapsed=float(BAKE), sampled=50, visitors=50,
        requests=120, idle=1.0,
    )  # fmt: skip
    return replace(plain, **changes)


def course(**changes: Any) -> Plan:
    return replace(PLAN, course=replace(COURSE, **changes))


def move(situation: Situation) -> Move:
    found = decide(situation)
    assert found is not None
    return found


def test_a_step_is_left_after_bake_and_samples() -> None:
    found = move(at())
    assert (found.verb, found.step) == (Verb.ADVANCE, 0)
    assert found.why == (
        "1% held for 10 min, 50 canary visitors measured, no guard stands against it; on to 5%"
    )
    command = found.command("checkout", "1.5.0")
    assert (command.verb, command.step, command.release) == (Verb.ADVANCE, 0, "1.5.0")


@pytest.mark.parametrize("lacking", [
    {"elapsed": BAKE - 0.1}, {"sampled": 49}, {"fresh": False}, {"verdict": None}, {"killed": True},
])  # fmt: skip
def test_nothing_moves_while_one_of_them_is_missing(lacking: dict[str, Any]) -> None:
    assert decide(at(**lacking)) is None


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (Phase.RAMPING, Phase.HOLDING)])
def test_other_phases_are_left_to_people(phase: Phase) -> None:
    assert decide(at(entry(phase=phase), verdict=PROVEN, elapsed=1e9, idle=1e9)) is None


def test_a_step_that_is_a_month_late_is_one_step() -> None:
    assert move(at(elapsed=30 * 86_400.0)).what == "advance to 5%"


def test_a_gate_awaits_a_person_however_late_it_is() -> None:
    for phase in (Phase.RAMPING, Phase.HOLDING):
        for elapsed in (BAKE, PATIENCE * 9.0):
            found = move(at(entry(1, phase), elapsed=elapsed, verdict=PROVEN))
            assert (found.verb, found.step) == (Verb.AWAIT, 1)
            assert "25% needs `canary approve`" in found.why
    assert decide(at(entry(1, Phase.AWAITING_APPROVAL), verdict=PROVEN)) is None


def test_everybody_needs_the_evidence_and_holding_names_what_is_missing() -> None:
    found = move(at(entry(2)))
    assert (found.verb, found.why) == (
        Verb.HOLD, "25% has baked, but for 100% is missing: errors: 40 more",
    )  # fmt: skip
    assert decide(at(entry(2, Phase.HOLDING))) is None, "it is said once"
    assert decide(at(entry(2, Phase.HOLDING), elapsed=PATIENCE * 9.0)) is None
    for phase in (Phase.RAMPING, Phase.HOLDING):
        assert move(at(entry(2, phase), verdict=PROVEN)).what == "advance to 100%"


def test_a_ramp_that_ends_below_everybody_is_promoted_by_the_same_evidence() -> None:
    short = replace(PLAN, steps=(1_000, 5_000), course=replace(
        COURSE, bakes=(BAKE,) * 2, samples=(50,) * 2, approvals=(False,) * 2))  # fmt: skip
    assert move(at(entry(1, plan=short))).verb is Verb.HOLD
    assert move(at(entry(1, plan=short), verdict=PROVEN)).verb is Verb.PROMOTE


def test_everybody_is_promoted_after_a_last_bake() -> None:
    last = entry(3, begun=100.0)
    assert decide(at(last, verdict=PROVEN, elapsed=BAKE - 1.0)) is None
    found = move(at(last, verdict=PROVEN, sampled=0, idle=math.inf))
    assert (found.verb, found.step) == (Verb.PROMOTE, 3)
    assert found.why.startswith("promoted after 60 canary visitors: proven up to the margins")
    found = move(at(last, sampled=0))
    assert found.why.startswith("promoted: no regression found in 60 canary visitors over 10 min")


def test_what_is_proven_is_kept_when_everybody_gets_it() -> None:
    proof = replace(WORSE.findings[0], breach=False, log_e=0.0, proven=True)
    proven = replace(PROVEN, findings=(proof,))
    found = move(at(entry(2), verdict=proven))
    assert found.command("checkout", "1.5.0").proven == "errors at most 1 point worse"
    gated = course(approvals=(False, False, True, True))
    found = move(at(entry(2, plan=gated), verdict=proven))
    assert (found.verb, found.proven) == (Verb.AWAIT, "errors at most 1 point worse")
    assert not move(at(entry(0), verdict=proven)).proven
    inconclusive = at(entry(2, plan=course(on_inconclusive="promote")), elapsed=2.0 * PATIENCE)
    assert not move(inconclusive).proven
    everybody = entry(3, proven="errors at most 1 point worse")
    assert move(at(everybody)).why == (
        "promoted: proven up to the margins before everybody got it: errors at most 1 point worse"
    )


def test_without_a_margin_time_and_samples_are_enough_and_are_called_so() -> None:
    bare = replace(PLAN, guards=(Guard.errors(margin=None),))
    assert move(at(entry(2, plan=bare))).what == "advance to 100%"
    assert "no regression found" in move(at(entry(3, plan=bare))).why


def test_a_skewed_draw_blocks_only_what_leads_to_everybody() -> None:
    skewed = replace(PROVEN, mismatch=MISMATCH)
    assert move(at(verdict=skewed)).verb is Verb.ADVANCE
    for late in (BAKE, PATIENCE * 9.0):
        for plan in (PLAN, course(on_inconclusive="promote"), course(on_inconclusive="rollback")):
            for step in (2, 3):
                found = move(at(entry(step, plan=plan), verdict=skewed, elapsed=late))
                assert found.verb is Verb.HOLD
                assert "sample-ratio" in found.why
    assert move(at(verdict=replace(WORSE, mismatch=MISMATCH))).verb is Verb.ROLLBACK


# --- what protects people -----------------------------------------------------------------------


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_a_breach_rolls_back_in_every_open_phase_whatever_else_is_so(phase: Phase) -> None:
    for plan in (PLAN, replace(PLAN, course=Course())):
        found = move(at(entry(1, phase, plan), verdict=WORSE, fresh=False, elapsed=0.0))
        assert (found.verb, found.step) == (Verb.ROLLBACK, None)
        assert found.why == (
            "rolled back after 61 canary visitors: "
            "7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"
        )


def test_a_breach_may_pause_instead() -> None:
    gentle = course(on_breach="pause")
    for phase in sorted(ACTIVE - {Phase.PAUSED}, key=str):
        found = move(at(entry(phase=phase, plan=gentle), verdict=WORSE))
        assert (found.verb, found.stopped) == (Verb.PAUSE, BREACH)
        assert found.why.startswith("paused after 61")
    assert decide(at(entry(phase=Phase.PAUSED, plan=gentle), verdict=WORSE)) is None


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_precaution_comes_first_and_blames_nobody(phase: Phase) -> None:
    broken = at(entry(1, phase), verdict=WORSE, ceiling="61% of all answers failed for 5 s")
    found = move(broken)
    assert found.verb is Verb.PRECAUTION
    assert found.why.startswith("61% of all answers failed for 5 s: ")
    assert "without blame" in found.why
    assert move(replace(broken, entry=entry(1, phase, weight=0))).verb is Verb.ROLLBACK
    assert decide(replace(broken, killed=True)) is None


def test_a_drill_freezes_the_ramp_and_settles_when_it_is_over() -> None:
    drill = Drill(Fault.ERROR, FULL // 10, begun=600.0, seconds=120)
    drilled = at(entry(drill=drill), verdict=PROVEN)
    assert decide(replace(drilled, elapsed=PATIENCE * 9.0)) is None
    assert decide(replace(drilled, now=720.0)) is None, "what it did last is not judged yet"
    over = move(replace(drilled, now=720.0 + gate_of(drilled.entry) + AFTERMATH))
    assert over.verb is Verb.SETTLE
    assert "(error in 10%) is over and nothing was rolled back" in over.why
    caught = move(replace(drilled, verdict=WORSE, now=720.0))
    assert caught.verb is Verb.ROLLBACK
    assert "(drill: error in 10%)" in caught.why
    watching = entry(drill=drill, plan=course(observe=True), phase=Phase.PAUSED)
    assert move(at(watching, now=800.0)).verb is Verb.SETTLE


def test_a_ramp_that_a_person_moves_is_not_moved() -> None:
    by_hand = replace(PLAN, course=Course())
    assert decide(at(entry(plan=by_hand), verdict=PROVEN, elapsed=1e9, idle=1e9)) is None


# --- patience and limits ------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "verb"), [
    ("hold", Verb.HOLD), ("rollback", Verb.ROLLBACK), ("promote", Verb.ADVANCE),
])  # fmt: skip
def test_evidence_that_does_not_come_in_time(policy: str, verb: Verb) -> None:
    plan = course(on_inconclusive=policy)
    assert move(at(entry(2, plan=plan), elapsed=BAKE + PATIENCE - 1.0)).verb is Verb.HOLD
    late = at(entry(2, plan=plan), elapsed=float(BAKE + PATIENCE))
    found = move(late)
    assert found.verb is verb
    assert "errors: 40 more" in found.why
    held = decide(replace(late, entry=entry(2, Phase.HOLDING, plan)))
    assert (held.verb if held else Verb.HOLD) is verb


@pytest.mark.parametrize(("policy", "verb"), [
    ("hold", Verb.HOLD), ("rollback", Verb.ROLLBACK), ("promote", Verb.HOLD),
])  # fmt: skip
def test_samples_that_do_not_come_in_time_never_promote(policy: str, verb: Verb) -> None:
    thin = at(entry(plan=course(on_inconclusive=policy)), sampled=3)
    assert decide(replace(thin, elapsed=BAKE + PATIENCE - 1.0)) is None
    found = move(replace(thin, elapsed=float(BAKE + PATIENCE)))
    assert found.verb is verb
    assert found.why.startswith("3 of at least 50 canary visitors were measured at 1%")


@pytest.mark.parametrize(("policy", "verb"), [("hold", Verb.HOLD), ("rollback", Verb.ROLLBACK)])
def test_silence_is_no_evidence(policy: str, verb: Verb) -> None:
    silent = at(entry(plan=course(on_no_traffic=policy)), elapsed=1e6, idle=float(PATIENCE))
    assert move(silent).verb is verb
    assert "no canary visitor was measured for 1 d" in move(silent).why
    assert decide(replace(silent, elapsed=BAKE - 1.0)) is None, "silence before the step counts not"
    if policy == "hold":
        held = replace(silent, entry=entry(phase=Phase.HOLDING))
        assert decide(held) is None
        assert move(replace(held, idle=1.0)).verb is Verb.ADVANCE, "somebody came after all"


def test_totals_that_stay_incomplete_are_said() -> None:
    blind = at(fresh=False, elapsed=BAKE + GRACE)
    assert move(blind).verb is Verb.HOLD
    assert decide(replace(blind, entry=entry(phase=Phase.HOLDING))) is None
    assert move(replace(blind, entry=entry(phase=Phase.HOLDING), fresh=True)).verb is Verb.ADVANCE


@pytest.mark.parametrize(("limit", "reached", "said"), [
    ("age", {"now": 1_000_000.0}, "it has been on its way for 11 d, max_age is 10 d"),
    ("visitors", {"visitors": 500}, "500 visitors have seen the canary, max_visitors is 500"),
    ("requests", {"requests": 9_000}, "9,000 requests went to the canary, max_requests is 9,000"),
])  # fmt: skip
def test_limits_hold_once_until_a_person_says_otherwise(
    limit: str, reached: dict[str, Any], said: str
) -> None:
    plan = course(max_age=10 * 86_400, max_visitors=500, max_requests=9_000)
    for phase in (Phase.RAMPING, Phase.HOLDING):
        found = move(at(entry(phase=phase, plan=plan), verdict=PROVEN, **reached))
        assert (found.verb, found.stopped) == (Verb.HOLD, limit)
        assert found.why == f"{said}: a person must say `canary resume`"
    held = entry(phase=Phase.HOLDING, plan=plan, stopped=limit)
    assert decide(at(held, verdict=PROVEN, **reached)) is None
    assert move(at(entry(plan=plan, waived=(limit,)), **reached)).verb is Verb.ADVANCE


# --- presets ------------------------------------------------------------------------------------


def test_blue_green_asks_a_person_and_then_only_time() -> None:
    plan = replace(PLAN, steps=(0, FULL), course=replace(
        COURSE, bakes=(BAKE,) * 2, samples=(0, 0), approvals=(False, True)))  # fmt: skip
    nobody = {"sampled": 0, "idle": math.inf}
    assert decide(at(entry(plan=plan), elapsed=1.0, **nobody)) is None
    found = move(at(entry(plan=plan), elapsed=PATIENCE * 2.0, **nobody))
    assert (found.verb, found.what) == (Verb.AWAIT, "await approval of 100%")
    assert move(at(entry(1, plan=plan), **nobody)).verb is Verb.PROMOTE


def test_nobody_to_everybody_without_a_gate_is_never_done() -> None:
    plan = replace(PLAN, steps=(0, FULL), course=replace(
        COURSE, bakes=(BAKE,) * 2, samples=(0, 0), approvals=(False, False)))  # fmt: skip
    assert move(at(entry(plan=plan), sampled=0)).verb is Verb.HOLD


def test_observe_says_once_what_it_would_do() -> None:
    watching = entry(plan=course(observe=True))
    found = move(at(watching))
    assert (found.verb, found.what) == (Verb.NOTE, "would advance to 5%")
    assert found.why.startswith("observing only, would advance to 5%: 1% held for 10 min")
    told = replace(watching, noted=found.what)
    assert decide(at(told, sampled=51, elapsed=BAKE + 9.0)) is None
    assert move(at(told, verdict=WORSE)).what == "would roll back for errors"
    assert move(at(told, ceiling="x")).what == "would go to 0% as a precaution"
