"""What the system tests share: a rig around a private Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Rig]:
    """Workers around a Redis of this test alone; everything ends with the test."""
    with Rig(tmp_path, redis_server.url, namespace) as made:
        yield made
