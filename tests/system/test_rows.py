"""Some seconds of each row of FAULTS.md that is no plain outage; ``tests/faults`` takes longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import garbage, herd, rows, variants
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "rows", identified=True) as made:
        yield made


def test_r10_flushall_while_ramping(rig: Rig, redis_server: RedisServer) -> None:
    servers = ("uvicorn", "gunicorn", "uvicorn", "gunicorn")
    print(f"\n{rows.r10(rig, redis_server, servers, 2.0)}")


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


def test_r17_a_herd_of_workers(rig: Rig, redis_server: RedisServer) -> None:
    print(f"\n{herd.r17(rig, redis_server, 16, 2.0)}")


# --- each fails for a variant that lacks what it is about -----------------------------------------


def test_r10_fails_for_a_follower_that_takes_an_empty_store_at_its_word(
    rig: Rig, redis_server: RedisServer
) -> None:
    with pytest.raises(AssertionError, match="nobody moves"):
        rows.r10(rig, redis_server, ("uvicorn",), 1.0, variants.GULLIBLE)


def test_r12_fails_for_a_follower_that_takes_garbage_at_its_word(
    rig: Rig, redis_server: RedisServer
) -> None:
    with pytest.raises(AssertionError, match="the last good state serves"):
        garbage.r12(rig, redis_server, garbage.SOME[:1], variants.GULLIBLE)


def test_r13_fails_for_an_agent_without_poll(rig: Rig, redis_server: RedisServer) -> None:
    with pytest.raises(NotReadyError, match="the kill is heard"):
        rows.r13(rig, redis_server, 1, variants.NO_POLL)


def test_r14_fails_for_a_follower_that_takes_the_last_push_for_the_newest(
    rig: Rig, redis_server: RedisServer
) -> None:
    with pytest.raises(AssertionError, match="no old push lifts the kill"):
        rows.r14(rig, redis_server, variants.LAST_WORD)


def test_w4_fails_for_a_middleware_that_trusts_no_cookie_of_another_clock(rig: Rig) -> None:
    with pytest.raises(AssertionError, match=r"flips at 3600\.0 s"):
        rows.w4(rig, 100, (0.0, 3600.0), variants.PUNCTUAL)


def test_w7_fails_for_an_agent_that_a_fork_leaves_behind(rig: Rig) -> None:
    with pytest.raises(NotReadyError, match="both children hear"):
        rows.w7(rig, variants.LEFT_BEHIND)


def test_w11_fails_for_a_target_whose_start_nobody_looks_at(rig: Rig) -> None:
    with pytest.raises(AssertionError, match="nobody gets to a canary that did not start"):
        rows.w11(rig, variants.NEVER_STARTED)
