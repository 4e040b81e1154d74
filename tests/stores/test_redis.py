"""What only a real server can do to us: other people's values, no memory, no permission."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from canary_middleware import verbs
from canary_middleware.core.codec import (
    MAX_BYTES,
    MAX_REVISION,
    encode_audit,
    encode_body,
    encode_report,
)
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.errors import (
    ConfigurationError,
    NotPersistedError,
    StoreCorruptError,
    StoreError,
    StoreUnavailableError,
)
from canary_middleware.stores import StateStore, open_store
from canary_middleware.stores.protocol import SILENT_LIFE, Subscription
from canary_middleware.stores.redis import RedisStore
from tests.stores.strange import StrangeServer
from tests.support.redis import RedisServer, SharedRedis
from tests.support.servers import wait_until

STARTED = apply(Document("ab12"), Command(Verb.START, "checkout", plan=Plan("1", "2")), 5.5)
AUDIT = Audit(5.5, "me", "start", "checkout", "idle", "paused", "", 1)


class Shop:
    """One namespace, and the keys that anybody may write to."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.store = open_store(url, namespace, timeout=5.0)
        self.client = redis.Redis.from_url(url, socket_timeout=5.0)
        self.state, self.audit, self.kill_key, self.processes, self.heard = (
            f"canary:{{{namespace}}}:{name}"
            for name in ("state", "audit", "kill", "processes", "heard")
        )

    def start(self) -> None:
        assert self.store.swap(None, STARTED, AUDIT)

    def close(self) -> None:
        self.store.close()
        self.client.close()


def pushes(subscription: Subscription) -> list[Document]:
    """What arrives within four seconds, and at once after it; raises what the subscription does."""
    found: list[object] = []
    until = time.monotonic() + 4.0
    while not any(found) and time.monotonic() < until:
        found.append(subscription.receive(0.25))
    found.append(subscription.receive(0.1))
    return [document for document in found if isinstance(document, Document)]


@pytest.fixture
def shop(shared_redis: SharedRedis, namespace: str) -> Iterator[Shop]:
    shop = Shop(shared_redis.url, namespace)
    yield shop
    shop.close()


def test_keys_share_one_hash_tag_and_reports_expire(shop: Shop) -> None:
    shop.start()
    shop.store.kill(EVERYTHING, by="me", why="", now=1.0)
    shop.store.report(ProcessReport("p", "h", 1, "asgi", 1, None))
    expected = {shop.state, shop.audit, shop.processes, shop.heard}
    assert set(shop.client.keys(f"*{shop.namespace}*")) == {key.encode() for key in expected}
    assert 0 < shop.client.ttl(shop.processes) <= SILENT_LIFE + 60
    assert 0 < shop.client.ttl(shop.heard) <= SILENT_LIFE + 60


@pytest.mark.parametrize("braces", [True, False])
def test_the_plain_kill_key_counts_with_and_without_braces(shop: Shop, braces: bool) -> None:
    key = shop.kill_key if braces else f"canary:{shop.namespace}:kill"
    shop.client.set(key, "smoke ☁")
    assert shop.store.load().kill_key == "smoke ☁"
    shop.client.set(key, b"\xff\x00" + b"x" * 100_000)
    assert len(shop.store.load().kill_key or "") == 2_000
    shop.client.set(key, "")
    assert shop.store.load().kill_key == ""
    shop.client.delete(key)
    shop.client.lpush(key, "x")
    assert shop.store.load().kill_key == "the kill key is a list"
    shop.client.delete(key)
    assert shop.store.load().kill_key is None


def test_a_swap_clears_only_the_kill_key_that_was_seen(shop: Shop) -> None:
    shop.client.set(shop.kill_key, "one")
    shop.client.set(f"canary:{shop.namespace}:kill", "two")
    assert not shop.store.swap(None, STARTED, AUDIT, clears="two")
    assert shop.store.load().document is None
    assert shop.store.swap(None, STARTED, AUDIT, clears="one")
    assert shop.store.load().kill_key is None


