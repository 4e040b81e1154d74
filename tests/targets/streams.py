"""An application with event streams and WebSockets, and a path that kills from inside."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from canary_middleware import Canary, Rollout, current
from canary_middleware.asgi import CanaryMiddleware

canary = Canary(
    Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=["/checkout"]),
    secret_keys=["k" * 32],
    secure=False,
    autostart="100%",
    kill_grace=0.5,
)


async def events(request: Request) -> Response:
    """Says its version once and then nothing for a long time."""
    version = current("checkout").version

    async def stream() -> AsyncIterator[str]:
        try:
            yield f"data: {version}\n\n"
            await asyncio.sleep(60)
        finally:
            print("stream unwound", flush=True)

    return StreamingResponse(stream(), media_type="text/event-stream")


async def slow(request: Request) -> Response:
    """A plain answer that outlives the grace."""
    version = current("checkout").version

    async def stream() -> AsyncIterator[str]:
        yield version
        await asyncio.sleep(2)
        yield " whole"

    return StreamingResponse(stream(), media_type="text/plain")


async def version(request: Request) -> Response:
    """An answer that is over at once."""
    return PlainTextResponse(current("checkout").version)


async def socket(connection: WebSocket) -> None:
    """Says its version and waits for the client to say something."""
    await connection.accept()
    await connection.send_text(current("checkout").version)
    try:
        await connection.receive_text()
    except WebSocketDisconnect:
        print("socket told", flush=True)


async def kill(request: Request) -> Response:
    """Strike everything."""
    canary.store.kill("*", by="test", why="test", now=0.0)
    return PlainTextResponse("killed")


app = Starlette(
    routes=[
        Route("/checkout/events", events),
        Route("/checkout/slow", slow),
        Route("/checkout/version", version),
        WebSocketRoute("/checkout/socket", socket),
        Route("/kill", kill, methods=["POST"]),
    ]
)
app.add_middleware(CanaryMiddleware, canary=canary)
