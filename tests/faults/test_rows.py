"""Rows of FAULTS.md section 2 that are no plain outage, for as long as they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import garbage, rows
from tests.system.rig import Rig

pytestmark = pytest.mark.faults


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "rows", identified=True) as made:
        yield made


def test_r12_garbage_in_every_key(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{garbage.r12(rig, redis_server, garbage.ALL)}")


def test_r12_garbage_in_the_plain_kill_keys(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{garbage.kill_keys(rig, redis_server)}")


def test_r13_pushes_that_are_lost(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r13(rig, redis_server, kills=25)}")


def test_w4_clocks_that_are_wrong(rig: Rig) -> None:
    print(f"\n{rows.w4(rig, visitors=1_000)}")
