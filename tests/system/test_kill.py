"""A kill from the command line: at once, for everybody, and no order is executed twice.

``tests/faults/test_kill.py`` does all fifty cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import variants
from tests.system.beside import Trial, Trials
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


# --- the checks fail ------------------------------------------------------------------------------


def passed_by_testers(rig: Rig, _server: RedisServer) -> None:
    workers = names(rig.serve("uvicorn", variant=variants.TESTERS_PASS))
    rig.started(HALF)
    Drill(rig, workers).run(1).check()


def without_poll(rig: Rig, _server: RedisServer) -> None:
    rig.started(HALF)  # before the worker's first and only look
    deaf = rig.serve("uvicorn", store=rig.muted(), variant=variants.NO_POLL)
    Drill(rig, {"deaf": deaf[0]}).run(1)


def superseding_posts(rig: Rig, _server: RedisServer) -> None:
    rig.setup = replace(rig.setup, orders=str(rig.directory / "orders"))
    workers = names(rig.serve("uvicorn", "gunicorn", variant=variants.SUPERSEDES_POSTS))
    rig.started(HALF)
    Drill(rig, workers, posts=0.8).run(1).check_orders()


BROKEN = {
    "for testers that pass the kill switch": Trial(
        passed_by_testers, "whoever is dispatched after the worker heard"
    ),
    "for an agent without poll": Trial(without_poll, "deaf hears the kill", NotReadyError),
    "for a kill that supersedes posts": Trial(
        superseding_posts, "an order was executed more than once"
    ),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(BROKEN, tmp_path_factory.mktemp("broken"), "broken", identified=True)


@pytest.mark.faults
@pytest.mark.parametrize("variant", BROKEN)
def test_the_check_fails(trials: Trials, variant: str) -> None:
    trials.noticed(variant)
