"""End to end: four workers, a Redis and HTTP; bad releases go back, a good one goes forward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canary_middleware.core.state import Phase
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.measured import Crowd, Site

BAD = {"crash": "errors", "errors": "errors", "latency": "latency", "charges": "charges"}
"""Each bad release and the guard that sees it."""
USUAL = 6.0
"""Seconds after which totals of idle releases have been told, and with them how fast stable is."""
WITHIN = 2.0
"""Seconds from the last necessary request to the last canary answer."""


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Site]:
    with Site(tmp_path, redis_server.url, namespace) as made:
        yield made


def visited(
    site: Site, crowd: Crowd, done: Callable[[], bool], seconds: float, *names: str
) -> None:
    """A crowd, from before the start until it is done and a little longer."""

    def operate() -> None:
        try:
            time.sleep(USUAL)
            site.start(*names)
            wait_until(done, timeout=seconds, what=f"{', '.join(names)} done", every=0.1)
            time.sleep(1.0)
        finally:
            crowd.stopped = True

    async def story() -> None:
        await asyncio.gather(crowd.run(USUAL + seconds + 5), asyncio.to_thread(operate))

    asyncio.run(story())


@pytest.mark.alone
def test_bad_releases_go_back_and_a_good_one_is_promoted(site: Site) -> None:
    crowd = Crowd(site.ports, [*BAD, "healthy"], rate=120.0)
    ends = {**dict.fromkeys(BAD, Phase.ROLLED_BACK), "healthy": Phase.PROMOTED}

    def done() -> bool:
        return all(site.phase(name) is ends[name] for name in ends)

    visited(site, crowd, done, 45.0, *ends)
    assert crowd.broken == []
    assert {name: site.phase(name) for name in ends} == ends
    for name, guard in BAD.items():
        (line,) = site.history(name, "rollback")
        guilty = [one for one in line.evidence["guards"] if one["breach"]]
        assert [one["guard"] for one in guilty] == [guard]
        assert line.why.startswith("rolled back after ")
        (known,) = site.history(name, "baseline")
        bad = name in ("crash", "errors")
        needed = guilty[0]["canary"]["events"] if bad else line.evidence["visitors"][0]
        took = crowd.after(name, needed, known.at, bad=bad)
        assert took <= WITHIN, (name, took, line.why)
    steps = [line.new for line in site.history("healthy", "advance")]
    assert steps == ["1.5.0 ramping 50%", "1.5.0 ramping 100%"], "each step once, none left out"
    (promotion,) = site.history("healthy", "promote")
    assert "proven up to the margins" in promotion.why


@pytest.mark.alone
def test_a_canary_that_blocks_the_loop_is_taken_off_without_blame(site: Site) -> None:
    crowd = Crowd(site.ports, ["blocking"], rate=30.0)

    def done() -> bool:
        return bool(site.history("blocking", "precaution"))

    visited(site, crowd, done, 30.0, "blocking")
    (line,) = site.history("blocking", "precaution")
    assert (site.phase("blocking"), site.entry("blocking").weight) == (Phase.PAUSED, 0)
    assert "without blame" in line.why
    assert not site.history("blocking", "rollback")
