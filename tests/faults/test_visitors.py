"""Rows of FAULTS.md about visitors on the way: rolling restarts and the end of an old key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system.crowd import versions
from tests.system.site import KEY
from tests.system.test_stickiness import ADD_NEW, NEW_KEY, SIGN_NEW, Site, check, serving, visit

pytestmark = pytest.mark.faults

VISITORS = 3_000


def test_w5_a_rolling_restart_of_all_workers(tmp_path: Path, redis_server: RedisServer) -> None:
    with serving(tmp_path, redis_server, "rolling") as rig:
        seen = visit(rig, VISITORS, ((KEY,),)).seen
        flips, lost = len(seen.two_versions()), len(seen.broken)
        print(f"\nW5: lost and wrong {lost} (limit 0), flips {flips} of {VISITORS} (limit 0)")
        check(seen, VISITORS)


def remove_the_old_key(site: Site) -> None:
    port = site.rig.workers[0].port
    before = asyncio.run(versions(port, site.visitors))  # gives everybody the newest signature
    for worker in site.rig.workers:
        worker.renew(keys=(NEW_KEY,))
    after = asyncio.run(versions(port, site.visitors))
    flips = sum(before[number] != after[number] for number in before)
    print(f"\nW8: flips {flips} of {len(before)} over two keys and the removal of one (limit 0)")
    assert flips == 0, "nobody moves when the old key goes"


def test_w8_a_key_that_is_changed_and_then_removed(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with serving(tmp_path, redis_server, "rotated") as rig:
        site = visit(rig, VISITORS, (ADD_NEW, SIGN_NEW))
        check(site.seen, VISITORS)
        remove_the_old_key(site)


def test_w8_fails_where_the_old_key_goes_before_the_new_one_has_signed(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with serving(tmp_path, redis_server, "hurried") as rig:
        site = visit(rig, 500, (ADD_NEW,))
        with pytest.raises(AssertionError, match="nobody moves when the old key goes"):
            remove_the_old_key(site)