@pytest.mark.parametrize("reason", [b"d\xe9pass\xe9", b"a" + "é".encode() * 1_500, b"\x00\xff"])
@pytest.mark.parametrize("decode", [False, True])
def test_a_kill_key_of_any_bytes_kills_and_is_cleared(
    shop: Shop, reason: bytes, decode: bool
) -> None:
    shop.client.set(shop.kill_key, reason)
    with redis.Redis.from_url(shop.url, decode_responses=decode) as ready:
        store = open_store(ready, shop.namespace)
        status = verbs.status(store)
        assert EVERYTHING in status.kills
        assert status.kill_key is not None
        assert status.kill_key.isprintable()
        verbs.revive(store, by="me")
    assert not shop.client.exists(shop.kill_key)


def hash_with(**fields: str | bytes) -> Callable[[Shop], object]:
    good: dict[Any, Any] = {
        "lineage": "ab12",
        "revision": "1",
        "body": encode_body(STARTED),
        **fields,
    }
    return lambda shop: shop.client.hset(shop.state, mapping=good)


GARBAGE: dict[str, Callable[[Shop], object]] = {
    "a string": lambda shop: shop.client.set(shop.state, "{}"),
    "a list": lambda shop: shop.client.lpush(shop.state, "x"),
    "a missing field": lambda shop: shop.client.hset(shop.state, "lineage", "ab12"),
    "truncated JSON": hash_with(body=encode_body(STARTED)[:-9]),
    "no UTF-8": hash_with(body=b'{"lifted":{},"rollouts":{"\xff":{}}}'),
    "NaN": hash_with(body=encode_body(STARTED).replace(b'"weight":0', b'"weight":NaN')),
    "-1": hash_with(body=encode_body(STARTED).replace(b'"weight":0', b'"weight":-1')),
    "1e308": hash_with(body=encode_body(STARTED).replace(b'"weight":0', b'"weight":1e308')),
    "a pickle": hash_with(body=b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "a kill that is none": hash_with(**{"kill:*": "yes"}),
    "revision in words": hash_with(revision="many"),
    "lineage that breaks out": hash_with(lineage='a","revision":9,"x":"'),
    "64 MB in the body": hash_with(body=b"x" * 64 * 2**20),
    "64 MB in a kill": hash_with(**{"kill:*": b"x" * 64 * 2**20}),
    "many fields": lambda shop: shop.client.hset(
        shop.state, mapping={f"f{number}": "x" for number in range(2_000)}
    ),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_in_the_state_is_told_and_never_transferred(shop: Shop, kind: str) -> None:
    GARBAGE[kind](shop)
    shop.client.set(shop.kill_key, "still honoured")
    before = time.perf_counter()
    loaded = shop.store.load()
    assert time.perf_counter() - before < 1.0
    assert loaded.document is None
    assert isinstance(loaded.corrupt, StoreCorruptError)
    assert loaded.kill_key == "still honoured"
    assert not shop.store.swap(None, STARTED, AUDIT), "nobody overwrites what is not understood"


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_kill_over_garbage_sets_the_plain_key(shop: Shop, kind: str) -> None:
    GARBAGE[kind](shop)
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        struck = shop.store.kill("checkout", by="me", why="smoke", now=7.0)
        with pytest.raises(StoreCorruptError):
            pushes(subscription)
    assert EVERYTHING in struck.kills
    assert shop.store.load().kill_key == "kill of checkout, state unreadable: smoke"


def test_garbage_beside_the_state_stops_nothing(shop: Shop) -> None:
    for key in (shop.audit, shop.processes, shop.heard):
        shop.client.set(key, "garbage")
    shop.start()
    assert shop.store.history(None, 9) == [AUDIT]
    shop.client.lpush(shop.audit, b"\xff", "{}", "x" * 100_000)
    assert shop.store.history(None, 9) == [AUDIT]
    report = ProcessReport("p", "h", 1, "asgi", 1, None)
    shop.store.report(report)
    for number, junk in enumerate((b"\xff", b"{}", b"x" * 2**20)):
        shop.client.hset(shop.processes, f"j{number}", junk)
        shop.client.zadd(shop.heard, {f"j{number}": time.time()})
    assert [found.id for found in shop.store.processes()] == ["p"]


def test_an_overlong_report_is_refused_or_left_out(shop: Shop) -> None:
    large = Plan("1", "2", paths=tuple(f"/{number:0900}" for number in range(280)))
    report = ProcessReport("p", "h", 1, "asgi", 1, None, {"checkout": large})
    shop.store.report(report)
    assert [found.plans for found in shop.store.processes()] == [{"checkout": large}]
    with pytest.raises(StoreError, match="would take"):
        shop.store.report(replace(report, plans={"checkout": large, "search": large}))
    text = shop.client.hget(shop.processes, "p")
    for number in range(80):
        shop.client.hset(shop.processes, f"p{number}", text)
        shop.client.zadd(shop.heard, {f"p{number}": time.time()})
    assert 1 < len(shop.store.processes()) < 80, "what comes back is bounded"


def test_at_the_last_revision_a_kill_sets_the_plain_key(shop: Shop) -> None:
    last = replace(STARTED, revision=MAX_REVISION)
    assert shop.store.swap(None, last, AUDIT)
    shop.store.kill("checkout", by="me", why="smoke", now=7.0)
    loaded = shop.store.load()
    assert loaded.document == last, "it stays readable"
    assert loaded.kill_key == "kill of checkout, state unreadable: smoke"


def test_silent_processes_are_forgotten_and_pruned(shop: Shop) -> None:
    for name in ("old", "new"):
        shop.store.report(ProcessReport(name, "h", 1, "asgi", 1, None))
    shop.client.zadd(shop.heard, {"old": time.time() - 20})
    assert [report.id for report in shop.store.processes()] == ["new"]
    assert [report.id for report in shop.store.lately()] == ["old", "new"]
    shop.client.zadd(shop.heard, {"old": time.time() - SILENT_LIFE - 5})
    shop.store.report(ProcessReport("new", "h", 1, "asgi", 2, None))
    assert [report.id for report in shop.store.lately()] == ["new"]
    assert shop.client.hkeys(shop.processes) == [b"new"]


def test_of_too_many_silent_processes_the_newest_count(shop: Shop) -> None:
    """A fleet that dies and comes back all the time leaves thousands in an hour."""
    gone = encode_report(ProcessReport("gone", "h", 1, "asgi", 1, None))
    ids = [f"gone{number}" for number in range(5_100)]
    shop.client.hset(shop.processes, mapping=dict.fromkeys(ids, gone))
    shop.client.zadd(shop.heard, dict.fromkeys(ids, time.time() - 60))
    shop.store.report(ProcessReport("living", "h", 1, "asgi", 1, None))
    found = shop.store.lately()
    assert (len(found), found[-1].id) == (5_000, "living")
    assert [one.id for one in shop.store.processes()] == ["living"]


def test_history_keeps_a_thousand_lines(shop: Shop) -> None:
    shop.start()
    shop.client.rpush(shop.audit, *["{}"] * 1_500)
    shop.store.kill(EVERYTHING, by="me", why="", now=1.0)
    assert shop.client.llen(shop.audit) == 1_000


def test_history_is_at_most_16_megabytes_and_the_newest_lines(shop: Shop) -> None:
    shop.start()
    line = encode_audit(replace(AUDIT, action="padded")) + b" " * 60_000
    shop.client.rpush(shop.audit, *[line] * 300)
    found = shop.store.history(None, 1_000)
    assert found[0] == AUDIT
    assert len(found) == 1 + (2**24 - len(encode_audit(AUDIT))) // len(line)


def test_a_document_too_large_to_be_read_is_never_written(shop: Shop) -> None:
    plan = Plan("1", "2", paths=tuple(f"/{number:0900}" for number in range(300)))
    large = apply(Document("ab12"), Command(Verb.START, "checkout", plan=plan), 5.5)
    assert len(encode_body(large)) > MAX_BYTES
    with pytest.raises(Exception, match="would take"):
        shop.store.swap(None, large, AUDIT)
    assert shop.store.load().document is None


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"x" * 300_000])
def test_a_push_that_is_no_state_does_not_end_the_subscription(shop: Shop, data: bytes) -> None:
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        shop.client.publish(f"canary:{{{shop.namespace}}}:push", data)
        with pytest.raises(StoreCorruptError):
            pushes(subscription)
        shop.start()
        assert pushes(subscription) == [STARTED]


