"""What :mod:`benchmarks.upstream` runs on ASGI servers: ours, and whom it is compared with.

Factories, each of which imports only what it needs. The upstream's URL is ``$ORIGIN``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip


def bare() -> App:
    """The server itself: an answer of a kilobyte."""
    body = b"x" * 1000
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"1000")]

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def ours() -> App:
    """``AsgiUpstream`` as everybody gets it."""
    from canary_middleware.upstream.asgi import AsgiUpstream

    return AsgiUpstream(os.environ["ORIGIN"])


def by_aiohttp() -> App:
    """The least that a proxy over aiohttp's client can be: it streams both ways, keeps header
    lines and the bytes of the path, and removes what belongs to one connection. No forwarding
    headers, no time-outs of its own, no care for clients that leave, nothing about framing.
    """
    import aiohttp
    from yarl import URL

    origin = os.environ["ORIGIN"]
    sessions: list[aiohttp.ClientSession] = []

    async def proxy(
        session: aiohttp.ClientSession, scope: Message, receive: Receive, send: Send
    ) -> None:
        target = scope["raw_path"]
        if scope["query_string"]:
            target = target + b"?" + scope["query_string"]
        headers, has_body = [], False
        for name, value in scope["headers"]:
            if name == b"content-length" or name == b"transfer-encoding":
                has_body = True
            if name not in HOP_BY_HOP:
                headers.append((name.decode("latin-1"), value.decode("latin-1")))
        async with session.request(
            scope["method"], URL(origin + target.decode("latin-1"), encoded=True), headers=headers,
            data=upload(receive) if has_body else None, allow_redirects=False,
        ) as answer:  # fmt: skip
            kept = [
                (low, value)
                for name, value in answer.raw_headers
                if (low := name.lower()) not in HOP_BY_HOP
            ]
            start = {"type": "http.response.start", "status": answer.status, "headers": kept}
            await send(start)
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
            await sessions[0].close()
            return
        if not sessions:
            session = aiohttp.ClientSession(
                auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding", "Content-Type"],
            )  # fmt: skip
            sessions.append(session)
        await proxy(sessions[0], scope, receive, send)

    return app


def by_fastapi_proxy_lib() -> Any:
    """As its documentation shows it."""
    from fastapi_proxy_lib.fastapi.app import reverse_http_app

    return reverse_http_app(base_url=os.environ["ORIGIN"] + "/")


async def upload(receive: Receive) -> AsyncIterator[bytes]:
    """The body of a request."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def live(receive: Receive, send: Send) -> None:
    """A lifespan in which nothing happens, until its end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
