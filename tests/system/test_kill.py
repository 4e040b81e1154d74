"""A kill from the command line: at once, for everybody, and no order is executed twice.

``tests/faults/test_kill.py`` does all fifty cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import variants
from tests.system.drill import Drill, difficult, names
from tests.system.rig import Rig

HALF = 50_000
"""Weight in 0.001 %: half of the anonymous visitors are on canary."""


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Rig]:
    orders = str(tmp_path / "orders")
    with Rig(tmp_path, redis_server.url, namespace, identified=True, orders=orders) as made:
        yield made


def test_whoever_is_dispatched_after_the_worker_heard_gets_stable(rig: Rig) -> None:
    workers = difficult(rig)
    rig.started(HALF)
    done = Drill(rig, workers).run(3)
    print(f"\n{done.figures()}")
    done.check()


def test_the_check_fails_for_testers_that_pass_the_kill_switch(rig: Rig) -> None:
    workers = names(rig.serve("uvicorn", variant=variants.TESTERS_PASS))
    rig.started(HALF)
    done = Drill(rig, workers).run(1)
    with pytest.raises(AssertionError, match="whoever is dispatched after the worker heard"):
        done.check()


def test_the_check_fails_for_an_agent_without_poll(rig: Rig) -> None:
    rig.started(HALF)  # before the worker's first and only look
    deaf = rig.serve("uvicorn", store=rig.muted(), variant=variants.NO_POLL)
    with pytest.raises(NotReadyError, match="deaf hears the kill"):
        Drill(rig, {"deaf": deaf[0]}).run(1)


def test_the_check_fails_for_a_kill_that_supersedes_posts(rig: Rig) -> None:
    workers = names(rig.serve("uvicorn", "gunicorn", variant=variants.SUPERSEDES_POSTS))
    rig.started(HALF)
    done = Drill(rig, workers, posts=0.8).run(1)
    with pytest.raises(AssertionError, match="an order was executed more than once"):
        done.check_orders()
