"""The rows of Redis again, with shared affinity and 1,000 users whom all workers know."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.test_outages import PAUSES, SERVERS
from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.system import rows, variants
from tests.system.known import SHARED, Known, Outage, acquainted, newcomers, outage
from tests.system.outage import (
    Fault,
    flushed,
    killed,
    loading_for,
    masterless,
    paused,
    slow,
    stopped,
    through,
)
from tests.system.rig import Rig
from tests.system.rows import resources
from tests.system.site import CANARY

pytestmark = pytest.mark.faults

USERS = 1_000
EVERY = 0.006
"""Seconds between two requests to one of four workers."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--enable-debug-command", "local") as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as made:
        yield made


@pytest.fixture
def known(tmp_path: Path, server: RedisServer, proxy: FaultProxy) -> Iterator[Known]:
    with Rig(tmp_path, server.url, "known", identified=True, plans=SHARED) as rig:
        workers = rig.serve(*SERVERS, store=proxy.url())
        yield acquainted(rig, workers, USERS)


def report(row: str, found: Outage) -> None:
    found.check(row)
    workers = found.known.rig.workers
    told = max(len(worker.process.output().splitlines()) for worker in workers)
    print(f"{row}: at most {told} log lines of a worker (limit 20/min)")
    assert told <= 20


@pytest.mark.parametrize(
    ("row", "fault", "seconds"),
    [
        ("R1", killed, 30),
        ("R8", loading_for(5_000), 0.2),
        ("masterless", masterless, 10),
        ("R10", flushed, 10),
        *((f"R15 {command}", paused(command), rest) for command, rest in PAUSES),
    ],
)
def test_who_is_known_stays_and_nobody_waits(
    row: str, fault: Fault, seconds: float, known: Known, server: RedisServer
) -> None:
    report(row, outage(known, server, fault, seconds, EVERY))


def test_r2_stopped_for_30_seconds(known: Known, server: RedisServer) -> None:
    workers = known.rig.workers
    before = [resources(worker) for worker in workers]
    report("R2", outage(known, server, stopped, 30, EVERY))
    time.sleep(1.0)
    after = [resources(worker) for worker in workers]
    print(f"R2: threads and open files {before} before, {after} after")
    for old, new in zip(before, after, strict=True):
        assert all(abs(a - b) <= max(1, 0.05 * b) for b, a in zip(old, new, strict=True))


@pytest.mark.parametrize(("row", "change"), [("R4", slow), ("R5", FaultProxy.black_hole)])
def test_r4_r5_a_slow_network_and_one_that_swallows_everything(
    row: str,
    change: Callable[[FaultProxy], object],
    known: Known,
    server: RedisServer,
    proxy: FaultProxy,
) -> None:
    report(row, outage(known, server, through(proxy, change), 30, EVERY))


def test_r4_a_slow_network_and_nobody_but_new_users(
    tmp_path: Path, server: RedisServer, proxy: FaultProxy
) -> None:
    with Rig(tmp_path, server.url, "known", identified=True, plans=SHARED) as rig:
        rig.serve(*SERVERS[:2], store=proxy.url())
        rig.started(50_000)
        rig.all_follow(CANARY)
        newcomers(rig, server, through(proxy, slow), 15)


def test_r4_fails_for_a_circuit_that_never_opens(
    tmp_path: Path, server: RedisServer, proxy: FaultProxy
) -> None:
    with Rig(tmp_path, server.url, "known", identified=True, plans=SHARED) as rig:
        rig.serve("uvicorn", store=proxy.url(), variant=variants.FUSELESS)
        rig.started(50_000)
        rig.all_follow(CANARY)
        with pytest.raises(AssertionError, match="no request is spent on trying"):
            newcomers(rig, server, through(proxy, slow), 3)


def test_r10_flushall_while_ramping(tmp_path: Path, redis_server: RedisServer) -> None:
    with Rig(tmp_path, redis_server.url, "rows", identified=True, plans=SHARED) as rig:
        print(f"\n{rows.r10(rig, redis_server, SERVERS, 5.0)}")


def test_r13_pushes_that_are_lost(tmp_path: Path, redis_server: RedisServer) -> None:
    with Rig(tmp_path, redis_server.url, "rows", identified=True, plans=SHARED) as rig:
        print(f"\n{rows.r13(rig, redis_server, kills=10)}")
