"""Rows of FAULTS.md for measured rollouts, for as long as they say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.support.servers import free_port
from tests.system.measured_ends import Ends
from tests.system.measured_rows import Fleet, rows

pytestmark = pytest.mark.faults


@pytest.fixture
def ends(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Ends]:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with (
        FaultProxy(redis_server.port) as proxy,
        Fleet(tmp_path, redis_server.url, namespace, through=proxy.url(), otlp=nowhere) as fleet,
    ):
        yield Ends(fleet, proxy, "slowly", pause=60.0, away=10.0, folded=True)


def test_w3_a_leader_that_stops_for_a_minute_and_w12_a_store_that_is_away(ends: Ends) -> None:
    """Its totals are folded while it stands still, and nothing is counted twice."""
    asyncio.run(ends.run())
    print("\n" + "\n".join(ends.report))


def test_w17_many_outsiders(tmp_path: Path, redis_server: RedisServer, namespace: str) -> None:
    kinds = ("asgi", "asgi", "asgi", "wsgi")
    with Fleet(tmp_path, redis_server.url, namespace, kinds) as fleet:
        print("\n" + "\n".join(rows(fleet, cookies=90)))
