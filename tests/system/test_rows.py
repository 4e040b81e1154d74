"""Some seconds of each row of FAULTS.md that is no plain outage; ``tests/faults`` takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import rows
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "rows", identified=True) as made:
        yield made


def test_r10_flushall_while_ramping(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r10(rig, redis_server)}")


def test_r13_pushes_that_are_lost(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r13(rig, redis_server, kills=3)}")


def test_r14_pushes_that_come_again(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r14(rig, redis_server)}")


def test_w4_clocks_that_are_wrong(rig: Rig) -> None:
    print(f"\n{rows.w4(rig, visitors=100)}")


def test_w7_fork_after_construction(rig: Rig) -> None:
    print(f"\n{rows.w7(rig)}")


def test_w11_a_canary_that_does_not_start(rig: Rig) -> None:
    print(f"\n{rows.w11(rig)}")
