"""The site for ASGI servers: ``uvicorn tests.system.asgi_site:app``."""

from __future__ import annotations

import asyncio
from typing import Any

from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from tests.system import variants
from tests.system.site import Page, Setup, begin, canary, page

SETUP = Setup.read()


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError("no lifespan of its own")
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    await drain(receive)
    found = page(SETUP, scope["path"], scope["query_string"].decode())
    if found.events:
        await events(found, send)
        return
    if found.wait:
        await asyncio.sleep(found.wait)
    text = found.text
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def events(found: Page, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(found.events):
        chunk = b"data: " + found.text + b"\n\n"
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(found.wait)
    await send({"type": "http.response.body", "body": b""})


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what its page is, and then listens."""
    await receive()
    await send({"type": "websocket.accept"})
    found = page(SETUP, scope["path"], scope["query_string"].decode())
    await send({"type": "websocket.send", "text": found.text.decode()})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """A canary that does not start."""
    assert scope["type"] == "lifespan", "a request reached a canary that did not start"
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def application() -> Any:
    begin(SETUP)
    app: Any = site
    for name in SETUP.apps:
        made = canary(SETUP, name)
        targets = {name: variants.target(SETUP.variant, broken)} if SETUP.target else {}
        app = variants.asgi(SETUP.variant, CanaryMiddleware(app, made, targets), made)
    if SETUP.otlp:
        from tests.system.observing import traced

        app = traced(app)
    return app


app = application()
