"""Rows of FAULTS.md section 2 for measured rollouts, as long as a core suite can wait."""

from __future__ import annotations

from pathlib import Path

from tests.support.redis import RedisServer
from tests.system.measured_rows import Fleet, rows


def test_bad_releases_go_back_and_nobody_else_is_blamed(
    tmp_path: Path, redis_server: RedisServer, namespace: str
) -> None:
    """W9, W10, W13, W14 and W17; what shows that they can fail runs beside them."""
    kinds = ("asgi", "asgi", "asgi", "wsgi")
    with Fleet(tmp_path, redis_server.url, namespace, kinds) as fleet:
        print("\n" + "\n".join(rows(fleet)))
