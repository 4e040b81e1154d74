"""Rows of FAULTS.md section 3 with as many samples as they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.otlp import Receiver
from tests.support.redis import RedisServer
from tests.system import oracle, strangers, timing
from tests.system.rig import Rig
from tests.system.site import CANARY, STABLE

pytestmark = pytest.mark.faults

SAMPLES = 5_000


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "timing", identified=True) as made:
        made.started(50_000)
        made.serve("uvicorn", "gunicorn")
        made.all_follow(CANARY)
        yield made


def test_s7_time_tells_nothing(rig: Rig) -> None:
    for worker in rig.workers:
        print(f"\n{timing.signatures(worker, SAMPLES)}\n{timing.users(worker, SAMPLES)}")
    rig.cli("kill")
    rig.all_follow(STABLE)
    for worker in rig.workers:
        print(timing.testers(worker, SAMPLES))


def test_s11_fifty_thousand_strangers(tmp_path: Path, redis_server: RedisServer) -> None:
    with (
        Receiver() as receiver,
        strangers.watched(tmp_path, redis_server, receiver) as rig,
    ):
        print(f"\n{strangers.ask(rig, receiver, 50_000)}")


def test_s25_a_million_sequential_ids() -> None:
    print(f"\n{oracle.uniform(oracle.secret_draw(), 1_000_000)}")
