"""A shop whose rollouts ask a person on their way, for a real server beside the browser tests."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from canary_middleware import Canary, Guard, Ramp, Rollout, Step, current
from canary_middleware.asgi import CanaryMiddleware

KEY: Final = "the-key-of-the-shop-of-these-tests-is-long-enough"
RAMP: Final = Ramp("20%", Step("50%", approval=True), "100%", bake="10m", samples=0)


def rollout(name: str) -> Rollout:
    return Rollout(
        name, stable="1.4.2", canary="1.5.0", paths=[f"/{name}"], owner="shop@example.com",
        ramp=RAMP, guards=Guard.defaults(),
    )  # fmt: skip


async def shop(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Says which version somebody gets."""
    name = scope["path"].strip("/")
    version = current(name).version if name in NAMES else "none"
    body = json.dumps({"version": version}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


NAMES: Final = ("checkout", "search", "cart")


def made() -> CanaryMiddleware:
    """For ``uvicorn --factory``."""
    canary = Canary(
        *map(rollout, NAMES),
        namespace=os.environ["CANARY_NAMESPACE"],
        store=os.environ["CANARY_STORE"],
        secret_keys=[KEY],
        secure=False,
        telemetry=False,
    )
    return CanaryMiddleware(shop, canary=canary)
