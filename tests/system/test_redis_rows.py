"""Redis with a memory that is full, a demoted master, Sentinels, a Cluster, another password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Cluster, Sentinels
from tests.support.redis import RedisServer
from tests.system import redis_rows
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "rows", identified=True) as made:
        yield made


def test_r6_memory_is_full(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{redis_rows.r6(rig, redis_server)}")


def test_r7_a_demoted_master(tmp_path: Path) -> None:
    print(f"\n{redis_rows.r7(tmp_path)}")


def test_r9_fail_over_by_sentinels(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as fleet, Rig(tmp_path, fleet.url, "rows", identified=True) as rig:
        print(f"\n{redis_rows.r9(rig, fleet)}")


def test_a_cluster_whose_slot_moves_and_whose_node_dies(tmp_path: Path) -> None:
    with Cluster(tmp_path) as fleet, Rig(tmp_path, fleet.url, "rows", identified=True) as rig:
        print(f"\n{redis_rows.cluster(rig, fleet)}")


def test_a_password_that_changes(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{redis_rows.rotated(rig, redis_server, rig.directory / 'password')}")
