"""A kill while 200 clients race for first claims in four processes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import RedisServer
from tests.system import races, variants
from tests.system.beside import Trial, Trials
from tests.system.rig import Rig

SERVERS = ("uvicorn", "gunicorn", "uvicorn", "waitress")
SHARED: Any = {"budget": 1.0, "plans": {"shop": {"policy": "keep", "affinity": "shared"}}}


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "race", identified=True, **SHARED) as made:
        yield made


def test_no_canary_after_a_kill_and_no_claim_that_survives_it(rig: Rig) -> None:
    rig.serve(*SERVERS)
    rng = random.Random(3)
    for number, policy in enumerate(("keep", "session", "keep")):
        print(f"\n{races.killed_while_racing(rig, policy, rng, again=number > 0)}")


# --- each fails for a variant that lacks what it is about -----------------------------------------


def _spoiled(variant: str, policy: str) -> Callable[[Rig, RedisServer], object]:
    def check(rig: Rig, _: RedisServer) -> object:
        rig.serve("uvicorn", variant=variant)
        return races.killed_while_racing(rig, policy, random.Random(3))

    return check


ANEW = "no claim of an old epoch decides"
BROKEN = {
    "for a middleware whose visitors pass the kill switch": Trial(
        _spoiled(variants.TESTERS_PASS, "keep"), "whoever is dispatched after the worker heard"
    ),
    **{
        f"for a follower to whom no event voids a claim, {policy}": Trial(
            _spoiled(variants.TIMELESS, policy), ANEW
        )
        for policy in ("keep", "session")
    },
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(BROKEN, tmp_path_factory.mktemp("broken"), "race", identified=True, **SHARED)


@pytest.mark.parametrize("variant", BROKEN)
def test_the_check_fails(trials: Trials, variant: str) -> None:
    trials.noticed(variant)
