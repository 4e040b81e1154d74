"""When an open stream has to end, by a clock that the test turns, and what is counted of it."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf

import pytest

from canary_middleware.core.model import Audience, Policy, Rollout, Visitor
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.state import Document, Phase, Plan, RolloutState
from canary_middleware.core.weight import FULL
from canary_middleware.engine.streams import Stream
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT, document, entry, killed
from tests.engine.world import (
    ALL,
    BOTH,
    HALF,
    NONE,
    Hook,
    World,
    at,
    cookie_for,
    pair,
    subject_for,
    under,
)

DRAIN, GRACE = 600.0, 5.0
ROLLED_BACK = at(0, Phase.ROLLED_BACK)
PROMOTED, FINISHED = at(FULL, Phase.PROMOTED), at(FULL, Phase.FINISHED)


def opened(visit: Visit, *names: str) -> Stream:
    """A stream of a visitor who has asked for these rollouts."""
    for name in names or ("checkout",):
        visit.expose(name)
    stream = Stream(visit)
    stream.open()
    return stream


def streaming(made: World, *, canary: bool) -> Stream:
    return opened(made.visit(cookie=cookie_for(made, canary=canary)))


def left(stream: Stream) -> float:
    return stream.ends_at - stream.visit.engine.clock()


# --- when it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("move", [NONE, ROLLED_BACK])
def test_a_canary_that_is_taken_back_has_the_time_to_drain(move: Document) -> None:
    made = under(HALF)
    canary, stable = (streaming(made, canary=side) for side in (True, False))
    made.engine.adopt(move)
    assert (left(canary), left(stable)) == (DRAIN, inf)
    made.time.monotonic += DRAIN - 1
    assert not canary.over
    made.time.monotonic += 1
    assert canary.over


@pytest.mark.parametrize("move", [PROMOTED, FINISHED, ALL])
def test_a_stable_side_that_loses_has_the_same(move: Document) -> None:
    made = under(HALF)
    canary, stable = (streaming(made, canary=side) for side in (True, False))
    made.engine.adopt(move)
    assert (left(canary), left(stable)) == (inf, DRAIN)


def test_a_move_that_is_undone_cancels_the_end_and_another_one_begins_anew() -> None:
    made = under(HALF)
    stream = streaming(made, canary=True)
    made.engine.adopt(NONE)
    made.time.monotonic += 400
    made.engine.adopt(at(1))  # still not this visitor's: the time goes on
    assert left(stream) == DRAIN - 400
    made.engine.adopt(HALF)
    assert left(stream) == inf
    made.engine.adopt(NONE)
    assert left(stream) == DRAIN


def test_a_kill_cuts_the_time_to_drain_short() -> None:
    made = under(HALF)
    stream = streaming(made, canary=True)
    made.engine.adopt(NONE)
    made.time.monotonic += 100
    made.engine.adopt(killed(NONE))
    assert left(stream) == GRACE
    made.engine.adopt(replace(NONE, revision=9))
    assert left(stream) == DRAIN - 100, "the kill was lifted, the move was not"


def test_a_kill_does_not_give_more_time_than_is_left() -> None:
    made = under(HALF)
    stream = streaming(made, canary=True)
    made.engine.adopt(NONE)
    made.time.monotonic += DRAIN - 2
    made.engine.adopt(killed(NONE))
    assert left(stream) == 2


def test_a_kill_of_one_rollout_ends_streams_that_stand_on_both() -> None:
    made = under(ALL, *BOTH)
    both = opened(made.visit(), "checkout", "search")
    one = opened(made.visit(), "checkout")
    made.engine.adopt(killed(ALL, "search"))
    assert (left(both), left(one)) == (GRACE, inf)


def test_a_stream_that_opens_after_the_move_has_all_of_the_time() -> None:
    made = under(HALF)
    visit = made.visit(cookie=cookie_for(made, canary=True))
    visit.expose("checkout")
    made.engine.adopt(NONE)
    made.time.monotonic += 100
    assert left(opened(visit)) == DRAIN


def test_what_is_asked_for_when_the_stream_is_open_counts_too() -> None:
    made = under(ALL)
    visit = made.visit()
    stream = Stream(visit)
    stream.open()
    visit.expose("checkout")
    assert made.engine.streaming() == (OpenStreams("checkout", "2", 1),)
    made.engine.adopt(NONE)
    assert left(stream) == DRAIN


def test_a_closed_stream_is_left_alone() -> None:
    made = under(HALF)
    stream = streaming(made, canary=True)
    stream.close()
    made.engine.adopt(NONE)
    assert left(stream) == inf
    assert made.engine.streaming() == ()


def test_nothing_is_looked_at_where_no_lane_changes() -> None:
    made = under(HALF)
    stream = streaming(made, canary=True)
    stakes = dict(stream.stakes)
    stream.stakes.clear()
    made.engine.adopt(replace(HALF, revision=99))
    assert stakes
    assert stream.stakes == {}


def test_one_stream_that_fails_costs_no_other_its_end() -> None:
    class Broken(Stream):
        def moved(self) -> None:
            raise OSError("no loop")

    made = under(HALF)
    cookie = cookie_for(made, canary=True)
    visits = [made.visit(cookie=cookie) for _ in range(2)]
    for visit in visits:
        visit.expose("checkout")
    broken, whole = Broken(visits[0]), Stream(visits[1])
    broken.open()
    whole.open()
    made.engine.adopt(NONE)
    assert left(whole) == DRAIN


def test_a_forked_process_has_no_streams() -> None:
    made = under(HALF)
    streaming(made, canary=True)
    made.engine.after_fork()
    assert made.engine.streaming() == ()


# --- it is what a new request would get -----------------------------------------------------------

MOVES = [
    (Phase.PAUSED, 0), (Phase.PAUSED, FULL // 10), (Phase.PAUSED, FULL // 2),
    (Phase.RAMPING, FULL * 9 // 10), (Phase.PAUSED, FULL), (Phase.PROMOTED, FULL),
    (Phase.FINISHED, FULL), (Phase.ROLLED_BACK, 0), (Phase.IDLE, 0),
]  # fmt: skip


def moved(chance: random.Random, policy: Policy, before: Document | None = None) -> Document:
    phase, weight = chance.choice(MOVES)
    plan = Plan("1", "2", policy=policy)
    last = before.entry("checkout", "2") if before else None
    # What is closed is started anew, in another epoch.
    epoch = 9 if last and last.phase is Phase.FINISHED is not phase else chance.choice([3, 3, 8])
    made = entry(phase, weight, plan=plan, epoch=epoch, period=chance.randrange(100))
    return document(made, current=chance.choice(["2"] * 9 + ["3"]))


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.KEEP, Policy.SESSION])
def test_a_version_has_lost_who_would_get_the_other_one_now(policy: Policy) -> None:
    """The same browser and the same user ask once more after each move of a long random walk."""
    chance = random.Random(policy.value)
    rollout = Rollout(
        "checkout", "1", "2", policy=policy,
        testers=Audience(["tester"]), denied=Audience(["denied"]),
    )  # fmt: skip
    seen = {True: 0, False: 0}
    half = under(HALF)
    for number in range(200):
        who = chance.choice(["", f"user-{number}", "tester", "denied"])
        identify = Hook(who) if chance.random() < 0.7 else None
        first = moved(chance, policy)
        made = under(first, rollout, identify=identify)
        cookie = cookie_for(half, canary=chance.random() < 0.5)
        sent = {"cookie": cookie} if chance.random() < 0.8 else {}
        before = made.visit(**sent)
        stream = opened(before)
        line = before.cookie_line()
        back = {"cookie": pair(line)} if line else sent
        unknown = identify is not None and made.engine.snapshot.by_name["checkout"].gate is not None
        made.engine.adopt(moved(chance, policy, first))
        after = made.visit(**back).expose("checkout")
        if unknown or not (back or (identify and who)):
            continue  # nobody was asked who it is, or there was nobody to ask
        given = before.exposed["checkout"]
        expected = after.cohort is not given.cohort
        assert (stream.ends_at < inf) is expected, (number, given, after)
        seen[expected] += 1
    assert min(seen.values()) > 20, seen


def test_nobody_is_drawn_for_the_question() -> None:
    made = under(NONE)
    visit = made.visit()
    stream = opened(visit)
    drawn = made.numbers.drawn
    made.engine.adopt(HALF)
    assert (made.numbers.drawn, visit.cookie_line()) == (drawn, None)
    assert left(stream) == inf, "who has no place keeps the version"
    made.engine.adopt(PROMOTED)
    assert left(stream) == DRAIN


def test_an_identified_visitor_is_known_by_the_subject() -> None:
    hook = Hook()
    made = under(HALF, identify=hook)
    hook.answer = Visitor(subject_for(made, canary=True))
    stream = opened(made.visit())
    made.engine.adopt(NONE)
    assert left(stream) == DRAIN
    made.engine.adopt(HALF)
    assert left(stream) == inf


def test_under_the_policy_request_a_stream_is_one_request() -> None:
    plan = Plan("1", "2", policy=Policy.REQUEST)
    made = under(document(entry(weight=FULL // 2, plan=plan)), replace(CHECKOUT, policy="request"))
    streams = [opened(made.visit()) for _ in range(20)]
    made.engine.adopt(document(entry(weight=1, plan=plan)))
    assert {left(stream) for stream in streams} == {inf}
    made.engine.adopt(document(entry(weight=0, plan=plan)))
    assert {left(stream) for stream in streams} == {DRAIN}


def test_a_target_that_did_not_start_wins_nobody() -> None:
    made = under(HALF)
    made.engine.set_ready("checkout", ready=False)
    stream = streaming(made, canary=False)
    made.engine.adopt(PROMOTED)
    assert left(stream) == inf


# --- counts ---------------------------------------------------------------------------------------


def test_counts_are_by_rollout_and_version() -> None:
    made = under(HALF, *BOTH)
    for canary in (True, True, False):
        streaming(made, canary=canary)
    opened(made.visit(cookie=cookie_for(made, canary=False)), "checkout", "search").close()
    assert made.engine.streaming() == (
        OpenStreams("checkout", "1", 1),
        OpenStreams("checkout", "2", 2),
    )
    made.engine.adopt(
        replace(HALF, rollouts={**HALF.rollouts, "checkout": RolloutState("2", {"2": entry()})})
    )
    made.engine.adopt(NONE)
    made.time.monotonic += 557
    assert made.engine.streaming() == (
        OpenStreams("checkout", "1", 1),
        OpenStreams("checkout", "2", 2, 2, 43.0),
    )
