"""Every form of a Redis URL, what is wrong with it, and how long its clients wait at most."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from canary_middleware.errors import ConfigurationError, StoreUnavailableError
from canary_middleware.stores import StateStore, open_store
from canary_middleware.stores.redis import RedisStore
from canary_middleware.stores.redis_address import RedisAddress
from canary_middleware.stores.redis_url import Kind
from tests.support.fault_proxy import FaultProxy
from tests.support.fleet import MASTER, Cluster, Sentinels

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "service"),
    [
        ("redis://", Kind.SERVER, [("localhost", 6379)], ""),
        ("redis://h:1/3", Kind.SERVER, [("h", 1)], ""),
        ("rediss://[::1]", Kind.SERVER, [("::1", 6379)], ""),
        ("unix:///run/r.sock?db=2", Kind.SERVER, [], ""),
        ("unix://u:p@/run/r.sock", Kind.SERVER, [], ""),
        ("redis+sentinel://a,b:1/m", Kind.SENTINEL, [("a", 26379), ("b", 1)], "m"),
        ("rediss+sentinel://[::1]:2/my%20m/4", Kind.SENTINEL, [("::1", 2)], "my m"),
        ("redis+cluster://a:1,b", Kind.CLUSTER, [("a", 1), ("b", 6379)], ""),
        ("rediss+cluster://a/0", Kind.CLUSTER, [("a", 6379)], ""),
    ],
)
def test_forms(url: str, kind: Kind, hosts: list[tuple[str, int]], service: str) -> None:
    address = RedisAddress.parse(url)
    assert (address.kind, list(address.hosts), address.service) == (kind, hosts, service)
    assert address.tls is url.startswith("rediss")
    assert address == RedisAddress.parse(url)
    assert hash(address) == hash(RedisAddress.parse(url))


def test_what_a_connection_is_told() -> None:
    url = f"rediss+sentinel://u:{SECRET}%23@a/m/4?ssl_ca_certs=/ca.pem&sentinel_password=other"
    address = RedisAddress.parse(url)
    told = dict(address.options)
    assert told == {
        "username": "u", "password": f"{SECRET}#", "db": 4, "ssl_ca_certs": "/ca.pem",
    }  # fmt: skip
    assert dict(address.sentinel_options) == {"password": "other"}
    assert SECRET not in repr(address)
    assert "other" not in repr(address)


def test_sentinels_and_their_master_are_both_reached_by_tls() -> None:
    address = RedisAddress.parse("rediss+sentinel://a/m?ssl_ca_certs=/ca.pem")
    master = address.connect(connect_timeout=1.0, timeout=1.0)
    assert isinstance(master, redis.Redis)
    later = address.connect_async(connect_timeout=1.0, timeout=1.0)
    assert isinstance(later, redis.asyncio.Redis)
    pools: list[tuple[Any, type]] = [
        (master.connection_pool, redis.SSLConnection),
        (later.connection_pool, redis.asyncio.SSLConnection),
    ]
    for pool, kind in pools:
        (asked,) = pool.sentinel_manager.sentinels
        for one in (pool, asked.connection_pool):
            assert issubclass(one.connection_class, kind)
            assert one.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
            assert one.connection_kwargs["retry"].get_retries() == 0
            assert one.connection_kwargs["socket_timeout"] == 1.0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis://h:{SECRET}/0", "no number from 1 to 65535"),
        ("redis+cluster://[::1]:port", "no number from 1 to 65535"),
        (f"redis://h {SECRET}:1/0", "escape special characters"),
        (f"unix://{SECRET}.sock", "the whole path[^$]*write unix:///run"),
        (f"unix://u:p@{SECRET}/r.sock", "the whole path"),
        ("unix://", "the whole path"),
        (f"redis://:a#{SECRET}@h/0", "escape special characters"),
        (f"redis://u:1/{SECRET}@h/0", "escape special characters"),
        (f"redis://:1?{SECRET}@h/0", "escape special characters"),
        (f"redis+cluster://u:a/{SECRET}@h:1", "escape special characters"),
        (f"redis+sentinel://u:a?{SECRET}@h:1/m", "escape special characters"),
        ("redis://h:70000", "no number from 1 to 65535"),
        ("redis://a,b", r"several servers[^$]*redis\+cluster://host1:6379"),
        ("redis+sentinel://a,b", r"does not name the master[^$]*name-of-the-master"),
        ("redis+sentinel://a/m/x", "no number"),
        ("redis+cluster://a/1", "none but 0"),
        (f"redis://h/{SECRET}", "no number"),
        ("redis://h?ssl_ca_cert=x", "did you mean ssl_ca_certs"),
        ("rediss://h?ssl_ca_cert=x", "did you mean ssl_ca_certs"),
        (f"redis://h?{SECRET}=1", r"docs/redis\.md"),
        (f"redis://h?socket_timeout={SECRET}", "'socket_timeout'"),
        (f"rediss://h?ssl_cert_reqs={SECRET}", "does not take"),
        ("rediss+cluster://h?ssl_min_version=771", "does not take"),
        (f"redis+vanguard://{SECRET}@h", "no store of kind 'redis.vanguard'"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_repeated(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        open_store(url, "shop")
    assert SECRET not in str(refused.value)


def test_credentials_come_from_one_place() -> None:
    with pytest.raises(ConfigurationError, match="leave user and password out"):
        open_store(f"redis://:{SECRET}@h", "shop", credentials=lambda: ("u", "p"))
    with pytest.raises(ConfigurationError, match="CredentialProvider"):
        open_store(redis.Redis(), "shop", credentials=lambda: ("u", "p"))
    with pytest.raises(ConfigurationError, match="are for the URL of a Redis"):
        open_store("memory://", "shop", credentials=lambda: ("u", "p"))


def test_who_waits_no_longer_is_not_overruled_by_the_url() -> None:
    address = RedisAddress.parse("redis://h?socket_timeout=5&socket_connect_timeout=0.01")
    client = address.within(0.02).connect(connect_timeout=0.02, timeout=0.02)
    told = client.get_connection_kwargs()
    assert (told["socket_timeout"], told["socket_connect_timeout"]) == (0.02, 0.01)
    told = address.connect(connect_timeout=1.0, timeout=1.0).get_connection_kwargs()
    assert (told["socket_timeout"], told["socket_connect_timeout"]) == (5, 0.01)


# --- ready clients --------------------------------------------------------------------------------


def test_the_address_of_a_ready_client_is_where_it_goes() -> None:
    provider = redis.UsernamePasswordCredentialProvider("u", "p")
    plain = redis.Redis("h", 1, db=2, credential_provider=provider, ssl=True, ssl_ca_certs="/ca")
    address = RedisAddress.of(plain)
    assert (address.kind, address.hosts, address.tls) == (Kind.SERVER, (("h", 1),), True)
    told = address.connect_async(connect_timeout=1, timeout=1).get_connection_kwargs()
    assert (told["credential_provider"], told["db"], told["ssl_ca_certs"]) == (provider, 2, "/ca")
    assert RedisAddress.of(redis.Redis(unix_socket_path="/s")).hosts == ()

    found = Sentinel([("a", 1), ("b", 2)], sentinel_kwargs={"password": "theirs"}, password="p")
    address = RedisAddress.of(found.master_for("m"))
    assert (address.kind, address.hosts) == (Kind.SENTINEL, (("a", 1), ("b", 2)))
    assert (address.service, dict(address.sentinel_options)) == ("m", {"password": "theirs"})
    with pytest.raises(ConfigurationError, match="replicas"):
        RedisAddress.of(found.slave_for("m"))
    stapled = redis.Redis(ssl=True, ssl_validate_ocsp_stapled=True)
    with pytest.raises(ConfigurationError, match="OCSP"):
        RedisAddress.of(stapled)


def test_ready_clients_of_fleets_are_stores(sentinels: Sentinels, cluster: Cluster) -> None:
    hosts = [("127.0.0.1", port) for port in sentinels.ports]
    master = Sentinel(hosts, socket_timeout=1.0).master_for(MASTER, socket_timeout=1.0)
    with RedisCluster("127.0.0.1", cluster.servers[0].port, socket_timeout=1.0) as shards:
        for client, kind in ((master, Kind.SENTINEL), (shards, Kind.CLUSTER)):
            store = open_store(client, "ready")
            assert isinstance(store, RedisStore)
            struck = store.kill("*", by="me", why="", now=1.0)
            assert store.load().document == struck
            assert store.address.kind is kind
            assert asyncio.run(evaluated(store.address, "{ready}")) == 7
            store.close()
    master.close()


async def evaluated(address: RedisAddress, key: str) -> object:
    client = address.connect_async(connect_timeout=1.0, timeout=1.0)
    try:
        return await client.execute_command("EVAL", "return 7", 1, key)
    finally:
        await client.aclose()


# --- patience -------------------------------------------------------------------------------------


def test_silent_sentinels_are_each_asked_once(sentinels: Sentinels) -> None:
    store = open_store(sentinels.url, "shop", connect_timeout=0.1, timeout=0.2)
    for process in sentinels.processes:
        process.pause()
    try:
        assert taken(store) < 3 * (0.1 + 0.2) + 0.4
        assert asyncio.run(waited(RedisAddress.parse(sentinels.url))) < 3 * (0.1 + 0.2) + 0.4
    finally:
        for process in sentinels.processes:
            process.resume()
    store.load()
    store.close()


def taken(store: StateStore) -> float:
    before = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        store.load()
    return time.monotonic() - before


async def waited(address: RedisAddress) -> float:
    client = address.connect_async(connect_timeout=0.1, timeout=0.2)
    before = time.monotonic()
    try:
        with pytest.raises((redis.RedisError, redis.exceptions.RedisClusterException)):
            await client.execute_command("EVAL", "return 1", 1, "{shop}")
        return time.monotonic() - before
    finally:
        await client.aclose()


def test_no_connection_to_a_sentinel_is_left_behind(sentinels: Sentinels) -> None:
    def connected() -> int:
        with redis.Redis(port=sentinels.ports[0]) as client:
            return len([one for one in client.client_list() if one["name"] == ""])

    before = connected()
    store = open_store(sentinels.url, "shop")
    store.load()
    with store.listen() as subscription:
        subscription.receive(0.05)
    store.close()
    assert connected() == before


def test_a_cluster_that_moved_is_found_by_its_url(tmp_path: Path, cluster: Cluster) -> None:
    """All nodes have new addresses, as an orchestrator gives them; the name leads there."""
    with Cluster(tmp_path) as first, FaultProxy(first.servers[0].port) as name:
        store = open_store(name.url().replace("redis:", "redis+cluster:"), "moved")
        store.load()
        name.lead_to(cluster.servers[0].port)
        for server in first.servers:
            server.kill()
        taken(store)
        struck = store.kill("*", by="me", why="", now=1.0)
    other = open_store(cluster.url, "moved")
    assert other.load().document == struck
    store.close()
    other.close()


def test_a_silent_cluster_is_asked_once(cluster: Cluster) -> None:
    store = open_store(cluster.url, "shop", connect_timeout=0.1, timeout=0.2)
    store.load()
    for server in cluster.servers:
        server.pause()
    try:
        # The node of the slot, and once more each of all when it does not answer.
        assert taken(store) < 5 * (0.1 + 0.2) + 0.4
        assert taken(store) < 4 * (0.1 + 0.2) + 0.4, "and anew from the URL"
        assert asyncio.run(waited(RedisAddress.parse(cluster.url))) < 4 * (0.1 + 0.2) + 0.4
    finally:
        for server in cluster.servers:
            server.resume()
    cluster.settle()
    store.load()
    store.close()
