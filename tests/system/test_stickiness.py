"""Ten thousand visitors, four processes of two kinds, one address: nobody sees two versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.core.bucket import ANONYMOUS, draw, lane_key, threshold
from canary_middleware.core.weight import FULL, parse_weight
from tests.support.clients import AsyncVisitor, Pool
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system import variants
from tests.system.crowd import AT_ONCE, Seen, first_visit, versions, walk
from tests.system.rig import Front, Rig, Worker
from tests.system.site import CANARY, KEY

VISITORS = 10_000
TOGETHER = 250
SERVERS = ("uvicorn", "gunicorn", "uvicorn", "gunicorn")
NEW_KEY = "the-second-key-of-these-tests-is-long-enough"
ADD_NEW = (NEW_KEY, KEY)  # the last one signs: everybody learns the new key before it signs
SIGN_NEW = (KEY, NEW_KEY)
BOTH = ("shop", "blog")
DRAIN = 0.2
"""Seconds from leaving the front to the end: the last ones that it let in have yet to ask."""


@dataclass
class Site:
    """A site with visitors who came while it was restarted and its key was changed."""

    rig: Rig
    front: Front
    visitors: dict[int, AsyncVisitor]
    seen: Seen


def visit(rig: Rig, visitors: int, keys: tuple[tuple[str, ...], ...] = ()) -> Site:
    """Visitors arrive while all workers are restarted once for each entry of ``keys``."""
    front, seen = rig.front(), Seen()

    async def journey(number: int, visitor: AsyncVisitor) -> None:
        await first_visit(number, visitor, seen)

    async def everybody() -> dict[int, AsyncVisitor]:
        crowd: dict[int, AsyncVisitor] = {}
        roll: asyncio.Future[None] | None = None
        for first in range(0, visitors, TOGETHER):
            # New connections now and then, so that restarted workers get their share.
            async with Pool(front.port, 2 * AT_ONCE) as pool:
                last = min(first + TOGETHER, visitors)
                some = {number: AsyncVisitor(pool) for number in range(first, last)}
                await walk(some, journey)
            crowd |= some
            if roll is None:  # everybody has been asked by now
                roll = asyncio.create_task(asyncio.to_thread(restart_all, rig.workers, front, keys))
        assert roll is not None
        await roll
        return crowd

    return Site(rig, front, asyncio.run(everybody()), seen)


def restart_all(workers: list[Worker], front: Front, keys: tuple[tuple[str, ...], ...]) -> None:
    """One worker after the other leaves the front, ends, starts with these keys, and comes back."""
    for ring in keys:
        for worker in workers:
            front.only(other.port for other in workers if other is not worker)
            time.sleep(DRAIN)
            worker.renew(keys=ring)
            front.only(other.port for other in workers)


@contextmanager
def serving(
    directory: Path, server: RedisServer, namespace: str, variant: str = ""
) -> Iterator[Rig]:
    """Four workers of two kinds, both applications at 10 %."""
    with Rig(directory, server.url, namespace, apps=BOTH, variant=variant) as rig:
        rig.serve(*SERVERS)
        for app in BOTH:
            rig.started(parse_weight("10%"), app)
        yield rig


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("sticky")
    with RedisServer(directory) as server, serving(directory, server, "sticky") as rig:
        began = time.monotonic()
        made = visit(rig, VISITORS, (ADD_NEW, SIGN_NEW))
        print(f"\n{VISITORS} visitors: {time.monotonic() - began:.0f} s")
        yield made


def check(seen: Seen, visitors: int) -> None:
    assert seen.broken == []
    assert seen.two_versions() == [], "nobody who was drawn sees two versions"
    assert len({number for number, _ in seen.versions}) == visitors


def test_ten_percent_of_visitors_and_requests_and_one_version_each(site: Site) -> None:
    seen = site.seen
    check(seen, VISITORS)
    by_visitors, by_requests = seen.share_of_visitors("shop"), seen.share_of_requests("shop")
    print(f"\nshop: {by_visitors:.2%} of visitors, {by_requests:.2%} of requests on canary")
    assert abs(by_visitors - 0.10) < 0.01
    assert abs(by_requests - 0.10) < 0.01
    assert len(seen.processes) >= 2 * len(SERVERS), "all served before the restarts and after them"


def test_the_cookies_of_two_applications_live_side_by_side(site: Site) -> None:
    names = {name for visitor in site.visitors.values() for name in visitor.cookies.values}
    assert names == {"canary-sticky", "canary-sticky-blog"}
    lines = [len(visitor.cookies.lines) for visitor in site.visitors.values()]
    # One for each application; one more each for whom the new key caught on the way.
    assert max(lines) <= 4
    assert sum(lines) < 1.5 * VISITORS


def decide_alike(site: Site, visitors: dict[int, AsyncVisitor], asgi: Worker, wsgi: Worker) -> None:
    known = {number: min(site.seen.versions[number, "shop"]) for number in visitors}
    by_asgi = asyncio.run(versions(asgi.port, visitors))
    held = {number: dict(v.cookies.values) for number, v in visitors.items()}
    by_wsgi = asyncio.run(versions(wsgi.port, visitors))
    assert by_asgi == by_wsgi == known, "both decide alike"
    assert held == {n: v.cookies.values for n, v in visitors.items()}, "no cookie is replaced"


def test_asgi_and_wsgi_decide_alike_and_take_each_others_cookies(site: Site) -> None:
    asgi, wsgi, *_ = site.rig.workers
    decide_alike(site, site.visitors, asgi, wsgi)
    print(f"\nASGI and WSGI: {len(site.visitors)} visitors alike, no cookie replaced")


@pytest.mark.parametrize(
    ("odd", "failure"),
    [
        pytest.param({"identified": True}, "both decide alike", id="a bucket secret of its own"),
        pytest.param({"keys": (KEY,)}, "both decide alike", id="no key for the others' cookies"),
        pytest.param({"keys": ADD_NEW}, "no cookie is replaced", id="signs by another key"),
    ],
)
def test_the_comparison_fails_for_a_wsgi_worker_that_is_set_up_otherwise(
    site: Site, odd: dict[str, Any], failure: str
) -> None:
    (wsgi,) = site.rig.serve("gunicorn", **{"keys": SIGN_NEW, **odd})
    site.rig.workers.remove(wsgi)
    same = {number: copied(site.visitors[number]) for number in range(300)}
    with pytest.raises(AssertionError, match=failure):
        decide_alike(site, same, site.rig.workers[0], wsgi)
    wsgi.kill()


def copied(visitor: AsyncVisitor) -> AsyncVisitor:
    """Somebody else with the same cookies."""
    twin = AsyncVisitor(visitor.pool)
    twin.cookies.values.update(visitor.cookies.values)
    return twin


def only_grows(
    rig: Rig, visitors: dict[int, AsyncVisitor], weights: Sequence[str]
) -> dict[str, int]:
    """Raise the weight step by step; counts who is on canary at each."""
    store, before, counts = rig.store(), set[int](), {}
    for turn, weight in enumerate(weights):
        verbs.weight(store, "shop", parse_weight(weight), by="test")
        confirmed(rig)
        found = asyncio.run(versions(rig.workers[turn % 2].port, visitors))
        canary = {number for number, version in found.items() if version == CANARY}
        assert before <= canary, f"somebody left the canary at {weight}"
        share, many = parse_weight(weight) / FULL, len(visitors)
        # Five standard deviations; at 0 and at 100 % there are none.
        assert abs(len(canary) - share * many) <= 5 * (share * (1 - share) * many) ** 0.5
        before = canary
        counts[weight] = len(canary)
    verbs.weight(store, "shop", parse_weight("10%"), by="test")
    return counts


def test_the_canary_only_grows_and_zero_and_hundred_are_exact(site: Site) -> None:
    some = {number: site.visitors[number] for number in range(1_500)}
    counts = only_grows(site.rig, some, ("0%", "1%", "5%", "25%", "50%", "100%"))
    print(f"\non canary of {len(some)}: {counts}")


def confirmed(rig: Rig) -> None:
    """Wait until every worker says that it follows."""
    wait_until(partial(rig.followed, rig.store()), what="all follow")


def test_a_thousandth_of_a_percent_is_a_share_like_any_other() -> None:
    key, limit = lane_key(b"", "sticky", "shop", CANARY), threshold(parse_weight("0.001%"))
    coarse = threshold(parse_weight("0.001%") // 1_000 * 1_000)  # the variant: only whole per cents
    places = [draw(key, ANONYMOUS, str(number)) for number in range(1_000_000)]
    assert 1 <= sum(place < limit for place in places) <= 25, "ten are expected"
    assert sum(place < coarse for place in places) == 0
    assert threshold(0) == 0
    assert threshold(FULL) == 1 << 53


def test_both_checks_fail_for_a_plain_random_cohort(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with serving(tmp_path, redis_server, "spoiled", variants.PLAIN_RANDOM) as rig:
        site = visit(rig, 200)
        with pytest.raises(AssertionError, match="nobody who was drawn sees two versions"):
            check(site.seen, 200)
        with pytest.raises(AssertionError, match="somebody left the canary"):
            only_grows(rig, site.visitors, ("10%", "10%"))


def test_the_check_fails_for_a_middleware_that_draws_for_every_request(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with serving(tmp_path, redis_server, "spoiled", variants.EVERYBODY_DRAWS) as rig:
        seen = visit(rig, 100).seen
        with pytest.raises(AssertionError, match="a cookie for a request that may not draw"):
            check(seen, 100)


def test_the_check_fails_for_a_key_that_signs_before_everybody_knows_it(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The variant: a one-step rotation. Workers that lack the new key draw its visitors anew."""
    with serving(tmp_path, redis_server, "hasty") as rig:
        rig.workers[0].renew(keys=SIGN_NEW)
        verbs.weight(rig.store(), "shop", parse_weight("50%"), by="test")
        with pytest.raises(AssertionError, match="nobody who was drawn sees two versions"):
            check(visit(rig, 200).seen, 200)
