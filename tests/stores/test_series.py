"""Points of charts, cursors and named leases: what others put in their place, what is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from canary_middleware.errors import StoreCorruptError, StoreError, StoreUnavailableError
from canary_middleware.stores import open_store
from canary_middleware.stores.redis import RedisStore
from canary_middleware.stores.series import CURSOR_LIFE, LIFE, MAX_CURSOR, MAX_POINT, POINTS
from canary_middleware.stores.sqlite import SqliteStore
from tests.stores.strange import StrangeServer
from tests.support.fleet import Cluster
from tests.support.redis import SharedRedis

# --- Redis ------------------------------------------------------------------------------------


class Shop:
    """A namespace, and what somebody does to it with redis-cli."""

    def __init__(self, url: str, namespace: str) -> None:
        store = open_store(url, namespace, timeout=5.0)
        assert isinstance(store, RedisStore)
        self.store = store
        self.client = redis.Redis.from_url(url)
        self._tag = f"canary:{{{namespace}}}"
        self.data, self.slots = self.key("series:checkout"), self.key("slots:checkout")

    def key(self, name: str) -> str:
        return f"{self._tag}:{name}"


@pytest.fixture
def shop(shared_redis: SharedRedis, namespace: str) -> Iterator[Shop]:
    made = Shop(shared_redis.url, namespace)
    yield made
    made.store.close()
    made.client.close()


def test_points_take_two_keys_that_end(shop: Shop) -> None:
    shop.store.append("checkout", 7, b"x")
    shop.store.append("checkout", 7, b"y")
    assert shop.client.hgetall(shop.data) == {b"7": b"y"}
    assert shop.client.zrange(shop.slots, 0, -1, withscores=True) == [(b"7", 7.0)]
    for key in (shop.data, shop.slots):
        assert LIFE - 5 < shop.client.ttl(key) <= LIFE


def test_a_cursor_ends_and_a_lease_has_a_key_of_its_own(shop: Shop) -> None:
    assert shop.store.advance("hook", None, "a")
    assert CURSOR_LIFE - 5 < shop.client.ttl(shop.key("outbox:hook")) <= CURSOR_LIFE
    assert shop.store.hold("me", 60, of="alerts")
    assert shop.client.get(shop.key("lease:alerts")) == b"me"
    assert not shop.client.exists(shop.key("lease"))


@pytest.mark.parametrize("gone", ["data", "slots"])
def test_of_two_keys_neither_means_anything_alone(shop: Shop, gone: str) -> None:
    for slot in range(1, 4):
        shop.store.append("checkout", slot, b"x")
    shop.client.delete(getattr(shop, gone))
    shop.store.append("checkout", 9, b"y")
    assert shop.store.series("checkout") == [(9, b"y")]
    assert shop.client.hlen(shop.data) == 1


@pytest.mark.parametrize("key", ["data", "slots"])
def test_values_of_another_kind_are_told_and_swept_away(shop: Shop, key: str) -> None:
    shop.store.append("checkout", 1, b"x")
    shop.client.set(getattr(shop, key), "somebody's")
    with pytest.raises(StoreCorruptError):
        shop.store.series("checkout")
    shop.store.append("checkout", 9, b"y")
    assert shop.store.series("checkout") == [(9, b"y")]


@pytest.mark.parametrize(
    "slots", [{"x": 5}, {"1.5": 5}, {"-3": 5}, {"9" * 17: 5}, {"5": 9, "9": 5}, {"٣": 5}, {"": 5}]
)
def test_slots_that_are_none_are_an_error(shop: Shop, slots: dict[str, float]) -> None:
    shop.client.zadd(shop.slots, slots)
    for slot in slots:
        shop.client.hset(shop.data, slot, b"x")
    with pytest.raises(StoreError):
        shop.store.series("checkout")


def test_a_point_that_is_missing_or_too_large_is_an_error(shop: Shop) -> None:
    shop.store.append("checkout", 1, b"x")
    shop.client.hset(shop.data, "1", b"x" * (MAX_POINT + 1))
    with pytest.raises(StoreUnavailableError, match="takes more than 16384 bytes"):
        shop.store.series("checkout")
    shop.client.zadd(shop.slots, {"2": 2})
    with pytest.raises(StoreError):
        shop.store.series("checkout", 1)


def test_somebody_elses_many_points_go_by_and_by(shop: Shop) -> None:
    slots = {str(slot): slot for slot in range(1, POINTS + 2_501)}
    shop.client.hset(shop.data, mapping=dict.fromkeys(slots, b"x"))
    shop.client.zadd(shop.slots, slots)
    for slot in range(1, 5):
        shop.store.append("checkout", 100_000 + slot, b"x")
    assert shop.client.hlen(shop.data) == POINTS
    assert shop.store.series("checkout")[-1] == (100_004, b"x")


def test_a_cursor_of_somebody_else_is_an_error(shop: Shop) -> None:
    key = shop.key("outbox:hook")
    for spoiled in (b"\xff\xfe", b"x" * (MAX_CURSOR + 1)):
        shop.client.set(key, spoiled)
        with pytest.raises(StoreError):
            shop.store.cursor("hook")
    shop.client.delete(key)
    shop.client.lpush(key, "a")
    with pytest.raises(StoreCorruptError):
        shop.store.cursor("hook")
    with pytest.raises(StoreCorruptError):
        shop.store.advance("hook", None, "b")


@pytest.mark.parametrize(
    "answer", [b"*1\r\n$1\r\n1\r\n", b":1\r\n", b"$-1\r\n", b"*2\r\n:1\r\n:2\r\n", b"*-1\r\n"]
)
def test_strange_answers_are_errors(answer: bytes) -> None:
    with StrangeServer(answer) as server:
        store = open_store(server.url, "shop")
        assert isinstance(store, RedisStore)
        with pytest.raises(StoreError):
            store.series("checkout")
        store.close()


def test_a_cluster_keeps_them_in_one_slot(cluster: Cluster, namespace: str) -> None:
    store = open_store(cluster.url, namespace, timeout=2.0)
    store.append("checkout", 1, b"x")
    assert store.series("checkout") == [(1, b"x")]
    assert store.advance("hook", None, "a")
    assert store.cursor("hook") == "a"
    assert store.hold("me", 5, of="alerts")
    assert store.hold("you", 5)
    store.close()


# --- SQLite -----------------------------------------------------------------------------------


class Host:
    """A file, the clock of its host, and what somebody does with sqlite3."""

    def __init__(self, path: Path) -> None:
        self.path = path / "canary.db"
        self.now = 1_000.0
        self.store = SqliteStore(self.path, "shop", wall=lambda: self.now)

    def do(self, question: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(question, values).fetchall()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


NEW = ("series", "series_written", "outbox", "leases")


def test_a_file_of_an_earlier_release_is_used_as_it_is(host: Host) -> None:
    host.store.hold("earlier", 5)
    tables = {name for (name,) in host.do("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert not tables & {*NEW}, "as an earlier release left it"
    assert host.store.series("checkout") == []
    assert host.store.cursor("hook") is None
    host.store.release("me", of="alerts")
    host.store.append("checkout", 1, b"x")
    assert host.store.series("checkout") == [(1, b"x")]
    assert host.do("PRAGMA user_version") == [(1,)], "an earlier release goes on with it"
    assert not host.store.hold("me", 5), "and leads, if it leads"


def test_who_only_looks_creates_nothing(host: Host) -> None:
    assert host.store.series("checkout") == []
    assert host.store.cursor("hook") is None
    assert not host.path.exists()


def test_points_and_cursors_are_deleted_after_their_lives(host: Host) -> None:
    host.store.append("checkout", 1, b"x")
    host.store.append("checkout", 2, b"x")
    host.store.append("search", 1, b"x")
    assert host.store.advance("hook", None, "a")
    host.now += LIFE - 1
    host.store.append("search", 2, b"x")
    host.now += 2
    host.store.append("search", 3, b"x")
    assert host.store.series("checkout") == []
    assert [slot for slot, _ in host.store.series("search")] == [1, 2, 3]
    assert host.do("SELECT count(*) FROM series") == [(3,)]
    host.now += CURSOR_LIFE
    assert host.store.advance("another", None, "a")
    assert host.store.cursor("hook") is None


def test_namespaces_are_apart(host: Host) -> None:
    other = SqliteStore(host.path, "other", wall=lambda: host.now)
    host.store.append("checkout", 1, b"x")
    assert host.store.advance("hook", None, "a")
    assert host.store.hold("me", 5, of="alerts")
    assert other.series("checkout") == []
    assert other.advance("hook", None, "b")
    assert other.hold("you", 5, of="alerts")
    other.append("checkout", 1, b"y")
    assert host.store.series("checkout") == [(1, b"x")]
    other.close()


@pytest.mark.parametrize("spoiled", ["text", 7, None, 1.5, b"x" * (MAX_POINT + 1)])
def test_a_spoiled_point_in_a_file_is_an_error(host: Host, spoiled: object) -> None:
    host.store.append("checkout", 1, b"x")
    host.do("UPDATE series SET data = ?", spoiled)
    with pytest.raises(StoreCorruptError):
        host.store.series("checkout")


def test_a_spoiled_slot_in_a_file_is_an_error(host: Host) -> None:
    host.store.append("checkout", 1, b"x")
    host.do("UPDATE series SET slot = 'soon'")
    with pytest.raises(StoreCorruptError):
        host.store.series("checkout")


@pytest.mark.parametrize("spoiled", ["text", 7, None, b"", b"\xff", b"x" * (MAX_CURSOR + 1)])
def test_a_spoiled_cursor_in_a_file_is_an_error(host: Host, spoiled: object) -> None:
    assert host.store.advance("hook", None, "a")
    host.do("UPDATE outbox SET cursor = ?", spoiled)
    with pytest.raises(StoreCorruptError):
        host.store.cursor("hook")
    with pytest.raises(StoreCorruptError):
        host.store.advance("hook", "a", "b")


def test_a_clock_that_was_set_back_holds_no_named_lease(host: Host) -> None:
    assert host.store.hold("me", 4, of="alerts")
    host.now -= 900
    assert host.store.hold("you", 4, of="alerts")
