"""A site with webhooks, set up by JSON in ``ALERT_SITE``: what it serves is the version.

At ``/broken`` version 2 fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from canary_middleware import Canary, Guard, Ramp, Rollout, Webhook, current
from canary_middleware.asgi import CanaryMiddleware

Message = MutableMapping[str, Any]
NAME, SECRET = "shop", "s" * 32

setup = json.loads(os.environ["ALERT_SITE"])
canary = Canary(
    Rollout(
        NAME, stable="1", canary="2", owner="me", guards=Guard.defaults(), precaution=None,
        ramp=Ramp("5%", "50%", bake="1s", samples=0, gate=setup["gate"]),
    ),
    namespace=setup["namespace"],
    store=setup["store"],
    secret_keys=["k" * 32],
    alerts=[Webhook(url) for url in setup["hooks"]],
    webhook_secret=SECRET,
    secure=False,
    telemetry=False,
)  # fmt: skip


async def shop(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] == "http":
        version = current(NAME).version
        status = 500 if (version, scope["path"]) == ("2", "/broken") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": version.encode()})


app = CanaryMiddleware(shop, canary=canary)
