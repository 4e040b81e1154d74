"""Visitors whose requests reach all workers at once are one throw of the coin each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

from canary_middleware import verbs
from canary_middleware.core.throw import Cell
from canary_middleware.core.weight import FULL
from tests.support.clients import NAVIGATION, Connection, Cookies, Response
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.measured import Site

VISITORS = 60
AT_ONCE = 8
LOW, HIGH = 30 * FULL // 100, 60 * FULL // 100
HEARD = 1.0
"""Seconds after which every worker follows."""


async def ask(port: int, jar: Cookies) -> Response:
    connection = Connection(port)
    try:
        headers = {**NAVIGATION, **jar.header(), "Connection": "close"}
        return await connection.request("POST", "/healthy", headers)
    finally:
        connection.close()


async def come(ports: Sequence[int], jars: Sequence[Cookies], at_once: int) -> list[str]:
    """Everybody's requests, all of a visitor with the cookie of before; who served them."""
    cohorts = []
    for number, jar in enumerate(jars):
        asked = [ask(ports[(number + turn) % len(ports)], jar) for turn in range(at_once)]
        answers = await asyncio.gather(*asked)
        for answer in answers:
            jar.take(answer)
        (cohort,) = {str(json.loads(answer.body)["cohort"]) for answer in answers}
        cohorts.append(cohort)
    return cohorts


def test_parallel_requests_after_a_raise_enter_once_in_the_fleet(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    with Site(tmp_path, redis_server.url, namespace) as site:
        site.start("healthy")
        jars = [Cookies() for _ in range(VISITORS)]
        verbs.weight(site.store, "healthy", LOW, by="test")
        time.sleep(HEARD)
        before = asyncio.run(come(site.ports, jars, 1))
        verbs.weight(site.store, "healthy", HIGH, by="test")
        time.sleep(HEARD)
        asyncio.run(come(site.ports, jars, AT_ONCE))
        old, new = site.entry("healthy").periods[-2:]
        came = time.time()

        def entered(cell: Cell) -> int:
            found = site.counted("healthy").entries.items()
            return sum(one.n for arm, one in found if arm.cell == cell)

        def settled() -> bool:
            return site.counted("healthy").upto > came

        wait_until(settled, timeout=20, what="all of it booked", every=0.2)
        assert entered(Cell(old.revision)) == VISITORS
        thrown = before.count("stable")
        assert 20 < thrown < VISITORS
        assert entered(Cell(new.revision, LOW, FULL)) == thrown, "not once per worker"
