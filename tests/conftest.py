"""Fixtures of the whole suite: servers that end with the test, a namespace for each test."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.alone import turn
from tests.support.redis import RedisServer, SharedRedis, shared_url

# Examples run while servers and other tests use the same two cores: time says nothing about them.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell's background job begins with Ctrl-C ignored, and so would all programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest begin first, so that no worker is left alone with one of them."""
    items.sort(key=lambda item: item.path.parent.name not in ("demo", "system"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Two workers run tests side by side, and those that are marked ``alone`` by themselves.

    The wait counts for no limit: pytest's own begin further inside.
    """
    if not hasattr(item.config, "workerinput"):  # no worker of pytest-xdist
        return (yield)
    shared = Path(item.config.option.basetemp).parent
    with turn(shared, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A private server of this test alone: kill it, stop it, empty it."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRedis]:
    """One server for all tests that only need one; use it with ``namespace``."""
    url = shared_url()
    if url:
        yield SharedRedis(url)
        return
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield SharedRedis(server.url)


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"
