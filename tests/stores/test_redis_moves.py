"""A master is demoted behind a name that leads to another one: who hears of it looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask
from canary_middleware.errors import NotPersistedError, StoreUnavailableError
from canary_middleware.stores import open_store
from canary_middleware.stores.redis import RedisStore
from tests.support.fault_proxy import FaultProxy
from tests.support.fleet import Cluster, Sentinels, follows
from tests.support.redis import RedisServer
from tests.support.servers import wait_until

ASK = Ask("shop", "k" * 22, None, "ab12", 1, 1, SPACE, 7, False, 60_000)


@dataclass
class World:
    old: RedisServer
    new: RedisServer
    name: FaultProxy

    def fail_over(self) -> None:
        with self.old.client() as old, self.new.client() as new:
            self.name.lead_to(self.new.port)
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", str(self.new.port))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    at_once = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer(tmp_path, *at_once) as old,
        RedisServer(tmp_path, *at_once) as new,
        FaultProxy(old.port) as name,
    ):
        with new.client() as client:
            client.replicaof("127.0.0.1", str(old.port))
        wait_until(lambda: follows(new), what="it follows")
        yield World(old, new, name)


@pytest.mark.parametrize(
    ("ask", "refusal"),
    [
        (lambda store: store.claim([ASK]), StoreUnavailableError),
        (lambda store: store.hold("me", 4.0), StoreUnavailableError),
        (lambda store: store.kill("*", by="me", why="", now=1.0), NotPersistedError),
    ],
)
def test_the_second_question_reaches_the_new_master(
    world: World, ask: Callable[[RedisStore], object], refusal: type[Exception]
) -> None:
    store = open_store(world.name.url(), "shop")
    assert isinstance(store, RedisStore)
    store.load()
    world.fail_over()
    with pytest.raises(refusal, match="read only"):
        ask(store)
    ask(store)
    store.close()


def test_so_does_that_of_an_event_loop(world: World) -> None:
    store = open_store(world.name.url(), "shop")
    assert isinstance(store, RedisStore)

    async def talk() -> None:
        claims = store.quick_async()
        first = await claims.claim([ASK])
        await asyncio.to_thread(world.fail_over)
        with pytest.raises(StoreUnavailableError, match="read only"):
            await claims.claim([ASK])
        assert await claims.claim([ASK]) == first
        await claims.close()

    asyncio.run(talk())
    store.close()


def test_both_follow_a_fail_over_by_sentinels(sentinels: Sentinels) -> None:
    store = open_store(sentinels.url, "failing")
    assert isinstance(store, RedisStore)
    lost = sentinels.master()

    async def talk() -> None:
        claims = store.quick_async()
        first = await claims.claim([ASK])
        await asyncio.to_thread(wait_until, sentinels.replicated, what="the replicas have it")
        sentinels.hand_over()
        await asyncio.to_thread(sentinels.fail_over, lost)
        refused = 0
        while True:
            try:
                assert await claims.claim([ASK]) == first
                break
            except StoreUnavailableError:
                refused += 1
        assert refused <= 2, "the one that says so, and the way to the Sentinels"
        await claims.close()

    store.load()
    asyncio.run(talk())
    wait_until(lambda: killed(store), what="a kill is taken", timeout=3.0)
    store.close()


def killed(store: RedisStore) -> bool:
    try:
        store.kill("*", by="me", why="", now=1.0)
    except (StoreUnavailableError, NotPersistedError):
        return False
    return True


def asks(number: int) -> list[Ask]:
    return [replace(ASK, key=f"{number:022d}", bucket=number)]


def test_an_event_loop_finds_a_cluster_that_moved(tmp_path: Path, cluster: Cluster) -> None:
    """All nodes have new addresses; no answer is ever taken for that of another question."""

    async def talk(first: Cluster, name: FaultProxy) -> None:
        store = open_store(name.url().replace("redis:", "redis+cluster:"), "moved")
        assert isinstance(store, RedisStore)
        claims = store.quick_async()
        assert (await claims.claim(asks(1)))[0].bucket == 1
        owner = first.owner("{moved}")
        owner.pause()
        for number in range(2, 5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(claims.claim(asks(number)), 0.02)
        owner.resume()
        found = await asyncio.gather(*(claims.claim(asks(number)) for number in range(2, 30)))
        assert [one[0].bucket for one in found] == list(range(2, 30))
        name.lead_to(cluster.servers[0].port)
        for server in first.servers:
            server.kill()
        with pytest.raises(StoreUnavailableError):
            await claims.claim(asks(1))
        with pytest.raises(StoreUnavailableError, match="cannot be connected"):
            await claims.claim(asks(1))
        assert (await claims.claim(asks(1)))[0].bucket == 1
        await claims.close()
        store.close()

    with Cluster(tmp_path) as first, FaultProxy(first.servers[0].port) as name:
        asyncio.run(talk(first, name))


def test_credentials_are_asked_for_each_connection(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        known = ["app", "first"]

        def rotate(word: str) -> None:
            client.acl_setuser(
                "app", enabled=True, reset=True, passwords=[f"+{word}"], keys="*", channels="*",
                categories=["+@all"],
            )  # fmt: skip
            client.execute_command("CLIENT", "KILL", "USER", "app")

        store = open_store(redis_server.url, "shop", credentials=lambda: (known[0], known[1]))
        assert isinstance(store, RedisStore)

        async def talk() -> None:
            claims = store.quick_async()
            assert await claims.claim([ASK])
            rotate("second")
            for _ in range(2):
                with pytest.raises(StoreUnavailableError):
                    await claims.claim([ASK])
            known[1] = "second"
            assert await claims.claim([ASK])
            await claims.close()

        rotate("first")
        assert store.load().document is None
        with store.listen() as subscription:
            subscription.receive(0.1)
            asyncio.run(talk())
            assert store.load().document is None
            with pytest.raises(StoreUnavailableError):
                subscription.receive(0.1)
        with store.listen() as subscription:
            struck = store.kill("*", by="me", why="", now=1.0)
            assert subscription.receive(1.0) == struck
        store.close()


def test_a_lost_subscription_is_told_before_anybody_comes_back(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        twice = Retry(NoBackoff(), 2)
        ready = redis.Redis.from_url(redis_server.url, socket_timeout=0.5, retry=twice)
        for store in (open_store(redis_server.url, "shop"), open_store(ready, "shop")):
            with store.listen() as subscription:
                assert subscription.receive(0.1) is None
                before = client.info("stats")["total_connections_received"]
                client.client_kill_filter(_type="pubsub")
                with pytest.raises(StoreUnavailableError):
                    subscription.receive(0.5)
            assert client.info("stats")["total_connections_received"] == before
            with store.listen() as subscription:
                struck = store.kill("*", by="me", why="", now=1.0)
                assert subscription.receive(1.0) == struck
            store.close()
        lent = [ready.connection_pool.get_connection() for _ in range(2)]
        assert [one.retry.get_retries() for one in lent] == [2, 2], "they are as they were"
        for one in lent:
            ready.connection_pool.release(one)
        ready.close()
