"""``canary drill`` on running servers: found and taken back, and over without whoever began it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.core.state import Phase, Plan
from canary_middleware.core.weight import parse_weight
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.measured import Crowd, Site
from tests.system.measured_site import rollout

NAME = "healthy"
STRICT = 1e-9
"""The alpha of these rollouts: some dozen hits are found, a handful is not."""


@contextmanager
def drilling_site(directory: Path, url: str, namespace: str) -> Iterator[tuple[Site, Crowd]]:
    """Two workers with a canary that has nothing wrong, at 50 %, and visitors until the end."""
    plan = Plan.from_rollout(rollout(NAME))
    plan = replace(plan, course=replace(plan.course, alpha=STRICT))
    with Site(directory, url, namespace, workers=2) as site:
        verbs.start(site.store, NAME, by="test", plan=plan, weight=parse_weight("50%"))
        crowd = Crowd(site.ports, [NAME])
        visiting = threading.Thread(target=asyncio.run, args=(crowd.run(60.0),))
        visiting.start()
        try:
            wait_until(lambda: len(site.store.processes()) == 2, what="reports")
            wait_until(lambda: len(crowd.canaries(NAME)) > 50, what="canary visitors")
            yield site, crowd
        finally:
            crowd.stopped = True
            visiting.join()


def command(url: str, namespace: str, *more: str) -> list[str]:
    words = ["drill", NAME, "--fault", "error", "--yes", "--json", *more]
    where = ["--store", url, "--namespace", namespace]
    return [sys.executable, "-m", "canary_middleware.cli", *words, *where]


def unhurt(crowd: Crowd) -> None:
    """Whoever was on stable never saw a fault, and nobody saw another one than was injected."""
    first: dict[int, str] = {}
    for one in crowd.saw:
        first.setdefault(one.visitor, one.cohort)
    hit = [one for one in crowd.saw if one.status != 200]
    assert {one.status for one in hit} == {503}
    assert not [one for one in hit if first[one.visitor] == "stable"]
    assert not crowd.broken


@pytest.mark.faults
def test_a_drill_is_found_and_taken_back(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    url = redis_server.url
    with drilling_site(tmp_path, url, namespace) as (site, crowd):
        words = command(url, namespace, "--share", "50%", "--for", "30s")
        done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
        assert done.returncode == 0, done
        told = json.loads(done.stdout)
        assert (told["detected"], told["end"], told["guard"]) == (True, "rolled_back", "errors")
        assert site.phase(NAME) is Phase.ROLLED_BACK
        crowd.stopped = True
    hit = [one for one in crowd.saw if one.status == 503]
    assert told["requests"] == len(hit)
    assert told["visitors"] == len({one.visitor for one in hit})
    assert told["canary_requests"] >= told["requests"]
    assert "drill: error in 50%" in told["why"]
    unhurt(crowd)


@pytest.mark.faults
def test_a_drill_ends_although_its_starter_was_killed(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    url = redis_server.url
    with drilling_site(tmp_path, url, namespace) as (site, crowd):
        words = command(url, namespace, "--share", "5%", "--for", "3s")
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as starter:
            wait_until(lambda: site.entry(NAME).drill is not None, what="the drill")
            begun = time.monotonic()
            starter.kill()
        run = site.entry(NAME).run
        wait_until(lambda: site.entry(NAME).drill is None, timeout=20.0, what="its end")
        assert site.entry(NAME).run > run, "evidence begins anew"
        assert site.phase(NAME) is Phase.PAUSED
        time.sleep(1.0)
    hit = [one.at for one in crowd.saw if one.status == 503]
    assert hit
    assert max(hit) < begun + 3.0 + 0.5, "the answers of the last moment may still arrive"
    unhurt(crowd)
