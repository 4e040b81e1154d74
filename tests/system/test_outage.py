"""An outage of the store: nobody fails, nobody waits, and afterwards everybody is where he was."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.outage import (
    FOLLOW,
    STALENESS,
    Fault,
    Outage,
    killed,
    masterless,
    outage,
    outages,
    stopped,
)
from tests.system.rig import Rig, start
from tests.system.site import CANARY, STABLE
from tests.system.watch import COVERED, Answer, Watch, failures

pytestmark = pytest.mark.alone

SERVERS = ("uvicorn", "gunicorn")


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Rig]:
    with Rig(
        tmp_path, redis_server.url, namespace, identified=True, max_staleness=STALENESS
    ) as made:
        made.started(50_000)
        yield made


FAULTS: Mapping[str, Fault] = {"killed": killed, "stopped": stopped, "masterless": masterless}
Seen = Mapping[str, tuple[Rig, Outage]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """All faults at the same time, each of a store of its own."""
    with ExitStack() as stack:
        places = []
        for name, fault in FAULTS.items():
            directory = tmp_path_factory.mktemp(name)
            server = stack.enter_context(RedisServer(directory))
            setup: Any = {"identified": True, "max_staleness": STALENESS}
            rig = stack.enter_context(Rig(directory, server.url, name, **setup))
            rig.started(50_000)
            rig.serve(*SERVERS)
            places.append((rig, server, fault))
        for rig, _, _ in places:
            rig.all_follow(CANARY)
        found = outages(places, every=0.004)
        yield {name: (place[0], found) for name, place in zip(FAULTS, places, strict=True)}


@pytest.mark.parametrize("fault", FAULTS)
def test_nobody_fails_and_nobody_waits_and_everybody_comes_back(seen: Seen, fault: str) -> None:
    rig, found = seen[fault]
    for worker in rig.workers:
        mine = found.of(worker)
        print(f"\n{fault}, {worker.server}: p99+ {1000 * mine.added():.1f} ms (limit 5)")
        mine.check()
        assert worker.process.output().count("degraded") <= 2, "one line for each change"


def serves_without_a_store(answers: Sequence[Answer], until: float) -> None:
    assert failures(answers) == [], "no request fails without a store"
    assert max(answer.seconds for answer in answers) < 1.0
    early = [answer for answer in answers if answer.sent < until and answer.path == COVERED]
    assert {answer.version for answer in early} == {STABLE}


def test_a_store_that_is_absent_at_the_start_delays_nothing(
    rig: Rig, redis_server: RedisServer
) -> None:
    """R3, and a variant beside: it answers 503 without its store."""
    redis_server.kill()
    workers = [rig.worker(server) for server in SERVERS]
    closed = rig.worker("uvicorn", variant=variants.FAILS_CLOSED)
    began = time.monotonic()
    start(rig.workers)
    with Watch(worker.port for worker in rig.workers) as watch:
        time.sleep(1.5)
        returned = time.monotonic()
        redis_server.start()
        rig.started(50_000)
        followed = rig.all_follow(CANARY, within=FOLLOW)
    answers = {worker.port: [a for a in watch.answers if a.port == worker.port]
               for worker in rig.workers}  # fmt: skip
    first = max(min(a.sent + a.seconds for a in some) for some in answers.values()) - began
    print(f"\nabsent: first answers after {first:.1f} s, joined {followed:.1f} s after the store")
    for worker in workers:
        serves_without_a_store(answers[worker.port], returned)
    with pytest.raises(AssertionError, match="no request fails without a store"):
        serves_without_a_store(answers[closed.port], returned)


@pytest.mark.faults
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
