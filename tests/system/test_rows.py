"""Some seconds of each row of FAULTS.md that is no plain outage; ``tests/faults`` takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import garbage, herd, rows, variants
from tests.system.beside import Trial, Trials
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "rows", identified=True) as made:
        yield made


def test_r10_flushall_while_ramping(rig: Rig, redis_server: RedisServer) -> None:
    servers = ("uvicorn", "gunicorn", "uvicorn", "gunicorn")
    print(f"\n{rows.r10(rig, redis_server, servers, 2.0)}")


@pytest.mark.alone
def test_r12_garbage_in_every_key(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{garbage.r12(rig, redis_server, garbage.SOME)}")


def test_r13_pushes_that_are_lost(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r13(rig, redis_server, kills=3)}")


def test_r14_pushes_that_come_again(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{rows.r14(rig, redis_server)}")


def test_w4_clocks_that_are_wrong(rig: Rig) -> None:
    print(f"\n{rows.w4(rig, visitors=100)}")


def test_w7_fork_after_construction(rig: Rig) -> None:
    print(f"\n{rows.w7(rig)}")


def test_w11_a_canary_that_does_not_start(rig: Rig) -> None:
    print(f"\n{rows.w11(rig)}")


@pytest.mark.alone
def test_w15_a_kill_while_every_core_is_busy(rig: Rig) -> None:
    print(f"\n{rows.w15(rig, kills=3)}")


def test_r17_a_herd_of_workers(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{herd.r17(rig, redis_server, 16, 2.0)}")


# --- each fails for a variant that lacks what it is about -----------------------------------------

BROKEN = {
    "R10 for a follower that takes an empty store at its word": Trial(
        partial(rows.r10, servers=("uvicorn",), seconds=1.0, variant=variants.GULLIBLE),
        "nobody moves",
    ),
    "R12 for a follower that takes garbage at its word": Trial(
        lambda rig, server: garbage.r12(rig, server, garbage.SOME[:1], variants.GULLIBLE),
        "the last good state serves",
    ),
    "R13 for an agent without poll": Trial(
        partial(rows.r13, kills=1, variant=variants.NO_POLL), "the kill is heard", NotReadyError
    ),
    "R14 for a follower that takes the last push for the newest": Trial(
        partial(rows.r14, variant=variants.LAST_WORD), "no old push lifts the kill"
    ),
    "W4 for a middleware that trusts no cookie of another clock": Trial(
        lambda rig, _: rows.w4(rig, 100, (0.0, 3600.0), variants.PUNCTUAL), r"flips at 3600\.0 s"
    ),
    "W7 for an agent that a fork leaves behind": Trial(
        lambda rig, _: rows.w7(rig, variants.LEFT_BEHIND), "both children hear", NotReadyError
    ),
    "W15 for an agent without push and poll": Trial(
        lambda rig, _: rows.w15(rig, 1, ("uvicorn",), store=rig.muted(), variant=variants.NO_POLL),
        "the kill is heard",
        NotReadyError,
    ),
    "W11 for a target whose start nobody looks at": Trial(
        lambda rig, _: rows.w11(rig, variants.NEVER_STARTED),
        "nobody gets to a canary that did not start",
    ),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(BROKEN, tmp_path_factory.mktemp("broken"), "rows", identified=True)


@pytest.mark.faults
@pytest.mark.parametrize("variant", BROKEN)
def test_each_fails(trials: Trials, variant: str) -> None:
    trials.noticed(variant)
