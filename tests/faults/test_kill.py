"""All fifty cycles of kill and revive; ``tests/system/test_kill.py`` does some of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system.drill import Drill, difficult
from tests.system.rig import Rig

pytestmark = pytest.mark.faults


def test_fifty_kills_at_random_instants(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    orders = str(tmp_path / "orders")
    with Rig(tmp_path, redis_server.url, namespace, identified=True, orders=orders) as rig:
        workers = difficult(rig)
        rig.started(50_000)
        done = Drill(rig, workers).run(50)
        print(f"\n{done.figures()}")
        done.check()
