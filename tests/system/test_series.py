"""The chart of a rollout: two workers, a Redis, visitors, and a death of the one who records."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from canary_middleware import verbs
from canary_middleware.core.codec_series import decode
from canary_middleware.core.series import Point, intervals
from canary_middleware.core.state import Plan
from canary_middleware.overview.series import Reader
from canary_middleware.stores.redis import RedisStore
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.measured import Crowd, Site
from tests.system.measured_site import rollout
from tests.system.rig import group

NAME = "healthy"
LABELS = {"canary": "1.5.0", "stable": "1.4.2"}
HALF = 50_000


def points(store: RedisStore) -> list[Point]:
    return [decode(*one) for one in store.series(NAME)]


def drawn(store: RedisStore) -> dict[str, int]:
    """Requests by version, as the last point has them."""
    return {one.label: one.counts.requests for one in points(store)[-1].versions}


def visit(crowd: Crowd) -> dict[str, int]:
    """Some come and go; requests by version, as all clients together saw them."""
    asyncio.run(crowd.run(1.5))
    assert crowd.broken == []
    return Counter(LABELS[one.cohort] for one in crowd.saw)


def test_points_have_what_clients_saw_whoever_dies(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    with Site(tmp_path, redis_server.url, namespace, workers=2) as site:
        store = site.store
        assert isinstance(store, RedisStore)
        plan = Plan.from_rollout(rollout(NAME))
        begun = verbs.start(store, NAME, by="test", plan=plan, weight=HALF)

        def all_follow() -> bool:
            return [one.revision for one in store.processes()] == [begun.revision] * 2

        wait_until(all_follow, what="all follow")
        wait_until(lambda: bool(points(store)), timeout=20, what="a point")
        crowd = Crowd(site.ports, [NAME])
        saw = visit(crowd)

        def shipped() -> bool:
            seen = site.counted(NAME).seen
            return {LABELS[cohort.value]: one.n for cohort, one in seen.items()} == saw

        wait_until(shipped, timeout=15, what="all of it shipped")
        with redis_server.client() as client:
            owner = client.get(f"canary:{{{namespace}}}:lease:series")
        (recorder,) = [one.pid for one in store.processes() if one.id == owner]
        for process, port in zip(site.processes, site.ports, strict=True):
            if process.pid == group(recorder):
                process.kill()
                crowd.gone.add(port)
        assert len(crowd.gone) == 1
        saw = visit(crowd)
        wait_until(lambda: drawn(store) == saw, timeout=40, what="the other one goes on")
        # All of it may have been within ten seconds: one point, and a chart is of differences.
        wait_until(lambda: len(points(store)) > 1, timeout=20, what="a second point")
        saw = visit(crowd)
        wait_until(lambda: drawn(store) == saw, timeout=40, what="what came after the first point")
        written = points(store)
        first, *between = written[0], *intervals(written)
        for label, count in saw.items():
            begin = sum(one.counts.requests for one in first.versions if one.label == label)
            found = [one.versions[label].requests for one in between if label in one.versions]
            assert begin + sum(found) == count
        now = time.time()
        chart = Reader(store).read(NAME, now - 300, now)
        assert [line.version for line in chart.lines] == ["1.5.0", "1.4.2"]
        assert {one.weight for one in chart.stretches} == {HALF}
        assert any(chart.lines[0].latency["p50"]), "an answer takes 20 ms in the middle"
