"""No error of redis-py brings a password along, neither in its text nor in its traceback."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from canary_middleware.core.claims import Ask
from canary_middleware.errors import StoreError
from canary_middleware.stores import StateStore, open_store
from canary_middleware.stores.quick import quick, quick_async
from tests.support.redis import RedisServer
from tests.support.servers import LOCALHOST, free_port

SECRET = "hunter2"
ASK = Ask("checkout", "k" * 22, None, "ab", 1, 1, 5, 1, raises=False, life=1_000)

Way = Callable[[StateStore], object]


def by_request(store: StateStore) -> object:
    claimer = quick(store, 0.5)
    try:
        return claimer.claim([ASK])
    finally:
        claimer.close()


def by_event_loop(store: StateStore) -> object:
    async def ask() -> object:
        claimer = quick_async(store, 0.5)
        try:
            return await claimer.claim([ASK])
        finally:
            await claimer.close()

    return asyncio.run(ask())


@pytest.fixture(params=[lambda store: store.load(), by_request, by_event_loop])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def refused(way: Way, store: StateStore) -> str:
    """What is said, and everything that a log with tracebacks would show."""
    try:
        with pytest.raises(StoreError) as caught:
            way(store)
    finally:
        store.close()
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    # In place of the Sentinels' passwords redis-py 8 shows that there are some, 7 shows them.
    assert "password=" not in shown
    return str(caught.value)


def test_sentinels_that_do_not_answer(way: Way) -> None:
    places = f"{LOCALHOST}:{free_port()},{LOCALHOST}:{free_port()}"
    url = f"redis+sentinel://app:{SECRET}@{places}/name?sentinel_password={SECRET}"
    said = refused(way, open_store(url, "shop"))
    assert said == "no Sentinel names a master: ConnectionError"


def test_a_server_that_repeats_what_it_does_not_know(tmp_path: Path, way: Way) -> None:
    with RedisServer(tmp_path, "--rename-command", "AUTH", "''") as server:
        url = server.url.replace("//", f"//app:{SECRET}@")
        assert "unknown command" in refused(way, open_store(url, "shop"))


@pytest.mark.parametrize("kind", [ConnectionRefusedError, KeyError, RuntimeError])
def test_a_secret_that_cannot_be_fetched(tmp_path: Path, way: Way, kind: type[Exception]) -> None:
    def fetch() -> tuple[str, str]:
        raise kind(f"https://vault.example/?token={SECRET}")

    with RedisServer(tmp_path) as server:
        store = open_store(server.url, "shop", credentials=fetch)
        assert refused(way, store) == f"credentials= raised {kind.__name__}"


class Vault(redis.CredentialProvider):
    """Of a ready client, asked by redis-py itself."""

    def get_credentials(self) -> tuple[str, str]:
        raise ConnectionRefusedError(f"https://vault.example/?token={SECRET}")


def test_a_secret_that_a_ready_client_cannot_fetch(tmp_path: Path, way: Way) -> None:
    with RedisServer(tmp_path) as server:
        client = redis.Redis(port=server.port, credential_provider=Vault())
        assert refused(way, open_store(client, "shop")) == "ConnectionRefusedError"
        client.close()
