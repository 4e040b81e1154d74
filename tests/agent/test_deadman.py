"""The log of an application that hears nothing from its store any more."""

from __future__ import annotations

import pytest

from canary_middleware import Canary, Rollout, verbs
from canary_middleware.core.state import Plan
from tests.support.redis import RedisServer
from tests.support.servers import wait_until

SHOP = Rollout("shop", stable="1", canary="2")


def test_a_running_release_that_goes_to_stable_by_itself_is_told(
    redis_server: RedisServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    canary = Canary(
        SHOP, namespace=namespace, store=redis_server.url, secret_keys=["k" * 32],
        poll=0.1, max_staleness=1.2,
    )  # fmt: skip
    try:
        canary.arrive_blocking()
        verbs.start(canary.store, "shop", by="test", plan=Plan.from_rollout(SHOP), weight=50_000)
        wait_until(lambda: canary.engine.snapshot.lanes[0].active, what="it follows")
        redis_server.pause()
        wait_until(lambda: "dead-man's switch: on" in caplog.text, what="it says so")
        redis_server.resume()
        wait_until(lambda: "dead-man's switch: off" in caplog.text, what="and that it is over")
    finally:
        canary.stop()