def test_out_of_memory_a_kill_is_pushed_but_not_written(redis_server: RedisServer) -> None:
    shop = Shop(redis_server.url, "shop")
    shop.start()
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        shop.client.config_set("maxmemory", "1")
        with pytest.raises(NotPersistedError, match=r"OOM|maxmemory"):
            shop.store.kill(EVERYTHING, by="me", why="smoke", now=7.0)
        pushed = pushes(subscription)
    assert [document.kills[EVERYTHING].why for document in pushed] == ["smoke"]
    assert shop.store.load().document == STARTED, "reads go on"
    paused = apply(STARTED, Command(Verb.WEIGHT, "checkout", weight=1), 8.0)
    with pytest.raises(StoreUnavailableError):
        shop.store.swap(STARTED.key, paused, AUDIT)
    assert shop.store.load().document == STARTED, "a refused write changes nothing"
    shop.close()


def test_out_of_memory_and_unreadable_a_kill_still_reaches_the_listeners(
    redis_server: RedisServer,
) -> None:
    shop = Shop(redis_server.url, "shop")
    shop.client.set(shop.state, "garbage")
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        shop.client.config_set("maxmemory", "1")
        with pytest.raises(NotPersistedError):
            shop.store.kill("checkout", by="me", why="smoke", now=7.0)
        pushed = pushes(subscription)
    assert [EVERYTHING in document.kills for document in pushed] == [True]
    shop.close()


