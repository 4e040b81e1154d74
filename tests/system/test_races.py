"""A kill while 200 clients race for first claims in four processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import races, variants
from tests.system.rig import Rig

SERVERS = ("uvicorn", "gunicorn", "uvicorn", "waitress")


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(
        tmp_path, redis_server.url, "race", identified=True, budget=1.0,
        plans={"shop": {"policy": "keep", "affinity": "shared"}},
    ) as made:  # fmt: skip
        yield made


def test_no_canary_after_a_kill_and_no_claim_that_survives_it(rig: Rig) -> None:
    rig.serve(*SERVERS)
    rng = random.Random(3)
    for number, policy in enumerate(("keep", "session", "keep")):
        print(f"\n{races.killed_while_racing(rig, policy, rng, again=number > 0)}")


def test_the_check_fails_for_a_middleware_whose_visitors_pass_the_kill_switch(rig: Rig) -> None:
    rig.serve("uvicorn", variant=variants.TESTERS_PASS)
    with pytest.raises(AssertionError, match="whoever is dispatched after the worker heard"):
        races.killed_while_racing(rig, "keep", random.Random(3))


@pytest.mark.parametrize("policy", ["keep", "session"])
def test_the_check_fails_for_a_follower_to_whom_no_event_voids_a_claim(
    rig: Rig, policy: str
) -> None:
    rig.serve("uvicorn", variant=variants.TIMELESS)
    with pytest.raises(AssertionError, match="no claim of an old epoch decides"):
        races.killed_while_racing(rig, policy, random.Random(3))
