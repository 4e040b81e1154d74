from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from tests.support.fault_proxy import FaultProxy
from tests.support.redis import SharedRedis
from tests.support.servers import wait_until


@pytest.fixture
def proxy(shared_redis: SharedRedis) -> Iterator[FaultProxy]:
    target = urlsplit(shared_redis.url)
    with FaultProxy(target.port or 6379, target.hostname or "127.0.0.1") as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(proxy.url(), socket_timeout=0.2, single_connection_client=True) as c:
        yield c


def test_bytes_pass(client: redis.Redis, namespace: str) -> None:
    client.set(namespace, b"x" * 1_000_000, ex=5)
    assert len(client.get(namespace) or b"") == 1_000_000


@pytest.mark.alone
def test_latency_is_added_in_each_direction(proxy: FaultProxy, client: redis.Redis) -> None:
    client.ping()
    proxy.latency = 0.05
    start = time.monotonic()
    client.ping()
    assert 0.1 <= time.monotonic() - start < 0.2


def test_a_black_hole_is_silent_for_old_and_new(proxy: FaultProxy, client: redis.Redis) -> None:
    client.ping()
    proxy.black_hole()
    for _ in range(2):  # the second is on a new connection
        with pytest.raises(redis.TimeoutError):
            client.ping()
    proxy.heal()
    assert client.ping()


def test_dropping_new_connections_keeps_the_old(proxy: FaultProxy, client: redis.Redis) -> None:
    client.ping()
    proxy.drop_new()
    assert client.ping()
    with redis.Redis.from_url(proxy.url()) as other, pytest.raises(redis.ConnectionError):
        other.ping()
    proxy.heal()
    with redis.Redis.from_url(proxy.url()) as other:
        assert other.ping()


def test_a_cut_is_heard_by_a_blocked_reader(proxy: FaultProxy) -> None:
    with redis.Redis.from_url(proxy.url(), socket_timeout=5) as client, client.pubsub() as pubsub:
        pubsub.subscribe("somewhere")
        assert pubsub.get_message(timeout=1)
        proxy.cut()
        start = time.monotonic()
        with pytest.raises(redis.ConnectionError):
            pubsub.connection.read_response()
        assert time.monotonic() - start < 1


def test_it_counts_connections(proxy: FaultProxy, client: redis.Redis) -> None:
    before = proxy.accepted
    with redis.Redis.from_url(proxy.url()) as other:
        other.ping()
    wait_until(lambda: proxy.accepted == before + 1)
