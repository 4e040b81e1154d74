"""Redis with a memory that is full, a demoted master, Sentinels, a Cluster, another password.

Each row has servers of its own and mostly waits, so they run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from tests.support.fleet import Cluster, Sentinels
from tests.support.redis import RedisServer
from tests.system import redis_rows
from tests.system.beside import beside
from tests.system.rig import Rig


def full(directory: Path) -> str:
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, "rows", identified=True) as rig,
    ):
        return redis_rows.r6(rig, server)


def failing_over(directory: Path) -> str:
    with Sentinels(directory) as fleet, Rig(directory, fleet.url, "rows", identified=True) as rig:
        return redis_rows.r9(rig, fleet)


def clustered(directory: Path) -> str:
    with Cluster(directory) as fleet, Rig(directory, fleet.url, "rows", identified=True) as rig:
        return redis_rows.cluster(rig, fleet)


def password(directory: Path) -> str:
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, "rows", identified=True) as rig,
    ):
        return redis_rows.rotated(rig, server, directory / "password")


ROWS: Mapping[str, Callable[[Path], str]] = {
    "a cluster whose slot moves and whose node dies": clustered,
    "a password that changes": password,
    "R9: fail-over by Sentinels": failing_over,
    "R6: memory is full": full,
    "R7: a demoted master": redis_rows.r7,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[str]]:
    return beside(
        {name: partial(row, tmp_path_factory.mktemp(row.__name__)) for name, row in ROWS.items()}
    )


@pytest.mark.parametrize("row", ROWS)
def test_each_keeps_its_limits(found: Mapping[str, Future[str]], row: str) -> None:
    print(f"\n{found[row].result()}")
