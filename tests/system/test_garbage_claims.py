"""What a hostile writer can do with the claims in the store; each check with a variant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.garbage_claims import SHARED, Hostile, s22
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(
        tmp_path, redis_server.url, "hostile", identified=True, plans=SHARED, budget=1.0
    ) as made:
        yield made


def test_s22_what_stands_in_claims_fails_no_request_and_moves_nobody_else(
    rig: Rig, redis_server: RedisServer
) -> None:
    rig.serve("uvicorn", "gunicorn")
    print(f"\n{s22(rig, redis_server)}")


def test_the_checks_fail_for_whoever_takes_a_claim_as_it_stands(
    rig: Rig, redis_server: RedisServer
) -> None:
    rig.serve("gunicorn", variant=variants.CARELESS)
    with pytest.raises(AssertionError, match="counts as absent"):
        Hostile(rig, redis_server).absent()


def test_the_checks_fail_for_whoever_takes_every_claim_for_one_of_now(
    rig: Rig, redis_server: RedisServer
) -> None:
    rig.serve("uvicorn", variant=variants.AGELESS)
    with pytest.raises(AssertionError, match="what a claim of each kind can do"):
        Hostile(rig, redis_server).in_form()
