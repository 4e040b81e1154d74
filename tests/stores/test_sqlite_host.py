"""A SQLite file among the processes of a host: time, forks, another file in its place."""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from canary_middleware.core.claims import Claim
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import EVERYTHING
from canary_middleware.errors import (
    StoreError,
    StoreUnavailableError,
)
from canary_middleware.stores.quick import quick
from canary_middleware.stores.sqlite_file import LONG_LOG
from canary_middleware.stores.sqlite_subscription import LOOK_EVERY
from canary_middleware.testing.affinity import FIRST
from canary_middleware.testing.contract import PLAN, audit, receive
from tests.stores.sqlite_shop import STARTED, Shop, played

REPORT = ProcessReport("p1", "host", 7, "asgi", 3, 0.5, {"checkout": PLAN}, 2)
SEEN_WITHIN = 0.25
IDLE_AT_MOST = 0.01


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    for store in shop.opened:
        store.close()


def test_no_claim_writes_into_the_database_or_begins_its_log_anew(shop: Shop) -> None:
    """Both wait for the disk; reports do so instead."""
    shop.start()
    agent, requests = shop.open(), quick(shop.open(), 5.0)
    log = shop.path.with_name(f"{shop.path.name}-wal")
    agent.report(REPORT)
    before, number = shop.path.stat(), 0
    while log.stat().st_size <= LONG_LOG:
        number += 100
        requests.claim([replace(FIRST, key=f"{number - n:022}") for n in range(100)])
    after = shop.path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    agent.report(REPORT)
    assert shop.path.stat().st_size > after.st_size
    assert 0 < log.stat().st_size < 100_000, "a report has begun it"
    requests.close()
    (left,) = agent.look("checkout", [FIRST.key, f"{1:022}"])
    assert left.key == f"{1:022}"


# --- time -------------------------------------------------------------------------------------


def test_a_change_of_others_is_seen_within_a_quarter_of_a_second(shop: Shop) -> None:
    shop.start()
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    stopping = threading.Event()

    def listen() -> None:
        with shop.open().listen() as subscription:
            heard.put(time.monotonic())
            while not stopping.is_set():
                if subscription.receive(0.4) is not None:
                    heard.put(time.monotonic())

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        heard.get(timeout=5)
        waited = []
        for number in range(12):
            stopping.wait(number * 0.013)  # at any point between two looks
            shop.store.kill(EVERYTHING, by="me", why="", now=float(number))
            written = time.monotonic()
            waited.append(heard.get(timeout=5) - written)
    finally:
        stopping.set()
        listener.join()
    shown = f"{sum(waited) / len(waited) * 1e3:.0f} ms on average, {max(waited) * 1e3:.0f} at most"
    print(f"\na change is seen after {shown}")
    assert max(waited) < SEEN_WITHIN


def test_a_change_of_the_same_store_is_seen_at_once(shop: Shop) -> None:
    shop.start()
    begun: list[float] = []

    def strike_now() -> None:
        begun.append(time.monotonic())
        shop.store.kill(EVERYTHING, by="me", why="", now=1.0)

    waited = []
    with shop.store.listen() as subscription:
        for _ in range(5):
            timer = threading.Timer(0.03, strike_now)
            timer.start()
            assert subscription.receive(5.0) is not None
            waited.append(time.monotonic() - begun[-1])
            timer.join()
    # The rest would be a look every tenth of a second.
    assert sum(waited) < LOOK_EVERY


LISTENS = """
import sys, time
from canary_middleware.stores import open_store
store = open_store(sys.argv[1], "shop")
with store.listen() as subscription:
    subscription.receive(0.2)
    cpu, wall = time.process_time(), time.monotonic()
    while time.monotonic() < wall + 2:
        assert subscription.receive(0.4) is None
    print((time.process_time() - cpu) / (time.monotonic() - wall))
store.close()
"""


def test_listening_costs_next_to_nothing(shop: Shop) -> None:
    shop.start()
    share = float(played(LISTENS, shop))
    print(f"\nlistening takes {share:.2%} of a processor")
    assert share < IDLE_AT_MOST


def test_who_is_in_a_hurry_waits_no_longer_than_the_budget(shop: Shop) -> None:
    shop.start()
    quick, async_quick = shop.store.quick(0.05), shop.store.quick_async()
    other = sqlite3.connect(shop.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="is busy"):
        quick.claim([FIRST])
    assert 0.04 < time.monotonic() - begun < 0.5
    assert quick.load().document == STARTED, "readers wait for nobody"
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(quick.claim, [FIRST]) for _ in range(3)]
    for answer in waiting:
        with pytest.raises(StoreUnavailableError, match="is busy"):
            answer.result()
    other.execute("ROLLBACK")
    other.close()

    async def ask() -> list[Claim]:
        found = await async_quick.claim([FIRST])
        await async_quick.close()
        return found

    assert quick.claim([FIRST]) == asyncio.run(ask())
    quick.close()


# --- another file in its place ----------------------------------------------------------------


