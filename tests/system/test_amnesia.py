"""What a store forgets must not bring a killed canary back.

Weight 100 % and a tester on every worker: whatever lifts the kill shows as a canary answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from canary_middleware.core.state import EVERYTHING
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system import variants
from tests.system.beside import Check, Checks, Trial, Trials
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY
from tests.system.watch import Watch, canaries, failures

SERVERS = ("uvicorn", "gunicorn")
STATE = "canary:{forget}:state"
NOT_PERSISTED = 4
"""Exit code of a kill that was pushed, but not written."""


@contextmanager
def killed(rig: Rig, *, expected: int = 0) -> Iterator[Watch]:
    """Everybody is on canary, then killed, and nobody may see it again while the block runs."""
    rig.all_follow(CANARY)
    rig.cli("kill", "--why", "amnesia", expected=expected)
    wait_until(lambda: all(worker.heard() for worker in rig.workers), what="all heard")
    with Watch(worker.port for worker in rig.workers) as watch:
        time.sleep(0.3)
        yield watch
        time.sleep(1.5)
    assert len(watch.answers) > 50 * len(rig.workers)
    assert canaries(watch.answers) == [], "no canary answer while killed"


def kept(rig: Rig) -> bool:
    """Whether the store holds a kill."""
    document = rig.store().load().document
    return document is not None and EVERYTHING in document.kills


def serve(rig: Rig, variant: str = "", **setup: object) -> list[Worker]:
    rig.started(100_000)
    return rig.serve(*SERVERS, variant=variant, **setup)


# --- FLUSHALL ------------------------------------------------------------------------------------


def flush(rig: Rig, server: RedisServer, variant: str = "", seconds: float = 1.5) -> Watch:
    """Empty the store; a worker starts in every 100 ms until the others restore it."""
    workers = serve(rig, variant)
    ports = rig.lazy(10)
    with killed(rig) as watch, server.client() as client:
        for worker in workers:
            worker.process.pause()
        client.flushall()
        for port in ports:
            assert client.exists(STATE) == 0, "nobody restores what he never knew"
            watch.add(port)
            time.sleep(0.1)
        for worker in workers:
            worker.process.resume()
        wait_until(lambda: kept(rig) or bool(variant), timeout=3, what="the kill is restored")
        time.sleep(seconds)
    return watch


def flushed(rig: Rig, server: RedisServer) -> None:
    watch = flush(rig, server)
    assert failures(watch.answers) == []
    late = [answer for answer in watch.between(watch.answers[-1].sent - 0.5) if answer.reason]
    assert {answer.reason for answer in late} == {"kill_switch"}
    assert len({answer.port for answer in late}) == len(SERVERS) + 10


# --- an outage across a restart of everybody -----------------------------------------------------


def restart_without_store(rig: Rig, server: RedisServer, snapshots: Path | None) -> Watch:
    """The store dies after the kill, and comes back with what it was before."""
    workers = serve(rig, snapshot_path=str(snapshots) if snapshots else None)
    with server.client() as client:
        client.save()
    with killed(rig) as watch:
        if snapshots:
            state = snapshots / "forget.json"
            wait_until(lambda: "amnesia" in state.read_text(), what="the kill is on disk")
        server.kill()
        for worker in workers:
            worker.renew()
        server.start()
        wait_until(lambda: kept(rig) or snapshots is None, timeout=4, what="the kill is restored")
    return watch


def restarted(rig: Rig, server: RedisServer) -> None:
    restart_without_store(rig, server, rig.directory / "snapshots")
    newcomer = rig.serve("uvicorn")[0]
    with Watch([newcomer.port]) as watch:
        time.sleep(1.0)
    assert {answer.reason for answer in watch.answers if answer.reason} == {"kill_switch"}


# --- two documents of equal revision -------------------------------------------------------------


def fork(rig: Rig, server: RedisServer, variant: str = "") -> None:
    """Put another document of equal lineage and revision into the store, without the kill."""
    serve(rig, variant)
    with killed(rig), server.client() as client:
        before = rig.store().load().document
        assert before is not None
        with client.pipeline(transaction=True) as step:  # before anybody puts it back
            step.hdel(STATE, f"kill:{EVERYTHING}")
            step.hgetall(STATE)
            deleted, left = step.execute()
        assert deleted == 1
        assert (left["lineage"], int(left["revision"])) == before.key
        assert not any(field.startswith("kill:") for field in left)
        wait_until(lambda: kept(rig) or bool(variant), timeout=3, what="the kill is restored")


def forked(rig: Rig, server: RedisServer) -> None:
    fork(rig, server)
    said = [audit.why for audit in rig.store().history(None, 10) if audit.action == "restore"]
    assert any("kept the kill" in why for why in said)


# --- no memory -----------------------------------------------------------------------------------


def full(rig: Rig, server: RedisServer) -> None:
    serve(rig)
    rig.all_follow(CANARY)
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with killed(rig, expected=NOT_PERSISTED) as watch:
            time.sleep(2.0)
            assert not kept(rig)
            client.config_set("maxmemory", "0")
            wait_until(lambda: kept(rig), timeout=3, what="the kill is kept")
    assert failures(watch.answers) == []
    newcomer = rig.serve("uvicorn")[0]
    with Watch([newcomer.port]) as later:
        time.sleep(1.0)
    assert canaries(later.answers) == []


def forgotten(rig: Rig, server: RedisServer) -> None:
    serve(rig, variants.CREDULOUS)
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with killed(rig, expected=NOT_PERSISTED):
            time.sleep(1.0)


# --- each row ------------------------------------------------------------------------------------

ROWS: Mapping[str, Check] = {
    "FLUSHALL lifts no kill and wakes no canary in new workers": flushed,
    "all workers restarted during an outage remember the kill": restarted,
    "of two documents of equal revision the killed one wins": forked,
    "a kill that the store cannot keep is heard, and kept later": full,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Checks:
    return Checks(ROWS, tmp_path_factory.mktemp("rows"), "forget", identified=True)


@pytest.mark.parametrize("row", ROWS)
def test_what_is_forgotten_brings_nobody_back(rows: Checks, row: str) -> None:
    rows.holds(row)


# --- the checks fail for whoever has no memory of the kill ----------------------------------------

SEEN = "no canary answer while killed"
BROKEN = {
    "an empty store lifts it": Trial(partial(flush, variant=variants.CREDULOUS), SEEN),
    "a restart without a snapshot": Trial(partial(restart_without_store, snapshots=None), SEEN),
    "a fork lifts it": Trial(partial(fork, variant=variants.CREDULOUS), SEEN),
    "a store without memory lifts it": Trial(forgotten, SEEN),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(BROKEN, tmp_path_factory.mktemp("broken"), "forget", identified=True)


@pytest.mark.faults
@pytest.mark.parametrize("variant", BROKEN)
def test_each_check_fails(trials: Trials, variant: str) -> None:
    trials.noticed(variant)