def test_a_read_only_replica_pushes_the_kill_and_says_so(redis_server: RedisServer) -> None:
    shop = Shop(redis_server.url, "shop")
    shop.start()
    # A replica of a master that does not exist keeps its data and refuses writes.
    shop.client.replicaof("127.0.0.1", "1")
    shop.client.config_set("replica-serve-stale-data", "yes")
    with shop.store.listen() as subscription:
        assert subscription.receive(0.2) is None
        with pytest.raises(NotPersistedError, match=r"(?i)read.?only"):
            shop.store.kill(EVERYTHING, by="me", why="smoke", now=7.0)
        pushed = pushes(subscription)
    assert [EVERYTHING in document.kills for document in pushed] == [True]
    with pytest.raises(StoreUnavailableError):
        shop.store.swap(STARTED.key, STARTED, AUDIT)
    shop.close()


def test_nothing_waits_for_a_server_that_does_not_answer(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url, "shop")
    store.load()
    with store.listen() as subscription:
        assert subscription.receive(0.2) is None
        redis_server.pause()
        try:
            before = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                store.load()
            assert time.monotonic() - before < 1.0
            with pytest.raises(StoreUnavailableError, match="no answer"):
                pushes(subscription)
        finally:
            redis_server.resume()
    assert store.load().document is None
    redis_server.kill()
    before = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.load()
    assert time.monotonic() - before < 0.5
    store.close()


def test_a_silent_server_that_answers_pings_keeps_its_subscription(shop: Shop) -> None:
    with shop.store.listen() as subscription:
        for _ in range(12):
            assert subscription.receive(0.25) is None
        shop.start()
        assert pushes(subscription) == [STARTED]


def test_a_ready_client_is_used_and_never_closed(shared_redis: SharedRedis, namespace: str) -> None:
    with shared_redis.client() as client:  # it decodes its answers
        store = open_store(client, namespace)
        assert store.swap(None, STARTED, AUDIT)
        assert store.load().document == STARTED
        assert store.history(None, 1) == [AUDIT]
        with store.listen() as subscription:
            assert subscription.receive(0.2) is None
            struck = store.kill(EVERYTHING, by="me", why="é", now=1.0)
            assert pushes(subscription) == [struck]
        client.hset(f"canary:{{{namespace}}}:state", "body", b"\xff")
        assert store.load().corrupt is not None
        store.close()
        assert client.ping()


