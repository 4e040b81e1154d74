"""A client, a server with the relay as its application, and an origin; all in one event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec

import hypercorn.asyncio
import hypercorn.config
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.utils import accept_key

from canary_middleware.upstream.address import Origin, parse
from canary_middleware.upstream.headers import Trust
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.websocket import relay
from canary_middleware.upstream.websocket_link import Terms
from tests.support.servers import LOCALHOST, accepts, free_port

P = ParamSpec("P")
Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
               Coroutine[Any, Any, None]]  # fmt: skip

UVICORN = ("websockets-sansio", "wsproto")
LIMIT = 25.0
"""Seconds that a test may take; a wait without an end is what it looks for."""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own that must have no other task left at its end."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT):
                await test(*args, **kwargs)
                await eventually(lambda: len(asyncio.all_tasks()) == 1)

        asyncio.run(limited())

    return run


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """Wait until it holds; returns the seconds it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not condition():
        assert loop.time() < start + seconds, f"not within {seconds} s"
        await asyncio.sleep(0.005)
    return loop.time() - start


@dataclass
class Site:
    """The relay as an application, and how each of its calls ended."""

    origin: Origin
    timeouts: Timeouts = field(default_factory=Timeouts)
    terms: Terms = field(default_factory=Terms)
    preserve_host: bool = True
    tls: Any = None
    extensions: bool = True
    ends: list[BaseException | None] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        if not self.extensions:
            scope["extensions"] = {}
        try:
            await relay(
                scope, receive, send, self.origin, timeouts=self.timeouts, trust=Trust(),
                preserve_host=self.preserve_host, tls=self.tls, terms=self.terms,
                reached=self.reached.append,
            )  # fmt: skip
        except BaseException as error:
            self.ends.append(error)
            raise
        self.ends.append(None)


def at(port: int, prefix: str = "") -> Origin:
    return parse(f"http://{LOCALHOST}:{port}{prefix}")


@asynccontextmanager
async def front(app: App, kind: str = UVICORN[0], **options: Any) -> AsyncIterator[int]:
    """A server for the application; gives its port."""
    port = free_port()
    if kind == "hypercorn":
        async with _hypercorn(app, port):
            yield port
        return
    settings: dict[str, Any] = {"lifespan": "off", "log_config": None, "proxy_headers": False}
    settings |= {"ws": kind, **options}
    server = _Quiet(uvicorn.Config(app, LOCALHOST, port, **settings))
    running = asyncio.ensure_future(server.serve())
    try:
        await eventually(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        await running


class _Quiet(uvicorn.Server):
    """Leaves the signals to pytest."""

    def install_signal_handlers(self) -> None:
        pass


@asynccontextmanager
async def _hypercorn(app: App, port: int) -> AsyncIterator[int]:
    config = hypercorn.config.Config()
    config.bind = [f"{LOCALHOST}:{port}"]
    config.graceful_timeout = 1.0
    over = asyncio.Event()

    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    serving = hypercorn.asyncio.serve(without_lifespan, config, shutdown_trigger=over.wait)
    running = asyncio.ensure_future(serving)
    try:
        await eventually(lambda: accepts(port))
        yield port
    finally:
        over.set()
        await running


@asynccontextmanager
async def chain(
    origin: AbstractAsyncContextManager[int],
    kind: str = UVICORN[0],
    *,
    prefix: str = "",
    **settings: Any,
) -> AsyncIterator[tuple[Site, int]]:
    """An origin, and a server in front of it; gives the server's application and port."""
    async with origin as port:
        site = Site(at(port, prefix), **settings)
        async with front(site, kind) as entry:
            yield site, entry


def client(port: int, path: str = "/", **options: Any) -> connect:
    """A client without a limit of its own."""
    given: dict[str, Any] = {"max_size": None, "compression": None, "proxy": None, **options}
    return connect(f"ws://{LOCALHOST}:{port}{path}", **given)


Handler = Callable[[ServerConnection], Awaitable[None]]
Check = Callable[[ServerConnection, Request], Response | None]


@asynccontextmanager
async def library(handler: Handler, **options: Any) -> AsyncIterator[int]:
    """An origin of the ``websockets`` library; gives its port."""
    quiet = logging.getLogger("tests.origin")
    quiet.propagate = False
    given: dict[str, Any] = {"max_size": None, "logger": quiet, **options}
    async with serve(handler, LOCALHOST, 0, **given) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(handler: RawHandler, *, shake: bool = True) -> AsyncIterator[int]:
    """An origin that does what it is told, after a handshake; gives its port."""
    handlers = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        handlers.add(task)
        try:
            if shake:
                await accept(reader, writer)
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, LOCALHOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in [*handlers]:
            if task is not None:
                task.cancel()


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Shake hands by hand; gives the request's head."""
    head = await reader.readuntil(b"\r\n\r\n")
    key = re.search(rb"(?i)sec-websocket-key: (\S+)\r\n", head)
    assert key
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key[1].decode()).encode() + b"\r\n\r\n"
    )
    return head


async def closed(socket: ClientConnection | ServerConnection) -> tuple[int | None, str | None]:
    """Wait for the end of a WebSocket; gives its code and reason."""
    await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def ask(port: int, target: bytes = b"/") -> bytes:
    """The head of what a handshake by hand is answered."""
    reader, writer = await asyncio.open_connection(LOCALHOST, port)
    writer.write(
        b"GET " + target + b" HTTP/1.1\r\nHost: shop\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    try:
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


SCOPE: Message = {
    "type": "websocket", "path": "/", "raw_path": b"/", "query_string": b"", "scheme": "ws",
    "headers": [(b"host", b"shop")], "client": None,
}  # fmt: skip


class Hand:
    """A server played by hand: what it says and what it heard."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Message] = []
        self.lost = False
        self.says.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> Message:
        return await self.says.get()

    async def send(self, message: Message) -> None:
        if self.lost:
            raise ConnectionAbortedError("ended by somebody else")
        self.heard.append(message)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An origin that neither says nor reads anything."""
    await asyncio.Event().wait()
