"""The pages with the middleware around them, and a variant that keeps from caches what it says."""

from __future__ import annotations

from typing import Any, Final

from canary_middleware import Rollout
from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from canary_middleware.config import canary_from
from tests.integrations.pages import pages

CHECKOUT: Final = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/checkout",))
SILENCED: Final = (b"vary", b"cache-control")

wrapped = CanaryMiddleware(pages, canary_from(rollouts=[CHECKOUT]))


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Draws visitors and tells no cache."""

    async def silenced(message: Any) -> None:
        if message["type"] == "http.response.start":
            kept = [line for line in message["headers"] if line[0] not in SILENCED]
            message = {**message, "headers": kept}
        await send(message)

    await wrapped(scope, receive, silenced)
