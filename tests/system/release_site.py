"""``uvicorn tests.system.release_site:app``: one pod of some build of the shop."""

from __future__ import annotations

import json

from canary_middleware import Canary, Rollout, current
from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from tests.system.releases import Build

KEY = "a-key-of-the-releases-that-is-long-enough"
BUILD = Build.read()


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan of its own")
    served = {"stable": BUILD.stable, "canary": BUILD.canary, "version": current("shop").version}
    body = json.dumps(served).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # so that the next request goes to another pod
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = CanaryMiddleware(
    site,
    canary=Canary(
        Rollout("shop", stable=BUILD.stable, canary=BUILD.canary),
        namespace=BUILD.namespace,
        store=BUILD.store,
        secret_keys=[KEY],
        secure=False,
    ),
)
