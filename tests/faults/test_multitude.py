"""R18 and S23 of FAULTS.md with a million visitors each."""

from __future__ import annotations

import pytest

from tests.support.redis import RedisServer
from tests.system.multitude import bounded, kept, run

pytestmark = pytest.mark.faults

MILLION = 1_000_000


@pytest.mark.parametrize("kind", ["users", "browsers"])
def test_r18_a_million_identities(kind: str, redis_server: RedisServer) -> None:
    bounded(f"R18, {kind}", MILLION, run(redis_server, kind, MILLION))
    print(kept(redis_server, MILLION))


@pytest.mark.parametrize("kind", ["users", "browsers", "forgers"])
def test_s23_a_million_while_nobody_can_be_told(kind: str, redis_server: RedisServer) -> None:
    bounded(f"S23, {kind}, no store", MILLION, run(redis_server, kind, MILLION, away=True))
