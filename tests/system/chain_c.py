"""``uvicorn tests.system.chain_c:app``: the last service."""

from __future__ import annotations

import json

from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from canary_middleware.core.service import BAGGAGE, HEADER
from tests.system.chain import begin, canary, told
from tests.system.observing import traced

LINK = begin()
NAMES = {name.lower(): name for name in (HEADER, BAGGAGE)}


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan of its own")
    came = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps(told({NAMES[name]: came[name] for name in NAMES if name in came})).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = traced(CanaryMiddleware(site, canary=canary(LINK)))
