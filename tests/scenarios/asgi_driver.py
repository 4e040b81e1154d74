"""A strict ASGI server in memory, and neutral applications as ASGI applications.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote

from tests.scenarios.words import END, READ, Ask, Handler, Reply, Start, Step

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


def http_scope(ask: Ask, headers: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    path, _, query = ask.target.partition("?")
    pairs = [("host", "shop.example"), *ask.headers, *headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": ask.method,
        "scheme": "https",
        "path": ask.mount + unquote(path),
        "raw_path": (ask.mount + path).encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": ask.mount,
        "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in pairs],
        "client": ("192.0.2.1", 4711),
        "server": ("shop.example", 443),
        "state": {},
        "extensions": {"http.response.pathsend": {}, "http.response.trailers": {}},
    }


class Connection:
    """One HTTP exchange: gives the body in two pieces, checks every message that comes back.

    Args:
        arrived: called with every chunk as it arrives.
    """

    def __init__(self, body: bytes = b"", arrived: Callable[[bytes], object] = len) -> None:
        self.reply = Reply()
        self.messages: list[Message] = []
        self.complete = False
        self.gone = asyncio.Event()
        self._arrived = arrived
        half = (len(body) + 1) // 2
        pieces = [body[:half], body[half:]] if body else [b""]
        self._pieces = list(enumerate(pieces, 1 - len(pieces)))

    async def receive(self) -> Message:
        if self._pieces:
            left, piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": left < 0}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        assert not self.complete, f"{kind} after the end"
        self.messages.append(message)
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            self._body(message)
        else:
            assert kind.startswith("http.response."), kind

    def _start(self, message: Message) -> None:
        assert not self.reply.status, "two starts"
        assert isinstance(message["status"], int)
        for name, value in message.get("headers", ()):
            assert isinstance(name, bytes), name
            assert isinstance(value, bytes), value
            assert name == name.lower(), f"{name!r} is not lower case"
        self.reply.status = message["status"]
        pairs = message.get("headers", ())
        self.reply.headers = [(key.decode(), value.decode("latin-1")) for key, value in pairs]

    def _body(self, message: Message) -> None:
        assert self.reply.status, "a body before the start"
        chunk = message.get("body", b"")
        assert isinstance(chunk, bytes), chunk
        if chunk:
            self._arrived(chunk)
            self.reply.chunks.append(chunk)
        if not message.get("more_body", False):
            self.complete = True
            self.gone.set()


async def exchange(
    app: App, scope: dict[str, Any], body: bytes = b"", arrived: Callable[[bytes], object] = len
) -> Reply:
    """One request to the end, errors included."""
    connection = Connection(body, arrived)
    try:
        await app(scope, connection.receive, connection.send)
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever an application raises is what is looked at
        connection.reply.error = error
    else:
        assert connection.complete, "the application returned without an answer"
    return connection.reply


def as_asgi(handler: Callable[[], Any]) -> App:
    """A neutral application for ASGI; errors of ``send`` appear inside it, as in a real one."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        run = handler()
        step: Step | None = next(run, None)
        ended = False
        while step is not None:
            ended = ended or step is END
            try:
                given = await _do(step, receive, send)
            except BaseException as error:
                run.throw(error)
                raise
            try:
                step = run.send(given)
            except StopIteration:
                step = None
        if not ended:
            await _do(END, receive, send)

    return app


async def _do(step: Step, receive: Any, send: Any) -> bytes | None:
    if isinstance(step, Start):
        lines = [(key.encode(), value.encode("latin-1")) for key, value in step.headers]
        await send({"type": "http.response.start", "status": step.status, "headers": lines})
    elif isinstance(step, bytes):
        await send({"type": "http.response.body", "body": step, "more_body": True})
    elif step is END:
        await send({"type": "http.response.body", "body": b""})
    else:
        assert step is READ
        return await _read(receive)
    return None


async def _read(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def bound(handler: Handler, site: Any) -> Callable[[], Any]:
    """A handler that knows its site."""
    return lambda: handler(site)