def test_open_store_refuses_what_is_no_store() -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.asyncio"):
        open_store(redis.asyncio.Redis(), "shop")
    with pytest.raises(ConfigurationError) as refused:
        open_store("mysql://user:hunter2@host", "shop")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigurationError):
        open_store("redis://host:hunter2/0", "shop")


@pytest.mark.alone
def test_a_url_says_its_own_time_outs(redis_server: RedisServer) -> None:
    store = open_store(f"{redis_server.unix_url}&socket_timeout=0.05", "shop")
    assert isinstance(store, RedisStore)
    assert store.swap(None, STARTED, AUDIT)
    redis_server.pause()
    before = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.load()
    assert time.monotonic() - before < 0.3
    redis_server.resume()
    store.close()


ANSWERS: dict[str, bytes] = {
    "a word": b"+OK\r\n",
    "a number": b":7\r\n",
    "a large number": b":2000000000\r\n",
    "nothing": b"$-1\r\n",
    "an empty list": b"*0\r\n",
    "a null list": b"*-1\r\n",
    "numbers": b"*3\r\n:1\r\n:2000000000\r\n:3\r\n",
    "lists": b"*3\r\n*0\r\n*0\r\n*0\r\n",
    "a list of five": b"*5\r\n" + b"$1\r\nx\r\n" * 5,
    "a list with an error": b"*3\r\n-ERR no\r\n$1\r\nx\r\n$-1\r\n",
    "a length in words": b"$many\r\n",
    "a number in words": b":many\r\n",
    "an empty line": b"\r\n",
    "a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "lists in lists": b"*1\r\n" * 100_000,
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_of_no_redis_are_store_errors(kind: str) -> None:
    with StrangeServer(ANSWERS[kind], push=ANSWERS[kind]) as server:
        store = open_store(server.url, "shop")
        questions: list[Callable[[], object]] = [
            store.load,
            lambda: store.swap(None, STARTED, AUDIT),
            lambda: store.kill(EVERYTHING, by="me", why="", now=1.0),
        ]
        if "list" not in kind:  # of lines and reports those that are not ours are left out
            questions += [store.processes, lambda: store.history(None, 9)]
        if kind != "a word":  # which may be a pong
            questions += [lambda: listened(store)]
        for ask in questions:
            with pytest.raises(StoreError):
                ask()
        store.close()


def listened(store: StateStore) -> None:
    with store.listen() as subscription:
        for _ in range(20):
            subscription.receive(0.25)


def test_threads_that_come_at_once_leave_no_connection_behind(shop: Shop) -> None:
    made: list[redis.Redis] = []
    line = threading.Barrier(8)

    def connect() -> redis.Redis:
        client = redis.Redis.from_url(shop.url, client_name=shop.namespace)
        made.append(client)
        time.sleep(0.02)  # long enough for the other threads to come here, too
        return client

    def connections() -> list[object]:
        return [c for c in shop.client.client_list() if c["name"] == shop.namespace]

    store = RedisStore(connect, shop.namespace, owned=True)

    def work() -> None:
        line.wait()
        store.load()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) > 1
    assert connections()
    store.close()
    wait_until(lambda: not connections(), what="all are closed")


def test_scripts_write_what_the_codec_reads(shop: Shop) -> None:
    shop.start()
    struck = shop.store.kill("checkout", by="/\\\"'", why="é ☁", now=1e9)
    assert shop.store.load().document == struck
    assert (struck.kills["checkout"].by, struck.kills["checkout"].why) == ("/\\\"'", "é ☁")


def test_without_redis_py_the_extra_is_named_and_memory_works() -> None:
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "from canary_middleware.errors import MissingExtraError\n"
        "from canary_middleware.stores import open_store\n"
        "open_store('memory://', 'shop')\n"
        "try: open_store('redis://localhost', 'shop')\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'canary-middleware[redis]'" in done.stdout
