"""Rows of FAULTS.md section 2 for measured rollouts, as long as a core suite can wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.support.servers import free_port
from tests.system.measured_ends import Ends
from tests.system.measured_rows import Fleet, rows


def test_bad_releases_go_back_and_nobody_else_is_blamed(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    """W9, W10, W13, W14 and W17; what shows that they can fail runs beside them."""
    kinds = ("asgi", "asgi", "asgi", "wsgi")
    with Fleet(tmp_path, redis_server.url, namespace, kinds) as fleet:
        print("\n" + "\n".join(rows(fleet)))


def test_a_ramp_outlives_workers_and_the_absence_of_its_store(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    """W1, W2, W3 and W12; tests/faults/test_measured.py has the long ones."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with (
        FaultProxy(redis_server.port) as proxy,
        Fleet(tmp_path, redis_server.url, namespace, through=proxy.url(), otlp=nowhere) as fleet,
    ):
        ends = Ends(fleet, proxy)
        asyncio.run(ends.run())
        print("\n" + "\n".join(ends.report))
