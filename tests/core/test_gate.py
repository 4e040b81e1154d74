"""What a webhook gate is asked, what its answers mean, and what the controller makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core import gate
from canary_middleware.core.codec import decode, encode, printable
from canary_middleware.core.command import Command
from canary_middleware.core.controller import Move, Situation, asks, decide
from canary_middleware.core.gate import AGREED, GATE, Answer, question, waiver
from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import Document, Entry, Phase, Plan, RolloutState, Verb
from canary_middleware.core.transitions import apply, strike
from canary_middleware.core.validate import rollout_problems
from canary_middleware.core.weight import FULL
from canary_middleware.errors import StoreCorruptError, VerbRefusedError
from canary_middleware.overview.scene import bake
from tests.core.test_controller import PLAN, PROVEN, WORSE, at, course, entry

URL = "https://gate.example.com/ask"
GATED = course(gate=URL)
FROZEN = Answer(False, "change freeze")
SILENT = Answer(None, "no answer within 10 s")


def gated(step: int = 0, plan: Plan = GATED, **changes: Any) -> Entry:
    return entry(step, plan=plan, **changes)


def held(answer: Answer = FROZEN) -> Entry:
    """After the controller heard that answer."""
    return after(gated(), moved(at(gated(), gate=answer)))


def moved(situation: Situation) -> Move:
    found = decide(situation)
    assert found is not None
    return found


def after(before: Entry, *commands: Move | Command, now: float = 900.0) -> Entry:
    for one in commands:
        command = one if isinstance(one, Command) else one.command("checkout", "1.5.0")
        state = RolloutState("1.5.0", {"1.5.0": before})
        document = apply(Document("ab", 40, rollouts={"checkout": state}), command, now)
        found = document.entry("checkout", "1.5.0")
        assert found is not None
        before = found
    return before


# --- the controller -----------------------------------------------------------------------------


def test_a_gate_is_asked_when_it_alone_is_in_the_way() -> None:
    assert asks(at(gated()))
    assert decide(at(gated())) is None, "nothing is known yet"
    assert not asks(at(gated(), elapsed=599.0)), "it bakes"
    assert not asks(at(gated(), sampled=49))
    assert not asks(at()), "it has none"


def test_a_yes_lets_it_go_on_and_is_told() -> None:
    found = moved(at(gated(), gate=Answer(True, "CHG-1")))
    assert found.verb is Verb.ADVANCE
    assert found.why.endswith("on to 5%; its gate gate.example.com agreed (CHG-1)")


def test_the_promotion_at_the_end_is_asked_for_too() -> None:
    last = gated(3)
    assert asks(at(last, verdict=PROVEN))
    assert decide(at(last, verdict=PROVEN)) is None
    assert moved(at(last, verdict=PROVEN, gate=AGREED)).verb is Verb.PROMOTE


@pytest.mark.parametrize(("answer", "words"), [
    (FROZEN, "held by its gate gate.example.com: change freeze; asked again until it agrees"),
    (Answer(False), "held by its gate gate.example.com said no; asked again until it agrees"),
    (SILENT, "held, as its gate gate.example.com has not answered: no answer within 10 s;"),
])  # fmt: skip
def test_without_a_yes_it_is_held_and_says_why(answer: Answer, words: str) -> None:
    found = moved(at(gated(), gate=answer))
    assert (found.verb, found.stopped) == (Verb.HOLD, GATE)
    assert words in found.why
    assert "`canary resume` goes past it" in found.why


def test_what_is_said_again_is_not_written_again() -> None:
    stopped = held(Answer(False, "freeze, 40 min left"))
    assert (stopped.phase, stopped.stopped) == (Phase.HOLDING, GATE)
    assert decide(at(stopped, gate=Answer(False, "freeze, 39 min left"))) is None
    assert decide(at(stopped)) is None, "a new leader has not asked yet"
    again = moved(at(stopped, gate=SILENT))
    assert after(stopped, again).since == stopped.since


def test_the_longest_words_are_kept_whole_and_written_once() -> None:
    """A reason of history has 500 characters: what is cut there would differ for ever."""
    url = f"https://{'a' * 240}.example.com/"
    refused = gate.read(200, json.dumps({"allow": False, "reason": "x" * 999}).encode())
    plan = course(gate=url)
    found = moved(at(gated(plan=plan), gate=refused))
    assert printable(found.why) == found.why
    stopped = after(gated(plan=plan), found)
    assert decide(at(stopped, gate=refused)) is None


def test_a_yes_after_a_no_goes_on() -> None:
    found = moved(at(held(), gate=AGREED))
    assert found.verb is Verb.ADVANCE
    gone = after(held(), found)
    assert (gone.step, gone.stopped, gone.waived) == (1, "", ())


def test_evidence_that_is_lost_again_is_told_in_place_of_the_gate() -> None:
    found = moved(at(held(), fresh=False, elapsed=700.0))
    assert (found.verb, found.stopped) == (Verb.HOLD, "")
    assert after(held(), found).stopped == ""


@pytest.mark.parametrize("answer", [None, FROZEN, SILENT])
def test_what_protects_people_asks_nobody(answer: Answer | None) -> None:
    for before in (gated(), held()):
        assert moved(at(before, gate=answer, verdict=WORSE)).verb is Verb.ROLLBACK
        assert moved(at(before, gate=answer, ceiling="5xx")).verb is Verb.PRECAUTION
    rash = gated(plan=course(gate=URL, on_inconclusive="rollback"))
    late = at(rash, gate=answer, elapsed=1e6, sampled=3)
    assert moved(late).verb is Verb.ROLLBACK


def test_an_approval_is_a_persons_and_the_gate_is_not_asked() -> None:
    before = gated(1)
    assert not asks(at(before))
    assert moved(at(before)).verb is Verb.AWAIT


def test_observe_mode_asks_nobody() -> None:
    before = gated(plan=course(gate=URL, observe=True))
    assert not asks(at(before))
    assert moved(at(before)).verb is Verb.NOTE


# --- people -------------------------------------------------------------------------------------


def test_resume_goes_past_the_gate_of_this_step_at_once() -> None:
    passed = after(held(), Command(Verb.RESUME, "checkout"))
    assert (passed.phase, passed.step, passed.stopped) == (Phase.RAMPING, 0, "")
    assert passed.waived == (waiver(0),)
    assert passed.stay == held().stay, "it has baked, and need not do so again"
    found = moved(at(passed))
    assert found.verb is Verb.ADVANCE
    assert "past its gate gate.example.com as a person said" in found.why
    assert asks(at(replace(passed, step=2, weight=25_000), verdict=PROVEN)), "the next is asked for"


def test_only_a_resume_of_what_the_gate_holds_goes_past_it() -> None:
    paused = after(held(), Command(Verb.PAUSE, "checkout"))
    assert paused.stopped == ""
    assert after(paused, Command(Verb.RESUME, "checkout")).waived == ()
    other = after(gated(), Move(Verb.HOLD, "little evidence", "hold", step=0))
    assert after(other, Command(Verb.RESUME, "checkout")).waived == ()


def test_another_weight_brings_the_gate_back() -> None:
    passed = after(held(), Command(Verb.RESUME, "checkout"))
    moved_by_hand = after(passed, Command(Verb.WEIGHT, "checkout", weight=500))
    assert after(moved_by_hand, Command(Verb.RESUME, "checkout")).waived == ()


def test_people_may_promote_and_roll_back_at_any_time() -> None:
    assert after(held(), Command(Verb.PROMOTE, "checkout")).phase is Phase.PROMOTED
    assert after(held(), Command(Verb.ROLLBACK, "checkout")).phase is Phase.ROLLED_BACK


def test_a_revived_release_is_resumed_without_going_past() -> None:
    state = RolloutState("1.5.0", {"1.5.0": held()})
    document = Document("ab", 40, rollouts={"checkout": state})
    killed = strike(document, "checkout", by="me", why="", now=1.0)
    revived = apply(killed, Command(Verb.REVIVE, "checkout"), 2.0)
    found = apply(revived, Command(Verb.RESUME, "checkout"), 3.0).entry("checkout", "1.5.0")
    assert found is not None
    assert (found.waived, found.stopped) == ((), "")


def test_a_stale_decision_is_refused() -> None:
    found = moved(at(gated(), gate=FROZEN))
    with pytest.raises(VerbRefusedError):
        after(gated(1), found)


# --- question and answer ------------------------------------------------------------------------


def test_a_question_is_of_one_step_of_one_run() -> None:
    asked = question("checkout", gated())
    assert (asked.before, asked.after, asked.promotes) == (1_000, 5_000, False)
    assert question("checkout", gated()).id == asked.id
    ids = {
        question(name, found).id
        for name in ("checkout", "search")
        for found in (gated(), gated(1), gated(run=9), gated(period=9, periods=()))
    }
    assert len(ids) == 8
    last = question("checkout", gated(3))
    assert (last.after, last.promotes) == (FULL, True)


def test_what_is_sent_can_be_read() -> None:
    sent = json.loads(gate.body(question("checkout", gated()), "shop", "1.4.2", "because", {}))
    assert sent.pop("question").startswith("gate_")
    assert sent == {
        "type": "canary.gate", "namespace": "shop", "rollout": "checkout", "release": "1.5.0",
        "stable": "1.4.2", "from": "1%", "to": "5%", "promote": False, "why": "because",
        "evidence": {},
    }  # fmt: skip


@pytest.mark.parametrize(("status", "data", "answer"), [
    (200, b'{"allow": true}', Answer(True)),
    (204, b'{"allow": true, "reason": "ok"}', Answer(True, "ok")),
    (200, b'{"allow": false, "reason": "change\\nfreeze \\u001b[31m"}',
     Answer(False, "change freeze [31m")),
    (200, b'{"allow": false, "reason": 7}', Answer(False)),
    (200, b'{"allow": 1}', Answer(None, 'its answer has no "allow": true or false')),
    (200, b'{"allow": "true"}', Answer(None, 'its answer has no "allow": true or false')),
    (200, b"true", Answer(None, 'its answer has no "allow": true or false')),
    (302, b'{"allow": true}', Answer(None, "it answered 302")),
    (500, b'{"allow": true}', Answer(None, "it answered 500")),
])  # fmt: skip
def test_only_a_plain_yes_is_one(status: int, data: bytes, answer: Answer) -> None:
    assert gate.read(status, data) == answer


@pytest.mark.parametrize(
    "data",
    [
        b"", b"yes", b"\xff", b"[" * 9_999, b'{"allow":true}' + b" " * 17_000,
        b'{"allow": false, "allow": true}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_no_answer(data: bytes) -> None:
    found = gate.read(200, data)
    assert found.allowed is None
    assert found.reason.startswith("its answer ")
    assert len(found.reason) <= gate.REASON


def test_it_is_asked_ever_more_rarely() -> None:
    pauses = [gate.pause(asked) for asked in range(10)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2.0, 60.0)


# --- the plan -----------------------------------------------------------------------------------

ROLLOUT = Rollout("checkout", stable="1.4.2", canary="1.5.0", owner="me", ramp=Ramp("1%", "5%"))


def test_a_plan_without_a_gate_is_what_it_was_before_there_were_gates() -> None:
    plan = Plan.from_rollout(ROLLOUT)
    assert plan.digest == "56a1d9e4230cbf95"
    assert "gate" not in plan.plain()["course"]


def test_a_gate_is_in_the_plan_and_comes_back() -> None:
    document = Document("ab", 1, rollouts={"checkout": RolloutState("1.5.0", {"1.5.0": gated()})})
    assert decode(encode(document)) == document
    assert GATED.digest != PLAN.digest


def test_a_gate_that_is_no_address_is_refused_wherever_it_comes_from() -> None:
    ramp = Ramp("1%", "5%", bake="10m", gate="ftp://x")
    problems = rollout_problems([replace(ROLLOUT, ramp=ramp)])
    assert "rollout 'checkout', ramp, gate" in {one.place for one in problems}
    by_hand = rollout_problems([replace(ROLLOUT, ramp=Ramp("1%", gate=URL))])
    assert ["has no meaning" in one.message for one in by_hand] == [True]
    entries = {"1.5.0": gated(plan=course(gate="file:///x"))}
    spoiled = Document("ab", 1, rollouts={"checkout": RolloutState("1.5.0", entries)})
    with pytest.raises(StoreCorruptError, match="neither http nor https"):
        decode(encode(spoiled))


# --- what people see ----------------------------------------------------------------------------


def test_what_comes_next_says_whose_leave_it_takes() -> None:
    def onward(step: int, plan: Plan = GATED) -> str:
        found = bake(gated(step, plan), 10.0)
        assert found is not None
        return found.onward

    assert onward(0) == "then 5% if gate.example.com agrees"
    assert onward(1) == "then 25% with an approval"
    assert onward(0, PLAN) == "then 5%"
    assert onward(3) == "then promotion if gate.example.com agrees"
