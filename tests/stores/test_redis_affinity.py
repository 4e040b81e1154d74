"""Claims, lease and totals in Redis: what other people put under our keys, and what we leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from canary_middleware.core.claims import encode_claim
from canary_middleware.errors import StoreCorruptError, StoreUnavailableError
from canary_middleware.stores import open_store
from canary_middleware.stores.redis import RedisStore
from canary_middleware.stores.redis_affinity import Call, ClaimScript
from canary_middleware.testing.affinity import FIRST, LIFE, keys
from canary_middleware.testing.totals import present
from tests.stores.strange import StrangeServer
from tests.support.redis import SharedRedis

GARBAGE: dict[str, Callable[[redis.Redis, str], object]] = {
    "nothing": lambda client, key: client.set(key, ""),
    "a text": lambda client, key: client.set(key, "canary"),
    "megabytes": lambda client, key: client.set(key, b"1:ab12:1:1:c:1" + b"0" * 4_000_000),
    "bytes": lambda client, key: client.set(key, b"\x00\xff"),
    "another version": lambda client, key: client.set(key, b"2:ab12:1:1:c:1"),
    "capital digits": lambda client, key: client.set(key, b"1:AB12:1:1:c:1"),
    "a long lineage": lambda client, key: client.set(key, b"1:" + b"a" * 65 + b":1:1:c:1"),
    "an epoch too large": lambda client, key: client.set(key, b"1:ab12:9007199254740992:1:c:1"),
    "a bucket too large": lambda client, key: client.set(key, b"1:ab12:1:1:c:9007199254740992"),
    "something after it": lambda client, key: client.set(key, b"1:ab12:1:1:c:1\n"),
    "a pickle": lambda client, key: client.set(key, b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "a list": lambda client, key: client.rpush(key, "1:ab12:1:1:c:1"),
    "a hash": lambda client, key: client.hset(key, "1", "1"),
}


class Shop:
    """One namespace, and the keys that anybody may write to."""

    def __init__(self, url: str, namespace: str) -> None:
        self.namespace = namespace
        self.store = open_store(url, namespace, timeout=5.0)
        self.client = redis.Redis.from_url(url, socket_timeout=5.0)

    def key(self, *parts: str) -> str:
        return ":".join((f"canary:{{{self.namespace}}}", *parts))

    def names(self) -> set[str]:
        return {str(key, "ascii") for key in self.client.scan_iter(f"*{self.namespace}*")}


@pytest.fixture
def shop(shared_redis: SharedRedis, namespace: str) -> Iterator[Shop]:
    shop = Shop(shared_redis.url, namespace)
    yield shop
    shop.store.close()
    shop.client.close()


def test_every_key_has_the_tag_and_an_end(shop: Shop) -> None:
    store = shop.store
    store.claim([FIRST, replace(FIRST, key="user", origin="alice")])
    store.claim([replace(FIRST, key="user", epoch=2)])
    store.hold("me", 4)
    store.put("checkout", "2:a", "b1", b"1")
    store.fold("checkout", "2:a", b"1", {"b1": b"1"}, b"")
    assert shop.names() == {
        shop.key("pin", "checkout", "alice"), shop.key("pin", "checkout", "user"),
        shop.key("lease"), shop.key("totals", "checkout", "2:a"),
        shop.key("written", "checkout", "2:a"), shop.key("folded", "checkout", "2:a"),
    }  # fmt: skip
    for name in shop.names():
        assert 0 < shop.client.pttl(name) <= 30 * 86_400_000
    assert shop.client.pttl(shop.key("pin", "checkout", "alice")) <= LIFE


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_claim_counts_as_absent_and_is_overwritten(shop: Shop, garbage: str) -> None:
    key = shop.key("pin", "checkout", "alice")
    GARBAGE[garbage](shop.client, key)
    assert keys(shop.store) == set()
    user = replace(FIRST, key="user", origin="alice")
    (claim,) = shop.store.claim([user])
    assert claim.bucket == FIRST.bucket
    (claim,) = shop.store.claim([FIRST])
    assert shop.client.get(key) == encode_claim(claim)
    assert 0 < shop.client.pttl(key) <= LIFE


def test_a_claim_without_an_end_gets_one(shop: Shop) -> None:
    key = shop.key("pin", "checkout", "alice")
    shop.client.set(key, b"1:ab12:1:1:s:0007")
    (claim,) = shop.store.claim([FIRST])
    assert claim.bucket == 7
    assert 0 < shop.client.pttl(key) <= LIFE


def test_a_lease_that_never_ends_is_none(shop: Shop) -> None:
    shop.client.set(shop.key("lease"), "somebody")
    assert shop.store.hold("me", 4)
    shop.client.delete(shop.key("lease"))
    shop.client.rpush(shop.key("lease"), "me")
    assert shop.store.hold("me", 4)
    assert not shop.store.hold("you", 4)


def test_totals_of_another_kind_are_swept_away_and_too_large_ones_told(shop: Shop) -> None:
    for part in ("totals", "written", "folded"):
        shop.client.set(shop.key(part, "checkout", "2"), "x")
    assert shop.store.read("checkout", "2") == []
    assert shop.store.put("checkout", "2", "b1", b"1")
    shop.client.delete(shop.key("written", "checkout", "2"))
    assert shop.store.read("checkout", "2")[0].age > 1e9, "nobody knows when"
    shop.client.hset(shop.key("totals", "checkout", "2"), "b2", b"x" * 300_000)
    with pytest.raises(StoreUnavailableError, match="the totals take more"):
        shop.store.read("checkout", "2")
    shop.client.hdel(shop.key("totals", "checkout", "2"), "b2")
    assert present(shop.store) == {"b1": b"1"}


def test_silent_totals_go_and_their_sum_stays_with_the_release(shop: Shop) -> None:
    store = shop.store
    for boot in ("b1", "b2", "b3"):
        store.put("checkout", "2", boot, b"1")
    store.fold("checkout", "2", b"1", {"b1": b"1"}, b"")
    for boot in ("", "b2"):
        shop.client.zincrby(shop.key("written", "checkout", "2"), -30 * 86_400, boot)
    store.put("checkout", "2", "b3", b"2")
    assert set(present(store)) == {"", "b2", "b3"}
    store.put("checkout", "2", "b4", b"1")
    assert present(store) == {"": b"1", "b3": b"2", "b4": b"1"}


def test_a_push_that_revokes_nothing_proper_is_refused_and_the_next_one_is_heard(
    shop: Shop,
) -> None:
    wrong = (b"", b"{}", b'{"rollout":"checkout","keys":["a"],"x":1}', b'{"rollout":1,"keys":[]}',
             b'{"rollout":"checkout","keys":"all"}', b'{"rollout":"checkout","keys":[1]}',
             b'{"rollout":"checkout","keys":["' + b"x" * 70_000 + b'"]}', b"\xff",
             b'{"rollout":"checkout","keys":[' + b'"a",' * 500 + b'"a"]}')  # fmt: skip
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        for message in wrong:
            shop.client.publish(shop.key("forget"), message)
            with pytest.raises(StoreCorruptError):
                subscription.receive(5.0)
        shop.store.forget("checkout", ["alice"])
        assert subscription.receive(5.0) == ("checkout", ("alice",))


def test_a_ready_client_that_decodes_is_as_good(shop: Shop, shared_redis: SharedRedis) -> None:
    with redis.Redis.from_url(shared_redis.url, decode_responses=True) as ready:
        store = RedisStore.from_client(ready, shop.namespace)
        assert store.claim([FIRST]) == shop.store.claim([FIRST])
        assert keys(store) == {"alice"}
        assert store.put("checkout", "2", "b1", b"\xff")
        assert present(store) == {"b1": b"\xff"}
        with store.listen() as subscription:
            assert subscription.receive(0.2) is None
            assert store.forget("checkout", None) == 1
            assert subscription.receive(5.0) == ("checkout", ())


def test_all_questions_of_a_request_are_one_call(shop: Shop) -> None:
    asks = [FIRST, replace(FIRST, key="user", origin="alice"), replace(FIRST, rollout="search")]
    call = ClaimScript(shop.namespace).call(asks)
    assert isinstance(call, Call)
    assert list(call.keys) == [
        shop.key("pin", "checkout", "alice"), shop.key("pin", "checkout", "user"),
        shop.key("pin", "checkout", "alice"), shop.key("pin", "search", "alice"),
    ]  # fmt: skip
    answer = shop.client.execute_command(*call.words)
    assert ClaimScript.winners(answer, len(asks)) == shop.store.claim(asks)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        1,
        b"",
        b"x",
        "1:ab12:1:1:c:1",
        [b"1:ab12:1:1:c:1"],
        b"1:ab12:1:1:c:1 1:ab12:1:1:c:1",
        b"1:ab12:1:1:c:1 ",
    ],
)
def test_an_answer_that_is_none_of_our_script_is_refused(answer: object) -> None:
    with pytest.raises(StoreUnavailableError):
        ClaimScript.winners(answer, 1)


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"$1\r\nx\r\n", b"*1\r\n:1\r\n", b"*0\r\n"])
def test_a_server_that_is_no_redis_is_told_as_such(answer: bytes) -> None:
    with StrangeServer(answer) as server:
        store = open_store(server.url, "shop", timeout=2.0)
        asked: list[Callable[[], Any]] = [
            lambda: store.claim([FIRST]), lambda: store.forget("checkout", ["alice"]),
            lambda: list(store.claims("checkout")),
        ]  # fmt: skip
        for question in asked:
            with pytest.raises(StoreUnavailableError):
                question()
        store.close()
