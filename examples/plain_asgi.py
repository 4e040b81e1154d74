"""Two versions without any framework, in ASGI: the canary is an application of its own.

    uvicorn examples.plain_asgi:app --port 8000
    curl -i http://localhost:8000/greeting

Any ASGI application can take the place of either. ``examples/settings.py`` says what can be set.
"""

from __future__ import annotations

from canary_middleware import Rollout
from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from examples.settings import canary_from_environment

GREETING = Rollout("greeting", stable="1.0", canary="2.0", paths=("/greeting",))


async def stable(scope: Scope, receive: Receive, send: Send) -> None:
    """Serves everything, and the greeting as it has always been."""
    known = scope["type"] == "http" and scope["path"] == "/greeting"
    await answer(send, scope, 200 if known else 404, b"Good day from 1.0\n" if known else b"")


async def canary(scope: Scope, receive: Receive, send: Send) -> None:
    """Serves the new greeting; it sees requests below /greeting only."""
    await answer(send, scope, 200, b"Hello from 2.0\n")


async def answer(send: Send, scope: Scope, status: int, body: bytes) -> None:
    """The two messages of an HTTP answer; WebSockets are refused."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    if scope["type"] != "http":
        raise NotImplementedError("no lifespan here, which is how ASGI applications say so")
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = CanaryMiddleware(stable, canary_from_environment(GREETING), targets={"greeting": canary})