def test_a_file_that_is_replaced_is_followed(shop: Shop, tmp_path: Path) -> None:
    shop.start()
    elsewhere = Shop(tmp_path / "elsewhere")
    elsewhere.path.parent.mkdir()
    killed = elsewhere.store.kill(EVERYTHING, by="me", why="", now=1.0)
    elsewhere.store.close()
    with shop.open().listen() as subscription:
        assert shop.store.load().document == STARTED
        for ending in ("-wal", "-shm"):
            Path(f"{shop.path}{ending}").unlink()  # they belong to the old one
        elsewhere.path.replace(shop.path)
        assert shop.store.load().document == killed
        with pytest.raises(StoreUnavailableError, match="was replaced"):
            subscription.receive(0.3)
    with shop.open().listen() as subscription:
        shop.store.kill("checkout", by="me", why="", now=1.0)
        receive(subscription)


def test_a_file_that_is_deleted_is_an_empty_store(shop: Shop) -> None:
    shop.start()
    shop.path.unlink()
    assert shop.store.load().document is None
    assert shop.store.swap(None, STARTED, audit(STARTED)), "as a process does that remembers it"
    assert shop.open().load().document == STARTED


@pytest.mark.parametrize("endings", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_log_that_is_deleted_blinds_nobody_who_looks(
    shop: Shop, endings: tuple[str, ...]
) -> None:
    shop.start()
    other = shop.open()
    assert other.load().document == STARTED
    for ending in endings:
        Path(f"{shop.path}{ending}").unlink()
    # What was in the log is lost. SQLite begins anew when nobody holds the old one any more, which
    # is when all have looked.
    with suppress(StoreError):
        other.load()
    with suppress(StoreError):
        shop.store.load()
    other.kill(EVERYTHING, by="me", why="", now=1.0)
    document = shop.store.load().document
    assert document is not None
    assert document.killed("checkout") is not None
    shop.store.close()
    other.close()
    connection = sqlite3.connect(shop.path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_copy_made_while_others_write_is_a_store(shop: Shop, tmp_path: Path) -> None:
    shop.start()
    copy = Shop(tmp_path / "backup")
    copy.path.parent.mkdir()
    source, target = sqlite3.connect(shop.path), sqlite3.connect(copy.path)
    source.backup(target)
    source.close()
    target.close()
    assert copy.store.load().document == STARTED
    copy.store.kill(EVERYTHING, by="me", why="", now=1.0)
    copy.store.close()
    assert shop.store.load().document == STARTED


# --- processes --------------------------------------------------------------------------------


FORKS = """
import ctypes, os, sys, threading
from canary_middleware.stores import open_store

store = open_store(sys.argv[1], "shop", timeout=5.0)
subscription = store.listen().__enter__()
first = store.kill("before", by="me", why="", now=1.0)
assert subscription.receive(1.0) == first
descriptors = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.islink(f"/proc/self/fd/{fd}")]
assert any("canary.db" in name for name in descriptors)

def fork(then):
    pid = os.fork()
    if pid == 0:
        try:
            then()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]

def in_child():
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
             if os.path.islink(f"/proc/self/fd/{fd}")]
    assert not any("canary.db" in name for name in names), names
    assert store.load().document == first
    store.kill("child", by="me", why="", now=1.0)
    assert fork(lambda: store.kill("grandchild", by="me", why="", now=1.0)) == 0

# While another thread writes all the time: a fork waits for the end of a change.
done = threading.Event()
def write():
    while not done.is_set():
        store.hold("me", 4)
def fork_often():
    while not done.is_set():
        forks.append(fork(lambda: store.hold("me", 4)))
forks = []
threads = [threading.Thread(target=run) for run in (write, fork_often, fork_often)]
for thread in threads:
    thread.start()
done.wait(0.5)
done.set()
for thread in threads:
    thread.join()
assert len(forks) > 2 and not any(forks), forks

# A server that forks without telling Python: what it inherits is neither used nor closed.
pid = ctypes.CDLL(None).fork()
if pid == 0:
    try:
        assert store.load().document == first
        assert store.kill("untold", by="me", why="", now=1.0).kills
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(pid, 0)[1] == 0
first = store.load().document
assert fork(in_child) == 0
pushed = subscription.receive(1.0)
while "grandchild" not in pushed.kills:
    pushed = subscription.receive(1.0)
assert sorted(store.load().document.kills) == ["before", "child", "grandchild", "untold"]
subscription.__exit__(None, None, None)
store.close()
print("ok")
"""


def test_no_connection_survives_a_fork(shop: Shop) -> None:
    # Not with warnings as errors: from 3.12 on Python warns of forks beside threads.
    command = [sys.executable, "-c", FORKS, f"sqlite:///{shop.path}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that another user may look into."""
    directory = Path("/tmp") / f"canary-{os.getpid()}-{time.monotonic_ns()}"
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


READS_ONLY = """
import os, sys
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import open_store
import canary_middleware.stores.sqlite
if os.geteuid() == 0:  # for root nothing is read-only
    os.setuid(65534)
store = open_store(sys.argv[1], "shop")
for change in (lambda: store.kill("*", by="me", why="", now=1.0), lambda: store.hold("me", 1)):
    try:
        change()
    except StoreUnavailableError as error:
        print(error)
store.close()
"""


def test_a_file_that_may_only_be_read_is_told_in_one_line(open_to_all: Path) -> None:
    shop = Shop(open_to_all)
    shop.start()
    shop.store.close()
    shop.path.chmod(0o444)
    lines = played(READS_ONLY, shop).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(str(shop.path))
        assert "readonly" in line
