"""An outage of the store: nobody fails, nobody waits, and afterwards everybody is where he was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.outage import (
    FOLLOW,
    STALENESS,
    Fault,
    killed,
    masterless,
    outage,
    stopped,
)
from tests.system.rig import Rig, start
from tests.system.site import CANARY, STABLE
from tests.system.watch import COVERED, Watch, failures

SERVERS = ("uvicorn", "gunicorn")


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Rig]:
    with Rig(
        tmp_path, redis_server.url, namespace, identified=True, max_staleness=STALENESS
    ) as made:
        made.started(50_000)
        yield made


@pytest.mark.parametrize("fault", [killed, stopped, masterless])
def test_nobody_fails_and_nobody_waits_and_everybody_comes_back(
    rig: Rig, redis_server: RedisServer, fault: Fault
) -> None:
    workers = rig.serve(*SERVERS)
    rig.all_follow(CANARY)
    found = outage(rig, redis_server, fault)
    for worker in workers:
        seen = found.of(worker)
        print(f"\n{fault.__name__}, {worker.server}: p99+ {1000 * seen.added():.1f} ms (limit 5)")
        seen.check()
        assert worker.process.output().count("degraded") <= 2, "one line for each change"


def absent(rig: Rig, server: RedisServer, *servers: str, variant: str = "") -> str:
    """R3: the store comes after the workers."""
    server.kill()
    workers = [rig.worker(name, variant=variant) for name in servers]
    began = time.monotonic()
    start(workers)
    with Watch(worker.port for worker in workers) as watch:
        time.sleep(1.5)
        server.start()
        rig.started(50_000)
        followed = rig.all_follow(CANARY, within=FOLLOW)
    first = {port: min(a.sent + a.seconds for a in watch.answers if a.port == port)
             for port in (worker.port for worker in workers)}  # fmt: skip
    assert failures(watch.answers) == [], "no request fails without a store"
    assert max(answer.seconds for answer in watch.answers) < 1.0
    early = watch.between(0, began + 1.5)
    assert {answer.version for answer in early if answer.path == COVERED} <= {STABLE}
    return (
        f"absent: first answers after {max(first.values()) - began:.1f} s, "
        f"joined {followed:.1f} s after the store"
    )


def test_a_store_that_is_absent_at_the_start_delays_nothing(
    rig: Rig, redis_server: RedisServer
) -> None:
    print(f"\n{absent(rig, redis_server, *SERVERS)}")


def test_the_absence_fails_for_a_middleware_that_answers_503_without_its_store(
    rig: Rig, redis_server: RedisServer
) -> None:
    with pytest.raises(AssertionError, match="no request fails without a store"):
        absent(rig, redis_server, "uvicorn", variant=variants.FAILS_CLOSED)


def test_the_check_fails_for_whoever_asks_or_needs_the_store_and_whoever_never_gets_stale(
    rig: Rig, redis_server: RedisServer
) -> None:
    asks, closed, never = (
        *rig.serve("uvicorn", variant=variants.ASKS_THE_STORE),
        *rig.serve("uvicorn", variant=variants.FAILS_CLOSED),
        *rig.serve("gunicorn", max_staleness=None),
    )
    rig.all_follow(CANARY)
    found = outage(rig, redis_server, stopped)
    with pytest.raises(AssertionError, match="no request waits for the store"):
        found.of(asks).check()
    with pytest.raises(AssertionError, match="no request fails"):
        found.of(closed).check()
    with pytest.raises(AssertionError, match="stable when too old"):
        found.of(never).check()
