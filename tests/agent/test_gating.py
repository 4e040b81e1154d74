"""A gate is asked beside everything else, and nothing but a plain yes lets a release go on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.agent.gating import CHANGES, FORGET, UNSIGNED, Gating
from canary_middleware.agent.posting import Poster, PostError, Reply
from canary_middleware.core.gate import GATE, GOOD_FOR, LARGEST, Answer
from canary_middleware.core.model import Cohort
from canary_middleware.core.state import EVERYTHING, Phase
from canary_middleware.stores import MemoryStore
from tests.agent.site import BAKE, NAME, PLAN, Time, Worker, moves, run, start
from tests.core.test_gate import gated
from tests.support.receiver import Receiver
from tests.support.servers import wait_until

KEY = b"k" * 32
URL = "https://gate.example.com/ask"
YES, NO = b'{"allow": true}', b'{"allow": false, "reason": "change freeze"}'


@dataclass
class Gate:
    """The other end, and the threads that ask it, which run when a test lets them."""

    body: bytes = NO
    status: int = 200
    fails: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)
    threads: bool = True

    def begin(self, ask: Callable[[], None]) -> None:
        if not self.threads:
            raise RuntimeError("can't start new thread")
        self.waiting.append(ask)

    def answer(self) -> None:
        while self.waiting:
            self.waiting.pop()()

    def post(self, url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        assert read == LARGEST + 1
        assert headers["webhook-signature"].startswith("v1,")
        assert url == URL
        self.asked.append((headers["webhook-id"], json.loads(body)))
        if self.fails:
            raise PostError(self.fails)
        return Reply(self.status, self.body)

    def gating(self, clock: Time, key: bytes | None = KEY) -> Gating:
        return Gating(
            "shop", key, self.post, clock=lambda: clock.monotonic, wall=lambda: clock.wall,
            begin=self.begin,
        )  # fmt: skip


# --- questions ----------------------------------------------------------------------------------


class Asker:
    def __init__(self, key: bytes | None = KEY) -> None:
        self.gate, self.time = Gate(), Time()
        self.gating = self.gate.gating(self.time, key)

    def __call__(self, step: int = 0, **changes: Any) -> Answer | None:
        return self.gating.answer("checkout", gated(step, **changes), "because", dict)


@pytest.fixture
def ask() -> Asker:
    return Asker()


def test_who_asks_does_not_wait(ask: Asker) -> None:
    assert ask() is None
    assert ask() is None
    assert len(ask.gate.waiting) == 1, "one question at a time"
    ask.gate.answer()
    assert ask() == Answer(False, "change freeze")
    assert ask.gate.asked[0][1]["why"] == "because"


def test_a_no_is_asked_again_later_and_stays_a_no_meanwhile(ask: Asker) -> None:
    ask()
    ask.gate.answer()
    for _ in range(60):
        ask.time.go(1)
        assert ask() == Answer(False, "change freeze")
        ask.gate.answer()
    assert len(ask.gate.asked) == 5, "after 2, 5, 10, 20 and 40 seconds, or so"
    ids = [one[0] for one in ask.gate.asked]
    assert len(set(ids)) == 5
    assert len({one[1]["question"] for one in ask.gate.asked}) == 1


def test_a_gate_that_never_gives_the_same_reason_twice_is_told_steadily(ask: Asker) -> None:
    told: list[str] = []
    for minute in range(60):
        reason = f"request {'x' * minute}-{minute}"
        ask.gate.body = json.dumps({"allow": False, "reason": reason}).encode()
        ask()
        ask.gate.answer()
        found = ask()
        assert found is not None
        if not told or told[-1] != found.reason:
            told.append(found.reason)
        if minute <= CHANGES:
            assert found.reason == reason, "what changes now and then is told at once"
        ask.time.go(60)
    assert len(told) == 1 + CHANGES + 5, "then one in ten minutes"
    ask.gate.body = YES
    ask()
    ask.gate.answer()
    assert ask() == Answer(True), "and a yes at once"


def test_a_yes_is_good_for_this_step_and_for_a_minute(ask: Asker) -> None:
    ask.gate.body = YES
    ask()
    ask.gate.answer()
    assert ask() == Answer(True)
    assert ask(1) is None, "another step"
    assert ask(run=7) is None, "another run"
    ask.time.go(GOOD_FOR)
    ask.gate.waiting.clear()
    assert ask() is None
    assert len(ask.gate.waiting) == 1


@pytest.mark.parametrize(("changes", "why"), [
    ({"fails": "no answer within 10 s"}, "no answer within 10 s"),
    ({"status": 500, "body": YES}, "it answered 500"),
    ({"body": b"yes"}, "its answer is not JSON: Expecting value: line 1 column 1 (char 0)"),
])  # fmt: skip
def test_anything_else_is_no_answer(ask: Asker, changes: dict[str, Any], why: str) -> None:
    ask.gate = replace(ask.gate, **changes)
    ask.gating = ask.gate.gating(ask.time)
    ask()
    ask.gate.answer()
    assert ask() == Answer(None, why)


def test_without_a_secret_nobody_is_asked() -> None:
    ask = Asker(key=None)
    assert ask() == Answer(None, UNSIGNED)
    assert ask.gate.waiting == []


def test_without_a_thread_there_is_no_answer_and_no_error(ask: Asker) -> None:
    ask.gate.threads = False
    ask()
    assert ask() == Answer(None, "there is no thread to ask it with")
    ask.gate.threads = True
    ask.time.go(10)
    ask()
    ask.gate.answer()
    assert ask() == Answer(False, "change freeze")


def test_what_nobody_asks_any_more_is_forgotten(ask: Asker) -> None:
    ask()
    ask.gate.answer()
    ask.time.go(FORGET + 1)
    ask(1)
    assert ask() is None


def test_a_real_gate_that_hangs_is_waited_for_beside_the_one_who_asks() -> None:
    with Receiver("hang") as other:
        gating = Gating("shop", KEY, Poster(60.0))
        course = replace(gated().plan.course, gate=other.url())
        found = gated(plan=replace(gated().plan, course=course))
        before = time.monotonic()
        assert gating.answer("checkout", found, "because", dict) is None
        wait_until(lambda: bool(other.messages), what="it is asked")
        assert gating.answer("checkout", found, "because", dict) is None
        assert time.monotonic() - before < 60.0
        other.over.set()  # it hangs up
        expected = Answer(None, "no HTTP answer (RemoteDisconnected)")
        wait_until(lambda: gating.answer("checkout", found, "", dict) == expected, what="it ends")


# --- the leader ---------------------------------------------------------------------------------

GATED = replace(PLAN, course=replace(PLAN.course, gate=URL))


class Site:
    """A leader, another process, and a gate."""

    def __init__(self) -> None:
        self.time, self.gate = Time(), Gate()
        self.store = MemoryStore(lambda: self.time.wall)
        start(self.store, self.time, GATED)
        self.first, self.second = (
            Worker(name, self.store, self.time, chance=1.0, gates=self.gate.gating(self.time))
            for name in "ab"
        )

    def go(self, seconds: float, *, answers: bool = True) -> None:
        """Turns of both, and the gate answers at once, or never."""
        until = self.time.monotonic + seconds
        while self.time.monotonic < until:
            run(self.time, 0.25, self.first, self.second)
            if answers:
                self.gate.answer()

    def baked(self, *, answers: bool = True) -> None:
        """At the end of the bake, with as many visitors as it takes."""
        self.go(0.5)
        self.first.visitors(Cohort.CANARY, 10)
        self.first.visitors(Cohort.STABLE, 190)
        self.go(BAKE, answers=answers)

    @property
    def why(self) -> str:
        return verbs.history(self.store, NAME, 1)[0].why


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_leader_alone_asks_and_a_yes_moves_it_on(site: Site) -> None:
    site.gate.body = b'{"allow": true, "reason": "CHG-7"}'
    site.baked()
    site.go(3)
    assert moves(site.store) == [("advance", "a")]
    assert site.why.endswith("on to 50%; its gate gate.example.com agreed (CHG-7)")
    ((_, asked),) = site.gate.asked
    assert (asked["from"], asked["to"], asked["promote"]) == ("5%", "50%", False)
    assert asked["evidence"]["visitors"] == [10, 190]
    assert asked["why"].endswith("no guard stands against it; on to 50%")


def test_a_no_is_in_history_once_and_a_yes_ends_it(site: Site) -> None:
    site.baked()
    site.go(300)
    assert moves(site.store) == [("hold", "a")]
    assert site.first.entry.phase is Phase.HOLDING
    assert site.why.startswith("held by its gate gate.example.com: change freeze")
    assert 5 < len(site.gate.asked) < 15
    site.gate.body = YES
    site.go(61)
    assert moves(site.store) == [("hold", "a"), ("advance", "a")]


def test_a_gate_that_never_answers_holds_up_nothing_that_protects(site: Site) -> None:
    site.baked(answers=False)
    site.go(5, answers=False)
    assert moves(site.store) == []
    assert len(site.gate.waiting) == 1
    site.first.failing(Cohort.CANARY, *range(10))
    site.go(2, answers=False)
    assert [action for action, _ in moves(site.store)] == ["rollback"]


def test_a_new_leader_asks_anew_and_writes_nothing_that_is_written(site: Site) -> None:
    site.baked()
    site.go(5)
    asked = len(site.gate.asked)
    site.first.deaf = True
    until = site.time.monotonic + 20
    while site.time.monotonic < until:
        run(site.time, 0.25, site.second)
        site.gate.answer()
    assert len(site.gate.asked) > asked
    assert moves(site.store) == [("hold", "a")]


def test_a_person_goes_past_it_and_history_says_so(site: Site) -> None:
    site.baked()
    site.go(5)
    verbs.resume(site.store, NAME, by="me", why="the freeze is over, the form is not")
    line = verbs.history(site.store, NAME, 1)[0]
    assert line.old == "2 holding 5%, held by its gate"
    asked = len(site.gate.asked)
    site.go(2)
    assert moves(site.store) == [("hold", "a"), ("resume", "me"), ("advance", "a")]
    assert site.why.endswith("past its gate gate.example.com as a person said")
    assert len(site.gate.asked) == asked


def test_while_it_is_killed_nobody_is_asked(site: Site) -> None:
    site.go(1)
    verbs.kill(site.store, EVERYTHING, by="me")
    site.go(BAKE + 10)
    assert site.gate.asked == []
    assert site.first.entry.stopped != GATE
