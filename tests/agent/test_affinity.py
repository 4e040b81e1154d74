"""Asks on behalf of requests: as long as the store answers, and no longer."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import cast

import pytest

from canary_middleware.agent.affinity import BUDGET, asker
from canary_middleware.agent.claiming import BATCH, TOUCH_EVERY
from canary_middleware.core.circuit import ANYWAY, FAILURES, OPEN
from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.model import Assignment, Cohort, Reason
from canary_middleware.core.state import RolloutState
from canary_middleware.core.weight import FULL
from canary_middleware.engine.claims import REMEMBERED, SHARE, WAITING
from canary_middleware.stores import MemoryStore, StateStore
from canary_middleware.stores.memory_affinity import MOST
from tests.agent.asking import HALF, NONE, Process, Server, at
from tests.core.control import KILL
from tests.scenarios.virtual_time import run

Asking = Callable[[Process, str], Assignment]


def blocking(process: Process, user: str) -> Assignment:
    return process.ask(user)


def in_a_loop(process: Process, user: str) -> Assignment:
    async def once() -> Assignment:
        found = await process.ask_async(user)
        await process.asker.leave()
        return found

    return run(once())


@pytest.fixture(params=[blocking, in_a_loop], ids=["blocking", "loop"])
def ask(request: pytest.FixtureRequest) -> Asking:
    asking: Asking = request.param
    return asking


def test_a_first_sight_asks_and_a_known_subject_does_not(ask: Asking) -> None:
    process = Process()
    versions = {user: ask(process, user).version for user in map(str, range(20))}
    assert set(versions.values()) == {"1", "2"}
    assert process.server.asked == 20
    assert {user: ask(process, user).version for user in versions} == versions
    assert process.server.asked == 20


def test_the_answer_of_the_store_counts_and_not_the_own_draw(ask: Asking) -> None:
    process, other = Process(weight=NONE), Process(weight=FULL)
    assert ask(other, "alice").is_canary
    process.server.held = other.server.held
    found = ask(process, "alice")
    assert (found.cohort, found.reason, found.period) == (Cohort.CANARY, Reason.PIN, 4)


def test_it_stops_after_three_failures_and_asks_again_only_after_a_look(ask: Asking) -> None:
    process = Process()
    process.server.answers = False
    for user in map(str, range(10)):
        assert ask(process, user).reason in (Reason.WEIGHT, Reason.PIN)
    assert process.server.asked == FAILURES
    process.wait(ANYWAY - 0.1)
    ask(process, "late")
    assert process.server.asked == FAILURES, "no request is spent on trying"
    process.server.answers = True
    process.look()
    ask(process, "later")
    assert process.server.asked == FAILURES + 1
    assert "later" not in process.server.held
    assert len(process.server.held) == 1
    events = process.world.events()
    assert (events["claim_failed"], events["claim_circuit_opened"]) == (FAILURES, 1)


def test_a_look_from_before_it_opened_says_nothing(ask: Asking) -> None:
    process = Process()
    process.look()
    process.server.answers = False
    for user in map(str, range(FAILURES)):
        ask(process, user)
    process.wait(OPEN)
    ask(process, "a")
    assert process.server.asked == FAILURES
    process.look()
    ask(process, "b")
    ask(process, "c")
    assert process.server.asked == FAILURES + 1, "one more failure shuts it again"


def test_without_the_store_the_known_keep_their_place_and_the_bucket_decides_for_others(
    ask: Asking,
) -> None:
    process = Process()
    before = {user: ask(process, user).version for user in map(str, range(40))}
    expected = {user: ask(Process(), user).version for user in map(str, range(40, 80))}
    process.server.answers = False
    # Past what is believed without asking; remembered all the same.
    process.wait(SHARED_LIFE / 2)
    assert {user: ask(process, user).version for user in before} == before
    assert {user: ask(process, user).version for user in expected} == expected
    process.world.engine.adopt(at(NONE, 5))
    kept = {user: ask(process, user).version for user in before}
    assert kept == before, "who is on canary is kept, although the weight is 0 now"
    assert {ask(process, f"new {n}").version for n in range(20)} == {"1"}


SHARED_LIFE = 30 * 86_400.0


def test_who_was_served_without_the_store_is_told_to_it(ask: Asking) -> None:
    process = Process(weight=FULL)
    process.server.answers = False
    assert ask(process, "alice").is_canary
    (waiting,) = process.world.engine.claims.take(10)
    assert (waiting.rollout, waiting.limit) == ("checkout", 2**53)


def test_the_log_has_one_line_at_each_end(ask: Asking, caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    for _ in range(2):
        process.server.answers = False
        for user in range(20):
            ask(process, f"{process.server.asked} {user}")
        process.wait(OPEN + 1)
        process.look()
        ask(process, "still away")
        process.server.answers = True
        process.wait(OPEN + 1)
        process.look()
        for user in range(5):
            ask(process, f"back {process.server.asked} {user}")
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert (
        lines
        == [
            "shared affinity: degraded, buckets decide: refused",
            "shared affinity: recovered",
        ]
        * 2
    )


def test_a_store_that_stands_still_costs_the_budget_and_then_nothing() -> None:
    process = Process()
    process.server.stands_still = True

    async def scene() -> list[float]:
        loop, seconds = asyncio.get_running_loop(), []
        for user in map(str, range(6)):
            begun = loop.time()
            await process.ask_async(user)
            seconds.append(round(loop.time() - begun, 6))
        await process.asker.leave()
        return seconds

    assert run(scene()) == [0.02] * FAILURES + [0.0] * (6 - FAILURES)
    assert process.server.closed == 1


def test_requests_of_one_moment_ask_together() -> None:
    process = Process()

    async def scene() -> None:
        await asyncio.gather(*(process.ask_async(str(user)) for user in range(64)))
        await process.asker.leave()

    run(scene())
    assert (process.server.asked, len(process.server.held)) == (2, 64)


def test_a_request_that_is_cancelled_while_it_waits_counts_as_no_failure() -> None:
    process = Process()
    process.server.stands_still = True

    async def scene() -> None:
        for user in range(2 * FAILURES):
            wait = asyncio.create_task(process.ask_async(str(user)))
            await asyncio.sleep(0.001)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await process.asker.leave()

    run(scene())
    assert process.world.events() == {}


def test_every_loop_and_every_life_opens_its_own() -> None:
    process = Process()
    in_a_loop(process, "a")
    in_a_loop(process, "b")
    assert (process.server.opened, process.server.closed) == (2, 2)
    process.ask("c")
    process.ask("d")
    assert process.server.opened == 3
    process.asker.stop()
    process.asker.stop()
    assert process.server.closed == 3
    process.ask("e")
    assert process.server.opened == 4


def test_a_forked_child_opens_its_own() -> None:
    process = Process()
    process.ask("a")
    child = os.fork()
    if not child:
        code = 1
        try:
            process.ask("b")
            code = 0 if process.server.opened == 2 else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process.server.opened == 1


def test_what_needs_no_place_asks_for_none(ask: Asking) -> None:
    process = Process()
    process.world.engine.adopt(None)
    assert ask(process, "alice").reason is Reason.IDLE
    process.world.engine.adopt(replace(at(FULL), kills={"checkout": KILL}, revision=9))
    assert ask(process, "alice").reason is Reason.KILL_SWITCH
    process.world.engine.adopt(at(HALF, 10))
    assert ask(process, "").reason is Reason.WEIGHT, "an id that is drawn with this request"
    assert process.server.asked == 0


def in_threads(process: Process, user: str) -> Assignment:
    return asyncio.run(process.ask_async(user))


@pytest.mark.parametrize("ask", [blocking, in_threads])
def test_a_store_without_claims_leaves_it_to_the_bucket(ask: Asking) -> None:
    process = Process()
    process.asker = asker(process.world.engine, cast(StateStore, object()), 0.02)
    found = {user: ask(process, user).version for user in map(str, range(20))}
    assert found == {user: blocking(Process(), user).version for user in found}
    assert process.world.events()["claim_failed"] == FAILURES


def test_a_look_that_took_longer_than_a_request_would_wait_says_nothing() -> None:
    process = Process()
    engine = process.world.engine
    process.asker = asker(engine, cast(StateStore, object()), BUDGET)
    for user in map(str, range(FAILURES)):
        process.ask(user)
    for seconds, asked in ((3 * BUDGET, FAILURES), (BUDGET, FAILURES + 1)):
        process.wait(OPEN)
        begun = engine.clock()
        process.wait(seconds)
        engine.confirm(begun)
        process.ask("late")
        assert process.world.events()["claim_failed"] == asked, "a slow store is not tried"


def test_with_memory_alone_what_waits_is_written_at_the_next_sight() -> None:
    process, store = Process(), MemoryStore()
    local = asker(process.world.engine, store, 0.02)
    first = process.begin("")
    local.settle(first)
    first.expose("checkout")
    assert list(store.claims("checkout")) == [], "the id was drawn just now"
    local.settle(process.begin("alice"))
    assert len(list(store.claims("checkout"))) == 2


def test_a_claim_of_a_later_epoch_puts_a_process_that_is_behind_on_stable(ask: Asking) -> None:
    process = Process(weight=FULL)
    assert ask(process, "alice").is_canary
    (key,) = process.server.held
    claim = process.server.held[key]
    process.server.held[key] = claim._replace(epoch=claim.epoch + 1)
    late = Process(weight=FULL)
    late.server.held = process.server.held
    found = ask(late, "alice")
    assert (found.cohort, found.reason) == (Cohort.STABLE, Reason.STALE_CONTROL)
    assert late.server.held[key].epoch == claim.epoch + 1
    later = at(FULL, 9)
    state = later.rollouts["checkout"]
    heard = replace(state.entries["2"], epoch=claim.epoch + 1)
    late.world.engine.adopt(replace(later, rollouts={"checkout": RolloutState("2", {"2": heard})}))
    assert ask(late, "alice").is_canary


def test_a_kill_that_is_heard_while_a_request_waits_outranks_the_answer() -> None:
    process = Process(weight=FULL)

    async def scene() -> Assignment:
        visit = process.begin("alice")
        wait = asyncio.create_task(process.asker.settle_async(visit))
        await asyncio.sleep(0)
        process.world.engine.adopt(replace(at(FULL), kills={"checkout": KILL}, revision=9))
        await wait
        await process.asker.leave()
        return visit.expose("checkout")

    found = run(scene())
    assert (found.cohort, found.reason) == (Cohort.STABLE, Reason.KILL_SWITCH)
    assert process.server.asked == 1


def test_the_page_has_the_numbers_of_the_program() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "affinity.md").read_text().split())
    for words in (
        f"remembers the {REMEMBERED:,} claims",
        f"Up to {WAITING:,} wait",
        f"`claim_budget` ({1000 * BUDGET:.0f} ms)",
        f"it holds {MOST:,}.",
        f"{BATCH} claims at a time",
    ):
        assert words in text, words
    assert (SHARE, TOUCH_EVERY, FAILURES, OPEN) == (3, 5.0, 3, 1.0), "written as words"


class Stumbling(Server):
    """A store of others, with errors of its own."""

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        self.asked += len(asks)
        raise RuntimeError("the vault says: sesame")


class Forgetful(Server):
    """A store that does not answer each question."""

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        self.asked += len(asks)
        return []


@pytest.mark.parametrize("kind", [Stumbling, Forgetful])
def test_whatever_a_store_does_the_request_goes_on_and_no_text_of_others_is_told(
    ask: Asking, kind: type[Server], caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(server=kind())
    versions = {ask(process, user).version for user in map(str, range(20))}
    assert versions == {"1", "2"}
    assert process.server.asked == FAILURES
    assert "sesame" not in "".join(record.getMessage() for record in caplog.records)


def test_no_request_of_a_thread_waits_for_longer_than_the_budget() -> None:
    """However the store waits: for a name, for a file, for three servers one after the other."""
    release = Event()

    class Slow(Server):
        def claim(self, asks: Sequence[Ask]) -> list[Claim]:
            self.asked += 1
            release.wait(10.0)
            return super().claim(asks)

    process = Process(server=Slow())
    visits = [process.begin(user) for user in map(str, range(10))]
    begun = time.monotonic()
    for visit in visits:
        process.asker.settle(visit)
    waited = time.monotonic() - begun
    release.set()
    process.asker.stop()
    assert process.server.asked <= FAILURES, "the circuit is open then"
    assert waited < 5.0, "ten of them waited for less than one of them would have"


def test_an_event_loop_that_ended_by_itself_is_let_go() -> None:
    process = Process()

    def loops() -> int:
        gc.collect()
        return sum(isinstance(one, asyncio.BaseEventLoop) for one in gc.get_objects())

    before = loops()
    for number in range(30):
        asyncio.run(process.asker.settle_async(process.begin(str(number))))
    assert loops() <= before + 1, "the last one, which the next one would clear away"
