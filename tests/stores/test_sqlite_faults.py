"""A SQLite file whose writers are killed, whose disk is full, and that everybody wants at once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import EVERYTHING
from canary_middleware.stores.sqlite import SqliteStore
from canary_middleware.stores.sqlite_file import LONG_LOG
from canary_middleware.testing.contract import audit, started
from tests.support.servers import Process, wait_until

ROOT = Path(__file__).parents[2]
GETS_THROUGH_WITHIN = 1.0

WRITES = """
import sys
from dataclasses import replace
from canary_middleware.core.state import Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.stores import open_store
from canary_middleware.testing.affinity import FIRST
from canary_middleware.testing.contract import audit

store, number = open_store(sys.argv[1], "shop", timeout=5.0), 0
print("begins", flush=True)
while True:
    number += 1
    document = store.load().document
    changed = apply(document, Command(Verb.WEIGHT, "checkout", weight=number % 100_000), 1.0)
    store.swap(document.key, changed, audit(changed))
    store.claim([replace(FIRST, key=f"{sys.argv[2]}-{number}-{key}") for key in range(5)])
    if number % 20 == 0:
        store.forget("checkout", [f"{sys.argv[2]}-{number}-0"])
"""

CLAIMS = """
import itertools, sys
from dataclasses import replace
from canary_middleware.stores import open_store
from canary_middleware.testing.affinity import FIRST

store = open_store(sys.argv[1], "shop", timeout=5.0)
store.claim([FIRST])
print("begins", flush=True)
for number in itertools.count():
    store.claim([replace(FIRST, key=f"{sys.argv[2]}-{number}")])
"""

FILLS = """
import resource, sys
from dataclasses import replace
from canary_middleware.errors import StoreError
from canary_middleware.stores import open_store
from canary_middleware.testing.affinity import FIRST
from canary_middleware.testing.contract import audit, started

store = open_store(sys.argv[1], "shop", timeout=1.0)
before = store.load().document
store.claim([replace(FIRST, key=f"before-{number}") for number in range(20)])
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
# Less than what any change takes in the log, and less than the database has already.
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, limits[1]))

def refused(change):
    try:
        change()
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
    return ""

for _ in range(2):
    print(refused(lambda: store.claim([replace(FIRST, key="late")])))
    print(refused(lambda: store.kill("checkout", by="me", why="", now=1.0)))
    print(refused(lambda: store.swap(before.key, before, audit(before))))
assert store.load().document == before
assert store.history(None, 9) == [audit(before)]
assert len(list(store.claims("checkout"))) == 20
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
print(store.kill("checkout", by="me", why="", now=1.0).revision)
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "canary.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """With a rollout that was started."""
    store = SqliteStore(path, "shop", patience=5.0)
    document = started()
    assert store.swap(None, document, audit(document))
    yield store
    store.close()


@contextmanager
def running(program: str, path: Path, name: str) -> Iterator[Process]:
    command = [sys.executable, "-W", "error", "-c", program, f"sqlite:///{path}", name]
    with Process(command, path.with_name(f"{name}.log"), cwd=ROOT) as process:
        process.wait_log("begins")
        yield process


def revision(store: SqliteStore) -> int:
    document = store.load().document
    assert document is not None
    return document.revision


def consistent(store: SqliteStore, path: Path) -> int:
    """What was written, if every change stands there as a whole; its revision."""
    document = store.load().document
    assert document is not None
    lines = store.history(None, 1_000)
    assert [line.revision for line in lines] == list(
        range(document.revision, document.revision - len(lines), -1)
    )
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        claims = connection.execute("SELECT count(*) FROM claims").fetchone()[0]
        pushes = connection.execute("SELECT coalesce(max(number), 0) FROM forgotten").fetchone()[0]
    finally:
        connection.close()
    assert (claims + pushes) % 5 == 0, "a request's claims stand together"
    return document.revision


def test_a_writer_that_is_killed_leaves_no_half_of_a_change(store: SqliteStore, path: Path) -> None:
    dice = random.Random(11)
    revisions = [1]
    for number in range(6):
        with running(WRITES, path, f"w{number}") as writer:
            wait_until(lambda: revision(store) > revisions[-1] + 5, what="changes")
            time.sleep(dice.uniform(0.0, 0.05))  # so that it is struck anywhere
            writer.kill()
        begun = time.monotonic()
        revisions.append(consistent(store, path))
        assert store.hold("me", 4)
        assert time.monotonic() - begun < GETS_THROUGH_WITHIN, "the others go on at once"
    assert revisions == sorted(set(revisions))


def test_a_full_disk_is_told_in_one_line_and_reads_go_on(store: SqliteStore, path: Path) -> None:
    store.close()
    command = [sys.executable, "-W", "error", "-c", FILLS, f"sqlite:///{path}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *refused, revision = done.stdout.splitlines()
    assert len(refused) == 6
    for line in refused:
        assert line == f"StoreUnavailableError: {path}: disk I/O error (SQLITE_IOERR_WRITE)"
    assert revision == "2", "with room again it goes on"
    assert consistent(store, path) == 2


def test_a_kill_gets_through_while_others_claim_without_a_pause(
    store: SqliteStore, path: Path
) -> None:
    waited = []
    with (
        running(CLAIMS, path, "c0"), running(CLAIMS, path, "c1"), running(CLAIMS, path, "c2"),
        running(CLAIMS, path, "c3"), running(WRITES, path, "w0"),
    ):  # fmt: skip
        for number in range(20):
            begun = time.monotonic()
            store.kill(EVERYTHING, by="me", why=str(number), now=1.0)
            waited.append(time.monotonic() - begun)
            time.sleep(0.02)
    waited.sort()
    print(f"\na kill takes {waited[10] * 1e3:.0f} ms, {waited[-1] * 1e3:.0f} at most")
    assert waited[-1] < GETS_THROUGH_WITHIN


def test_a_log_that_grows_faster_than_it_is_read_back_is_cut(
    store: SqliteStore, path: Path
) -> None:
    log = path.with_name(f"{path.name}-wal")
    with running(CLAIMS, path, "c0"), running(CLAIMS, path, "c1"), running(CLAIMS, path, "c2"):
        wait_until(lambda: log.stat().st_size > LONG_LOG, timeout=60, what="a long log")
        store.report(ProcessReport("p1", "h", 1, "asgi", 1, None))
        assert log.stat().st_size < LONG_LOG
        before = revision(store)
        store.kill(EVERYTHING, by="me", why="", now=1.0)
        assert revision(store) == before + 1
