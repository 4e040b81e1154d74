from __future__ import annotations

import os
from pathlib import Path

import pytest
import redis

from tests.support.redis import RedisServer, SharedRedis, connect, server_binary


def test_both_addresses_reach_the_same_server(redis_server: RedisServer) -> None:
    with redis_server.client() as tcp, connect(redis_server.unix_url) as unix:
        tcp.set("colour", "yellow")
        assert unix.get("colour") == "yellow"


@pytest.mark.parametrize(("empty", "left"), [(True, None), (False, "yellow")])
def test_a_restart_with_and_without_data(
    redis_server: RedisServer, empty: bool, left: str | None
) -> None:
    before = redis_server.pid
    with redis_server.client() as client:
        client.set("colour", "yellow")
    redis_server.restart(empty=empty)
    with redis_server.client() as client:
        assert client.get("colour") == left
    assert redis_server.pid != before


def test_a_killed_server_refuses_and_a_paused_one_is_silent(redis_server: RedisServer) -> None:
    url = f"{redis_server.url}?socket_timeout=0.1"
    with redis.Redis.from_url(url) as client:
        client.ping()
        redis_server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        redis_server.resume()
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        redis_server.start()
        assert client.ping()


def test_closing_removes_the_socket_directory(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        directory = server.socket.parent
        assert directory.exists()
    assert not directory.exists()


def test_a_shared_server_answers(shared_redis: SharedRedis, namespace: str) -> None:
    with shared_redis.client() as client:
        assert client.set(f"canary:{{{namespace}}}:probe", "1", ex=5)


def test_the_server_is_a_file_that_can_be_run() -> None:
    assert os.access(server_binary(), os.X_OK)
