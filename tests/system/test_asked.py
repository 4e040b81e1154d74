"""How often a real Redis is asked, and by what names: counted by the server itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from canary_middleware import Canary, Rollout, current, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.state import Plan
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.words import Ask
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.rig import Rig

AT_ONCE = 64
HOSTILE = ("a:b*\r\nDEL x", "x\r\nFLUSHALL\r\n", "{other}:canary:kill", "\0", "é" * 500, "*", "a b")


async def reading(scope: Any, receive: Any, send: Any) -> None:
    versions = "".join(current(name).version for name in ("one", "two"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": versions.encode()})


@pytest.fixture
def canary(redis_server: RedisServer, namespace: str) -> Iterator[Canary]:
    made = Canary(
        *(Rollout(name, "1", "2", policy="keep", affinity="shared") for name in ("one", "two")),
        namespace=namespace, store=redis_server.url, secret_keys=["k" * 32],
        bucket_secret="b" * 32, secure=False, telemetry=False, claim_budget=1.0,
        identify=lambda view: view.native["user"],
    )  # fmt: skip
    for rollout in made.engine.rollouts:
        plan = Plan.from_rollout(rollout)
        verbs.start(made.store, rollout.name, by="test", plan=plan, weight=50_000)
    yield made
    made.stop()


AGENTS = {"processes", "heard", "lease", "series", "slots"}
"""Kinds of keys that agents write whoever comes."""


def asked(server: RedisServer) -> int:
    """Scripts that requests had run; the agent's come by their text."""
    with server.client() as client:
        found: dict[str, Any] = client.info("commandstats")
    return int(found.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def visit(app: CanaryMiddleware, user: str) -> bytes:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**http_scope(Ask()), "user": user}, receive, send)
    body: bytes = sent[1]["body"]
    return body


def test_a_request_asks_once_a_crowd_asks_together_and_who_is_known_not_at_all(
    canary: Canary, redis_server: RedisServer
) -> None:
    async def play() -> tuple[int, int, int]:
        app = CanaryMiddleware(reading, canary)
        await visit(app, "first of all")
        begun = asked(redis_server)
        await visit(app, "alone")
        one = asked(redis_server) - begun
        crowd = [f"user-{number}" for number in range(AT_ONCE)]
        first = await asyncio.gather(*(visit(app, user) for user in crowd))
        many = asked(redis_server) - begun - one
        again = await asyncio.gather(*(visit(app, user) for user in crowd))
        known = asked(redis_server) - begun - one - many
        assert first == again
        await canary.asker.leave()
        return one, many, known

    one, many, known = asyncio.run(play())
    print(f"\n2 rollouts: {one} round trip alone, {many} for {AT_ONCE} at once, {known} when known")
    assert one == 1, "all claims of a request"
    assert many == 2, "the first of a tick at once, and all others of it together"
    assert known == 0


def test_s21_no_identity_is_a_command_or_a_key(canary: Canary, redis_server: RedisServer) -> None:
    async def play() -> None:
        app = CanaryMiddleware(reading, canary)
        for user in HOSTILE:
            assert await visit(app, user) in (b"11", b"12", b"21", b"22")
        await canary.asker.leave()

    with redis_server.client() as client:
        client.set("x", "stays")
        before = {key for key in client.scan_iter() if ":pin:" not in key}
        asyncio.run(play())
        pins = [key.rpartition(":")[2] for key in client.scan_iter() if ":pin:" in key]
        assert len(pins) == 2 * len(HOSTILE)
        assert all(len(pin) == 22 and pin.isascii() and pin.isprintable() for pin in pins)
        assert client.get("x") == "stays"
        others = {key for key in client.scan_iter() if ":pin:" not in key}
        assert {key.split(":")[2] for key in others - before} <= AGENTS


def test_w6_a_process_of_another_release_is_named_within_five_seconds(
    redis_server: RedisServer, namespace: str, tmp_path: Any
) -> None:
    with Rig(tmp_path, redis_server.url, namespace) as rig:
        rig.started(20_000)
        rig.serve("uvicorn")
        plans = {"shop": {"stable": "1", "canary": "of-another-release"}}
        begun = time.monotonic()
        odd = rig.serve("uvicorn", plans=plans)[0]
        wait_until(
            lambda: (
                "of-another-release" in json.dumps(json.loads(rig.cli("status", "--json"))["odd"])
            ),
            what="it is named",
        )
        took = time.monotonic() - begun
        print(f"\nW6: named {took:.1f} s after its start was begun (limit 5)")
        assert took <= 5.0
        assert "of-another-release" in odd.process.output(), "and it says so itself"
