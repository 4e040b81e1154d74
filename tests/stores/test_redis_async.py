"""Claims asked from an event loop, on a real server that is slow, restarted, or flushed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.redis_address import RedisAddress
from canary_middleware.stores.redis_async import AsyncRedisClaims
from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer, SharedRedis


def ask(key: str = "alice", bucket: int = 5, **changes: Any) -> Ask:
    given: dict[str, Any] = {
        "rollout": "checkout", "key": key, "origin": None, "lineage": "ab", "epoch": 1, "period": 1,
        "limit": 10, "bucket": bucket, "raises": False, "life": 60_000, **changes,
    }  # fmt: skip
    return Ask(**given)


Play = Callable[[AsyncRedisClaims], Coroutine[Any, Any, None]]


def played(url: str, namespace: str, play: Play) -> None:
    async def run() -> None:
        claims = AsyncRedisClaims(RedisAddress.parse(url), namespace)
        try:
            await play(claims)
        finally:
            await claims.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == set(), "nothing goes on behind our back"

    asyncio.run(run(), debug=True)


def winner(made: Ask) -> Claim:
    return contend(None, None, made)


def test_answers_come_in_the_order_of_the_questions(
    shared_redis: SharedRedis, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        asks = [ask(f"user-{number}", number) for number in range(50)]
        assert await claims.claim(asks) == [winner(one) for one in asks]
        held = [winner(one) for one in asks]
        others = [ask(f"user-{number}", 49 - number) for number in range(50)]
        assert await claims.claim(others) == held

    played(shared_redis.url, namespace, play)


def test_a_server_that_has_forgotten_the_script_or_was_restarted_is_asked_again(
    redis_server: RedisServer, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        assert await claims.claim([ask()]) == [winner(ask())]
        with redis_server.client() as client:
            client.script_flush()
        assert await claims.claim([ask("bob")]) == [winner(ask("bob"))]
        redis_server.restart(empty=True)
        assert await claims.claim([ask("carol", 12)]) == [winner(ask("carol", 12))]

    played(redis_server.url, namespace, play)


def test_an_answer_that_nobody_waited_for_is_nobody_elses(
    redis_server: RedisServer, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        await claims.claim([ask()])
        redis_server.pause()
        for number in range(3):
            waiting = asyncio.create_task(claims.claim([ask(f"gone-{number}", number)]))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        redis_server.resume()
        asks = [ask(f"here-{number}", 9 - number) for number in range(10)]
        for one in asks:
            assert await claims.claim([one]) == [winner(one)]

    played(redis_server.url, namespace, play)


def test_a_way_to_the_server_that_takes_longer_than_anybody_waits_is_found(
    redis_server: RedisServer, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        late = 0
        for _ in range(100):
            try:
                async with asyncio.timeout(0.1):
                    await claims.claim([ask()])
            except TimeoutError:
                late += 1
            else:
                break
        assert 0 < late < 20

    with FaultProxy(redis_server.port) as proxy:
        # Each way, and a connection begins with several questions: it takes longer than one waits,
        # but a question on it has 60 ms to spare, which a busy machine may take.
        proxy.latency = 0.02
        played(proxy.url(), namespace, play)


def test_a_server_that_is_not_there_says_so_each_time(namespace: str) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        for _ in range(3):
            with pytest.raises(StoreUnavailableError):
                await claims.claim([ask()])

    played("redis://127.0.0.1:1/0", namespace, play)


def test_without_memory_known_claims_count_and_the_connection_is_kept(
    redis_server: RedisServer, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        held = await claims.claim([ask("alice", 5)])
        with redis_server.client() as client:
            before = client.info("clients")["connected_clients"]
            client.config_set("maxmemory", "1")
            for _ in range(3):
                assert await claims.claim([ask("alice", 50)]) == held
                assert await claims.claim([ask("bob", 50)]) == [winner(ask("bob", 50))]
            client.config_set("maxmemory", "0")
            # It was told to bob, but could not be kept.
            assert await claims.claim([ask("bob", 5)]) == [winner(ask("bob", 5))]
            assert client.info("clients")["connected_clients"] == before

    played(redis_server.url, namespace, play)


def test_an_error_of_the_server_is_told(redis_server: RedisServer, namespace: str) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        with redis_server.client() as client:
            await claims.claim([ask()])
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailableError):
                await claims.claim([ask("bob")])
            client.replicaof("NO", "ONE")
            assert await claims.claim([ask("bob")]) == [winner(ask("bob"))]

    played(redis_server.url, namespace, play)


def test_a_connection_that_was_closed_while_nobody_asked_costs_nobody_the_answer(
    redis_server: RedisServer, namespace: str
) -> None:
    async def play(claims: AsyncRedisClaims) -> None:
        for number in range(5):
            one = ask(f"user-{number}", number)
            assert await claims.claim([one]) == [winner(one)]
            with redis_server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)

    played(redis_server.url, namespace, play)
