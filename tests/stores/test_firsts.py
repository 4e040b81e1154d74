"""First events: the rule against a model, and what time, garbage and old files do to them."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore, open_store
from canary_middleware.stores.firsts import EVERYBODY, LIFE, WATCHED, Count
from canary_middleware.stores.protocol import First, Firsts
from canary_middleware.testing.firsts import count, counts, failed
from tests.stores.sqlite_shop import STARTED, Clock
from tests.stores.sqlite_shop import Shop as SqliteShop
from tests.stores.strange import StrangeServer
from tests.stores.test_redis_affinity import Shop
from tests.support.redis import RedisServer, SharedRedis


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteShop]:
    shop = SqliteShop(tmp_path)
    yield shop
    for store in shop.opened:
        store.close()


@pytest.fixture
def shop(shared_redis: SharedRedis, namespace: str) -> Iterator[Shop]:
    shop = Shop(shared_redis.url, namespace)
    yield shop
    shop.store.close()
    shop.client.close()


# --- the rule -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Burst:
    """Many events in a row: few examples reach thousands of visitors one by one."""

    kind: str
    start: int
    step: int
    length: int
    period: int
    cohort: Cohort

    def events(self) -> list[First]:
        hashes = ((self.start + n * self.step) % EVERYBODY for n in range(self.length))
        return [First(self.kind, hashed, self.period, self.cohort) for hashed in hashes]


BURSTS = st.builds(
    Burst,
    kind=st.sampled_from(("errors", "slow")),
    start=st.sampled_from((0, 1, EVERYBODY // 2 - 100, EVERYBODY - 1)) | st.integers(0, 2**53 - 1),
    step=st.sampled_from((1, 3, 2**40 + 1, 2**41, EVERYBODY // WATCHED)) | st.integers(1, 2**50),
    length=st.sampled_from((1, 499, 501, WATCHED - 1, WATCHED, WATCHED + 1)) | st.integers(1, 900),
    period=st.integers(1, 3),
    cohort=st.sampled_from(Cohort),
)
LISTS = st.lists(BURSTS, min_size=1, max_size=4)


def modelled(events: list[First]) -> dict[Count, int]:
    """What is promised, one kind after the other: they have nothing to do with each other."""
    counted: Counter[Count] = Counter()
    for kind in {event.kind for event in events}:
        limit, watched = 2.0**53, set[int]()
        for event in (event for event in events if event.kind == kind):
            if event.visitor < limit and event.visitor not in watched:
                watched.add(event.visitor)
                counted[event[0], event[2], event[3]] += 1
            while len(watched) >= 4096:
                limit /= 2
                watched = {visitor for visitor in watched if visitor < limit}
    return dict(counted)


def follows_the_model(store: Firsts, bursts: list[Burst], run: int = 1) -> None:
    events = [burst.events() for burst in bursts]
    for some in events:
        store.first("checkout", "2", run, some)
    expected = modelled(list(itertools.chain(*events)))
    assert store.firsts("checkout", "2", run) == expected
    for some in events:
        store.first("checkout", "2", run, some)
    assert store.firsts("checkout", "2", run) == expected, "all of it was there before"


@given(LISTS)
@settings(max_examples=30)
def test_memory_follows_the_model(bursts: list[Burst]) -> None:
    follows_the_model(MemoryStore(), bursts)


def test_redis_follows_the_model(shop: Shop) -> None:
    runs = itertools.count()

    @given(LISTS)
    @settings(max_examples=10)
    def check(bursts: list[Burst]) -> None:
        follows_the_model(shop.store, bursts, next(runs))

    check()


def test_sqlite_follows_the_model(file: SqliteShop) -> None:
    runs = itertools.count()

    @given(LISTS)
    @settings(max_examples=10)
    def check(bursts: list[Burst]) -> None:
        follows_the_model(file.store, bursts, next(runs))

    check()


# --- in memory and in a file ----------------------------------------------------------------------


def test_a_run_is_forgotten_90_days_after_its_last_event() -> None:
    clock = Clock()
    store = MemoryStore(wall=clock)
    ends(store, clock)


def test_a_file_forgets_it_too_and_keeps_no_row(file: SqliteShop) -> None:
    ends(file.store, file.clock)
    file.store.first("checkout", "3", 1, [failed(1)])
    assert [file.count(f"first_{part}") for part in ("kinds", "visitors", "counts")] == [1, 1, 1]


def ends(store: Firsts, clock: Clock) -> None:
    count(store, [failed(1), First("slow", 1, 17, Cohort.STABLE)])
    clock.now += LIFE - 1
    count(store, [failed(1)])
    clock.now += LIFE - 1
    assert len(counts(store)) == 2, "the kinds of a run end together"
    clock.now += 2
    assert counts(store) == {}


def test_a_file_of_an_earlier_release_is_used_on_by_both(file: SqliteShop) -> None:
    file.start()
    earlier, ours = file.open(), file.open()
    assert earlier.load().document == STARTED
    assert counts(ours) == {}
    count(ours, [failed(1)])
    assert sum(counts(ours).values()) == 1
    assert earlier.load().document == STARTED
    with sqlite3.connect(file.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,), "others are refused"
    connection.close()


def test_who_only_reads_makes_no_tables(file: SqliteShop) -> None:
    assert counts(file.store) == {}
    assert not file.path.exists()
    file.start()
    assert counts(file.store) == {}
    assert file.count("sqlite_master WHERE name LIKE 'first_%'") == 0


@pytest.mark.parametrize(
    "spoiled",
    [("cohort", "beta"), ("count", "many"), ("count", None), ("period", b"\xff")],
)
def test_what_others_wrote_into_a_file_is_told(
    file: SqliteShop, spoiled: tuple[str, object]
) -> None:
    count(file.store, [failed(1)])
    column, value = spoiled
    file.spoil(f"UPDATE first_counts SET {column} = ?", value)
    with pytest.raises(StoreUnavailableError, match="none of ours"):
        counts(file.store)


# --- in Redis -------------------------------------------------------------------------------------


def test_a_run_is_one_key_with_an_end(shop: Shop) -> None:
    shop.store.first("checkout", "2:a", 5, [failed(1), First("slow", 2, 17, Cohort.STABLE)])
    assert shop.names() == {shop.key("firsts", "checkout", "2:a", "5")}
    assert LIFE * 1000 - 60_000 < shop.client.pttl(shop.names().pop()) <= LIFE * 1000


def test_a_watch_that_was_thinned_takes_little_room(shop: Shop) -> None:
    count(shop.store, Burst("errors", 0, 2**39, 9_000, 17, Cohort.CANARY).events())
    key = shop.key("firsts", "checkout", "2", "5")
    assert 2 < shop.client.hlen(key) < WATCHED + 2
    assert (shop.client.memory_usage(key, samples=0) or 0) in range(100_000, 500_000)


@pytest.mark.parametrize(
    "line", [b"", b"errors", b"-1 1", b"1 1 17:x:1", b"1 1 17:c:1\n", b"\xff", b"1" * 300_000]
)
def test_what_others_wrote_is_told_and_left_as_it_is(shop: Shop, line: bytes) -> None:
    count(shop.store, [failed(1)])
    key = shop.key("firsts", "checkout", "2", "5")
    shop.client.hset(key, "errors", line)
    before = shop.client.hgetall(key)
    with pytest.raises(StoreUnavailableError, match="none of ours"):
        counts(shop.store)
    with pytest.raises(StoreUnavailableError, match="none of ours"):
        count(shop.store, [failed(2)])
    assert shop.client.hgetall(key) == before


def test_a_key_of_another_kind_is_swept_away(shop: Shop) -> None:
    key = shop.key("firsts", "checkout", "2", "5")
    shop.client.set(key, "x")
    assert counts(shop.store) == {}
    shop.client.rpush(key, "x")
    count(shop.store, [failed(1)])
    assert sum(counts(shop.store).values()) == 1


def test_a_limit_that_others_lowered_ends_in_no_endless_loop(shop: Shop) -> None:
    count(shop.store, [failed(0)])
    shop.client.hset(shop.key("firsts", "checkout", "2", "5"), "errors", "2 4095 17:c:1")
    count(shop.store, [failed(1), failed(2)])
    assert counts(shop.store) == {("errors", 17, Cohort.CANARY): 2}


def test_out_of_memory_nothing_is_counted_and_all_of_it_later(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url, "shop")
    count(store, [failed(1)])
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailableError, match=r"OOM|maxmemory"):
            count(store, [failed(2), failed(3)])
        assert sum(counts(store).values()) == 1, "reads go on"
        client.config_set("maxmemory", "0")
    count(store, [failed(2), failed(3)])
    assert sum(counts(store).values()) == 3
    store.close()


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*1\r\n$1\r\nx\r\n", b":1\r\n",
                                    b"*2\r\n$1\r\nx\r\n$7\r\n1 1 x:c\r\n"])  # fmt: skip
def test_a_server_that_is_no_redis_is_told_as_such(answer: bytes) -> None:
    with StrangeServer(answer) as server:
        store = open_store(server.url, "shop", timeout=2.0)
        with pytest.raises(StoreUnavailableError):
            counts(store)
        store.close()
