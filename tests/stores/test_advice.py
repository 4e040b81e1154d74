"""What people are told of a server that could lose the control state, or is too old."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from canary_middleware import Canary, Rollout
from canary_middleware.cli import main
from canary_middleware.stores import MemoryStore, open_store
from canary_middleware.stores.advice import of_redis, warnings_of
from tests.support.redis import RedisServer
from tests.support.servers import wait_until

EVICTING = "redis_version:7.0.15\r\nmaxmemory:1048576\r\nmaxmemory_policy:allkeys-lru\r\n"


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (EVICTING, "with maxmemory-policy allkeys-lru the server may evict the control state"),
        (EVICTING.replace("lru", "random"), "with maxmemory-policy allkeys-random the server"),
        ("redis_version:6.0.16\r\n", "the server is Redis 6.0.16, and 6.2 is the oldest"),
        ("redis_version:5.0\r\n", "the server is Redis 5.0, and 6.2 is the oldest"),
    ],
)
def test_what_endangers_the_state_is_told(info: str, said: str) -> None:
    (warning,) = of_redis(info)
    assert warning.startswith(said)


@pytest.mark.parametrize(
    "info",
    [
        "",
        "no facts at all",
        "redis_version:many.words\r\n",
        "redis_version:6.2.0\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction",
        "redis_version:10.0\r\nmaxmemory:1\r\nmaxmemory_policy:volatile-lru",
        EVICTING.replace("1048576", "0"),
    ],
)
def test_what_is_well_or_unknown_is_not_told(info: str) -> None:
    assert of_redis(info) == ()


def test_a_store_in_memory_has_nothing_to_say() -> None:
    assert warnings_of(MemoryStore()) == ()


def test_an_application_and_status_tell_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with RedisServer(
        tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu"
    ) as server:
        canary = Canary(
            Rollout("shop", stable="1", canary="2"), namespace="shop", store=server.url,
            secret_keys=["k" * 32], poll=0.2, max_staleness=60.0,
        )  # fmt: skip
        with caplog.at_level(logging.WARNING, "canary_middleware"):
            canary.arrive_blocking()
            wait_until(lambda: "allkeys-lfu" in caplog.text, what="the log says it")
            server.kill()
            wait_until(lambda: "degraded" in caplog.text, what="it is missed")
            server.start()
            wait_until(lambda: "recovered" in caplog.text, what="it goes on")
        canary.stop()
        assert caplog.text.count("allkeys-lfu") == 1
        assert main(["status", "--store", server.url, "--namespace", "shop"]) == 0
        assert "WARNING: with maxmemory-policy allkeys-lfu" in capsys.readouterr().out


def test_a_server_that_may_not_be_asked_is_not_blamed(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.acl_setuser(
            "app", enabled=True, passwords=["+pw"], keys="*", channels="*",
            categories=["+@all"], commands=["-info"],
        )  # fmt: skip
    silent = open_store(redis_server.url.replace("//", "//app:pw@"), "shop")
    asked = open_store(redis_server.url, "shop")
    assert warnings_of(silent) == ()
    assert len(warnings_of(asked)) == 1
    silent.close()
    asked.close()
