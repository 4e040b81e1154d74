"""Claims of one event loop, asked together; in virtual time, so that nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.batched import MOST, Batched
from tests.scenarios.virtual_time import run

BUDGET = 0.02


def ask(number: int) -> Ask:
    return Ask("checkout", f"key-{number}", None, "ab", 1, 1, SPACE, number, False, 60_000)


def answers(asks: Sequence[Ask]) -> list[Claim]:
    return [contend(None, None, one) for one in asks]


class Store:
    """Answers by the rule after a while, one question at a time.

    Args:
        seconds: how long each takes; the last one goes on being taken.
    """

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds) or [0.001]
        self.batches: list[int] = []
        self.cancelled = 0
        self._busy = False

    async def send(self, asks: Sequence[Ask]) -> list[Claim]:
        assert not self._busy, "two questions at a time"
        self._busy = True
        self.batches.append(len(asks))
        try:
            await asyncio.sleep(self._seconds.pop(0) if self._seconds[1:] else self._seconds[0])
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._busy = False
        return answers(asks)


async def settled(*waits: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*waits, return_exceptions=True)


def late(found: object) -> bool:
    return isinstance(found, StoreUnavailableError) and "no answer within 0.02 s" in str(found)


def play(scene: Callable[[Store, Batched], Awaitable[None]], *seconds: float) -> Store:
    """A scene in a loop of its own; nothing goes on after it."""
    store = Store(*seconds)

    async def whole() -> None:
        batched = Batched(store.send, BUDGET)
        await scene(store, batched)
        await batched.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(whole())
    return store


def test_one_request_asks_at_once() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        assert await batched.claim([ask(1), ask(2)]) == answers([ask(1), ask(2)])

    assert play(scene).batches == [2]


def test_what_comes_while_one_is_under_way_goes_together_and_each_gets_its_own() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        requests = [[ask(10 * n + m) for m in range(n % 3 + 1)] for n in range(64)]
        found = await settled(*(batched.claim(asks) for asks in requests))
        assert found == [answers(asks) for asks in requests]

    store = play(scene)
    assert store.batches == [1, sum(n % 3 + 1 for n in range(1, 64))]


def test_a_batch_is_bounded() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        found = await settled(*(batched.claim([ask(n)]) for n in range(2 * MOST)))
        assert found == [answers([ask(n)]) for n in range(2 * MOST)]

    assert play(scene).batches == [1, MOST, MOST - 1]


def test_nobody_waits_for_longer_than_the_budget() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        first = asyncio.create_task(batched.claim([ask(1)]))
        await asyncio.sleep(0.005)
        others = [asyncio.create_task(batched.claim([ask(n)])) for n in (2, 3)]
        assert late((await settled(first))[0])
        assert loop.time() - begun == pytest.approx(BUDGET)
        assert all(map(late, await settled(*others)))
        assert loop.time() - begun == pytest.approx(BUDGET + 0.005)

    store = play(scene, 5.0)
    assert store.cancelled == len(store.batches) == 2


def test_whoever_comes_after_a_late_answer_gets_the_own_one() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        found = await settled(*(batched.claim([ask(n)]) for n in range(3)))
        assert all(map(late, found))
        for number in range(3, 6):
            assert await batched.claim([ask(number)]) == answers([ask(number)])
        again = await settled(*(batched.claim([ask(n)]) for n in range(6, 9)))
        assert again == [answers([ask(n)]) for n in range(6, 9)]

    play(scene, 5.0, 0.001)


def test_a_batch_that_is_late_takes_none_of_the_next_along() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        first = asyncio.create_task(batched.claim([ask(0)]))
        await asyncio.sleep(0)
        second = [asyncio.create_task(batched.claim([ask(n)])) for n in (1, 2)]
        await first
        await asyncio.sleep(0.015)
        third = [asyncio.create_task(batched.claim([ask(n)])) for n in (3, 4)]
        assert all(map(late, await settled(*second)))
        assert await settled(*third) == [answers([ask(n)]) for n in (3, 4)]

    store = play(scene, 0.001, 5.0, 0.001)
    assert (store.batches, store.cancelled) == ([1, 2, 2], 1)


def test_a_request_that_goes_away_takes_nobody_along() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        alone = asyncio.create_task(batched.claim([ask(0)]))
        await asyncio.sleep(0)
        together = [asyncio.create_task(batched.claim([ask(n)])) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        alone.cancel()
        together[1].cancel()
        found = await settled(alone, *together)
        assert isinstance(found[0], asyncio.CancelledError)
        assert isinstance(found[2], asyncio.CancelledError)
        assert [found[1], found[3]] == [answers([ask(n)]) for n in (1, 3)]

    play(scene)


def test_one_that_goes_away_while_its_batch_is_under_way() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        first = asyncio.create_task(batched.claim([ask(0)]))
        await asyncio.sleep(0)
        together = [asyncio.create_task(batched.claim([ask(n)])) for n in (1, 2)]
        await first
        await asyncio.sleep(0.001)
        together[0].cancel()
        found = await settled(*together)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1] == answers([ask(2)])

    play(scene, 0.001, 0.01)


@pytest.mark.parametrize("error", [StoreUnavailableError("refused"), ZeroDivisionError()])
def test_whatever_goes_wrong_everybody_hears_of_it_and_the_next_is_asked(error: Exception) -> None:
    asked: list[int] = []

    async def send(asks: Sequence[Ask]) -> list[Claim]:
        asked.append(len(asks))
        await asyncio.sleep(0.001)
        if len(asked) <= 2:
            raise error
        return answers(asks)

    async def scene() -> None:
        batched = Batched(send, BUDGET)
        found = await settled(*(batched.claim([ask(n)]) for n in range(4)))
        assert [type(one) for one in found] == [StoreUnavailableError] * 4
        assert await batched.claim([ask(5)]) == answers([ask(5)])
        await batched.stop()

    run(scene())
    assert asked == [1, 3, 1]


@pytest.mark.parametrize("stalled", range(5))
def test_a_loop_that_stands_still_for_longer_than_the_budget_goes_on(stalled: int) -> None:
    """Whatever turn of the loop it is that takes so long."""

    async def scene(store: Store, batched: Batched) -> None:
        loop: Any = asyncio.get_running_loop()
        waits = [asyncio.create_task(batched.claim([ask(n)])) for n in range(3)]
        for _ in range(stalled):
            await asyncio.sleep(0)
        loop.stand_still(1.0)
        for found in await settled(*waits):
            assert late(found) or isinstance(found, list)
        again = await settled(*(batched.claim([ask(n)]) for n in range(3)))
        assert again == [answers([ask(n)]) for n in range(3)]

    play(scene)


def test_the_end_of_the_loop_leaves_nobody_waiting() -> None:
    async def scene(store: Store, batched: Batched) -> None:
        first = asyncio.create_task(batched.claim([ask(0)]))
        await asyncio.sleep(0)
        waits = [asyncio.create_task(batched.claim([ask(n)])) for n in (1, 2)]
        await first
        await asyncio.sleep(0.001)
        waits.append(asyncio.create_task(batched.claim([ask(3)])))
        await asyncio.sleep(0)
        await batched.stop()
        found = await settled(*waits)
        assert [str(one) for one in found] == ["the event loop ends"] * 3

    assert play(scene, 0.001, 5.0).cancelled == 1


MOMENTS = st.sampled_from([0.0, 0.001, 0.005, 0.015, 0.02, 0.03])


@given(
    st.lists(st.tuples(MOMENTS, st.integers(1, 3), st.none() | MOMENTS), min_size=1, max_size=12),
    st.lists(MOMENTS, min_size=1, max_size=8),
)
def test_whenever_they_come_and_go_each_gets_the_own_answer_in_time_or_none(
    requests: list[tuple[float, int, float | None]], seconds: list[float]
) -> None:
    async def request(batched: Batched, number: int, asks: int) -> None:
        questions = [ask(100 * number + n) for n in range(asks)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            assert await batched.claim(questions) == answers(questions)
        except StoreUnavailableError:
            assert loop.time() - begun == pytest.approx(BUDGET)
        finally:
            assert loop.time() - begun < BUDGET + 1e-6

    async def scene(store: Store, batched: Batched) -> None:
        loop, waits = asyncio.get_running_loop(), []
        for number, (pause, asks, patience) in enumerate(requests):
            await asyncio.sleep(pause)
            wait = asyncio.create_task(request(batched, number, asks))
            if patience is not None:
                loop.call_later(patience, wait.cancel)
            waits.append(wait)
        for found in await settled(*waits):
            assert found is None or isinstance(found, asyncio.CancelledError)

    play(scene, *seconds)
