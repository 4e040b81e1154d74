"""R18 and S23 with some ten thousand visitors; ``tests/faults`` has a million."""

from __future__ import annotations

import pytest

from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.multitude import bounded, kept, run

COUNT = 30_000


def test_r18_claims_have_an_end_and_memory_a_bound(redis_server: RedisServer) -> None:
    bounded("R18, users", COUNT, run(redis_server, "users", COUNT))
    bounded("R18, browsers", COUNT, run(redis_server, "browsers", COUNT))
    print(kept(redis_server, 2 * COUNT))


def test_s23_memory_is_bounded_while_nobody_can_be_told(redis_server: RedisServer) -> None:
    for kind in ("users", "forgers"):
        bounded(f"S23, {kind}, no store", COUNT, run(redis_server, kind, COUNT, away=True))


@pytest.mark.faults
def test_the_check_fails_for_a_process_that_remembers_everybody(redis_server: RedisServer) -> None:
    found = run(redis_server, "users", 2 * COUNT, variant=variants.HOARDS)
    with pytest.raises(AssertionError, match="memory is bounded"):
        bounded("hoards", 2 * COUNT, found)


@pytest.mark.faults
def test_the_check_fails_for_claims_without_an_end(redis_server: RedisServer) -> None:
    run(redis_server, "users", 12_000)
    with redis_server.client() as client:
        for key in client.scan_iter("canary:{many}:pin:*", count=1_000):
            client.persist(key)
            break
    with pytest.raises(AssertionError, match="every claim has an end"):
        kept(redis_server, 12_000)
