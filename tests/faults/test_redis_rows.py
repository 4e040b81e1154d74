"""What a Redis of several servers goes through, again and again; and who does not stand it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fleet import Cluster, Sentinels
from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import redis_rows, variants
from tests.system.rig import Rig

pytestmark = pytest.mark.faults

EIGHT = ("uvicorn", "gunicorn") * 4


def test_r6_fails_for_a_follower_that_takes_silence_for_a_word(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with (
        Rig(tmp_path, redis_server.url, "rows", identified=True) as rig,
        pytest.raises(AssertionError, match="the kill stays in force"),
    ):
        redis_rows.r6(rig, redis_server, variants.CREDULOUS)


def test_r7_a_demoted_master_that_nobody_writes_to(tmp_path: Path) -> None:
    print(f"\n{redis_rows.r7(tmp_path, quiet=True)}")


def test_r7_fails_for_a_client_that_stays_with_the_old_master(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="leaves the demoted master"):
        redis_rows.r7(tmp_path, variants.LOYAL)


@pytest.mark.parametrize("turn", range(5))
def test_r9_fail_over_by_sentinels(tmp_path: Path, turn: int) -> None:
    with Sentinels(tmp_path) as fleet, Rig(tmp_path, fleet.url, "rows", identified=True) as rig:
        print(f"\n{redis_rows.r9(rig, fleet, '', *EIGHT)}")


def test_r9_fails_for_a_follower_that_takes_an_older_state_at_its_word(tmp_path: Path) -> None:
    with (
        Sentinels(tmp_path) as fleet,
        Rig(tmp_path, fleet.url, "rows", identified=True) as rig,
        pytest.raises(AssertionError, match="the kill stays in force"),
    ):
        redis_rows.r9(rig, fleet, variants.OBEDIENT)


def test_r17_a_herd_of_32_workers_whose_master_dies(tmp_path: Path) -> None:
    with Sentinels(tmp_path) as fleet, Rig(tmp_path, fleet.url, "rows", identified=True) as rig:
        print(f"\n{redis_rows.herd(rig, fleet, 32)}")


@pytest.mark.parametrize("turn", range(5))
def test_a_cluster_whose_slot_moves_and_whose_node_dies(tmp_path: Path, turn: int) -> None:
    with Cluster(tmp_path) as fleet, Rig(tmp_path, fleet.url, "rows", identified=True) as rig:
        print(f"\n{redis_rows.cluster(rig, fleet, *EIGHT)}")


def test_a_password_that_changes_is_noticed_by_whoever_asks_for_it_only(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with (
        Rig(tmp_path, redis_server.url, "rows", identified=True) as rig,
        pytest.raises(NotReadyError, match="store: recovered"),
    ):
        redis_rows.rotated(rig, redis_server, tmp_path / "password", from_url=True)
