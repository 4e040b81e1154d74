"""``uvicorn tests.system.chain_c:app``: the last service."""

from __future__ import annotations

import json

from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from tests.system.chain import begin, canary, told
from tests.system.observing import traced

LINK = begin()


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan of its own")
    came = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps(told(lambda name: came.get(name.lower()))).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = traced(CanaryMiddleware(site, canary=canary(LINK)))
