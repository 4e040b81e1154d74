"""A WebSocket passed on: between the ASGI server of our client and an upstream.

Each hop has its own handshake, pings and extensions; messages, subprotocol, close codes and reasons
go through. Neither side is read faster than the other one takes it: what is held is one message of
each direction and some 64 KiB of buffers, however much is sent.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.headers import BadHeaderError, Client, Trust, incoming, outgoing
from canary_middleware.upstream.passage import UpstreamBrokenError
from canary_middleware.upstream.patience import LONG
from canary_middleware.upstream.scopes import target
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.websocket_exchange import (
    MAX_HEAD,
    NO_STATUS,
    TOO_BIG,
    Accepted,
    Broken,
    Closed,
    Message,
    Refused,
    TooLargeError,
    WebSocketExchange,
    shortened,
)
from canary_middleware.upstream.websocket_link import Link, Terms, UnreachableError

logger = logging.getLogger("canary_middleware")

Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
T = TypeVar("T")

GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006
"""What a server says of a client that went without a close frame (RFC 6455, section 7.1.5)."""

CAUGHT_UP: Final = 0.1
"""Seconds without a word of the upstream after which nothing of it waits for the client."""

FAREWELL: Final = 1.0
"""Seconds in which a server that refuses our messages has to say how the client left."""


class Left(NamedTuple):
    """How the client went: what the server says of it."""

    code: int
    reason: str


class ClientGoneError(Exception):
    """The client left while we waited for the upstream; the server's word is the next message."""


async def relay(
    scope: Scope,
    receive: Receive,
    send: Send,
    origin: Origin,
    *,
    timeouts: Timeouts,
    trust: Trust,
    preserve_host: bool = True,
    tls: ssl.SSLContext | None = None,
    terms: Terms | None = None,
    reached: Callable[[bool], object] | None = None,
) -> None:
    """Answer one ASGI connection of type ``websocket`` from an upstream.

    Args:
        scope: of the connection.
        receive: of the server.
        send: of the server.
        origin: the upstream.
        timeouts: ``connect`` and ``start`` hold for the handshake; then pings tell who is there.
        trust: whose forwarding headers are kept.
        preserve_host: whether the upstream gets the client's Host header.
        tls: for an upstream behind ``https``; make it once, as that takes long.
        terms: what holds while it is open.
        reached: told once whether the upstream took the connection.

    Raises:
        UpstreamBrokenError: the upstream broke what it had accepted. The client was told: 1009 for
            a message that is too large, else 1014, bad gateway.
    """
    terms = terms or Terms()
    client = ClientSide(receive)
    await client.next()  # websocket.connect
    try:
        exchange = _exchange(scope, origin, trust, terms, preserve_host=preserve_host)
    except (BadHeaderError, ValueError) as error:
        logger.info("a client's handshake cannot be passed on: %s", error)
        await refuse(scope, send, 400)
        return
    if len(exchange.head) > MAX_HEAD:
        await refuse(scope, send, 431)
        return
    link = Link(exchange, terms)
    try:
        answer = await client.meanwhile(_shaken(link, origin, timeouts, tls, reached))
        await _go_on(answer, Relay(scope, client, send, link))
    except ClientGoneError:
        pass
    except UnreachableError as error:
        logger.info("no WebSocket with the upstream: %s", error)
        await refuse(scope, send, error.status)
    except BaseException:  # whatever ends it, cancelled too: the upstream is told
        link.close(GOING_AWAY)
        raise
    finally:
        link.leave()
        await client.leave()


async def _shaken(
    link: Link,
    origin: Origin,
    timeouts: Timeouts,
    tls: ssl.SSLContext | None,
    reached: Callable[[bool], object] | None,
) -> Accepted | Refused:
    try:
        await link.connect(origin, timeouts.connect, tls)
    except UnreachableError:
        if reached is not None:
            reached(False)
        raise
    if reached is not None:
        reached(True)
    return await link.shake_hands(timeouts.start)


def _exchange(
    scope: Scope, origin: Origin, trust: Trust, terms: Terms, *, preserve_host: bool
) -> WebSocketExchange:
    host, _ = scope.get("client") or ("", 0)
    client = Client(host, scope.get("scheme") or "ws")
    given = list(scope["headers"])  # it may be a generator
    headers = outgoing(given, client, origin, preserve_host=preserve_host, trust=trust)
    offer = scope.get("subprotocols") or ()
    return WebSocketExchange(target(scope, origin), headers, offer, max_size=terms.max_size)


class ClientSide:
    """What the server says of our client, taken one message ahead while we wait for others.

    Otherwise nobody would notice that a client has left as long as the upstream is slow.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: asyncio.Future[AsgiMessage] | None = None

    async def next(self) -> AsgiMessage:
        """The next message."""
        ahead, self._ahead = self._ahead, None
        return await (self._receive() if ahead is None else ahead)

    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that may take long, unless the client leaves.

        Raises:
            ClientGoneError: it did; the work was cancelled.
        """
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(self._receive())
        task = asyncio.ensure_future(work)
        try:
            both: set[asyncio.Future[Any]] = {task, self._ahead}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and self._is_gone():
                raise ClientGoneError
            return await task
        finally:
            await stop(task)

    async def leave(self) -> None:
        """Nobody asks any more."""
        if self._ahead is not None:
            await stop(self._ahead)

    def _is_gone(self) -> bool:
        ahead = self._ahead
        if ahead is None or not ahead.done() or ahead.cancelled() or ahead.exception():
            return False
        return bool(ahead.result()["type"] == "websocket.disconnect")


class Relay:
    """One open WebSocket."""

    def __init__(self, scope: Scope, client: ClientSide, send: Send, link: Link) -> None:
        self.scope = scope
        self.client = client
        self.send = send
        self.link = link
        self._kept = 0.0  # seconds for which the upstream waited for the client, of late

    async def run(self) -> None:
        """Pass messages on until one side ends, and end the other one."""
        up = asyncio.ensure_future(self._up())
        down = asyncio.ensure_future(self._down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done() and not up.done() and down.exception() is not None:
                await asyncio.wait({up}, timeout=FAREWELL)  # it says how the client left
            if up.done() and (up.exception() or up.result()):
                await stop(down)
                await self._follow_client(up)
            else:
                await asyncio.wait({down})
                await stop(up)
                await self._follow_upstream(down.result())
        finally:
            await stop(up, down)

    async def _up(self) -> Left | None:
        """From the client to the upstream; ``None`` when the upstream takes no more."""
        while True:
            message = await self.client.next()
            if message["type"] == "websocket.disconnect":
                return Left(message.get("code") or NO_STATUS, message.get("reason") or "")
            text = message.get("text")
            if self.link.message(message["bytes"] if text is None else text):
                try:
                    if not await self.client.meanwhile(self.link.drained()):
                        return None
                except ClientGoneError:
                    pass  # its last word is the next message

    async def _down(self) -> Closed | Broken:
        """From the upstream to the client."""
        time = asyncio.get_running_loop().time
        while not self.link.ended:
            before = time()
            events = await self.link.read()
            if time() - before > CAUGHT_UP:
                self._kept = 0.0
            for event in events:
                if isinstance(event, Message):
                    self.link.waiting = True
                    before = time()
                    await self.send(_sent(event.data))
                    self._kept += time() - before
                    self.link.waiting = False
                elif isinstance(event, Closed | Broken):
                    return event
        return Broken("the connection ended")

    async def _follow_client(self, up: asyncio.Future[Left | None]) -> None:
        try:
            left = up.result()
        except TooLargeError as error:
            logger.info("a client's WebSocket message is too large: %s", error)
            self.link.close(TOO_BIG)
            await self._end_both(TOO_BIG, HTTPStatus(413).phrase)
            return
        if left is not None:
            # Hypercorn says so of everybody who leaves; in order is what most of them did.
            code = GOING_AWAY if left.code == ABNORMAL else left.code
            self.link.close(code, left.reason)
            await self.link.finish()

    async def _follow_upstream(self, end: Closed | Broken) -> None:
        if isinstance(end, Broken):
            await self._end_both(end.code, HTTPStatus(502).phrase)
            if self._kept >= LONG:  # its pings waited behind what our client did not take
                logger.info("an upstream gave up on a client that reads slowly: %s", end.why)
                return
            raise UpstreamBrokenError(end.why)
        await self._end_both(end.code, end.reason)

    async def _end_both(self, code: int | None, reason: str) -> None:
        """Close the client's side while the upstream's closing handshake comes to its end."""
        message: AsgiMessage = {"type": "websocket.close"}
        if code is not None:  # else the server's default, which is 1000
            message.update(code=code, reason=shortened(reason))
        finishing = asyncio.ensure_future(self.link.finish())
        try:
            await self.client.leave()  # granian sends no close while a `receive` waits
            await self.send(message)
            await finishing
        finally:
            await stop(finishing)


async def _go_on(answer: Accepted | Refused, relay: Relay) -> None:
    headers = incoming(answer.headers, keep_case=False)
    if isinstance(answer, Refused):
        await _deny(relay.scope, relay.send, answer.status, headers, answer.body)
        return
    # Servers date their own handshake, and the older one of uvicorn breaks over a second date.
    headers = [pair for pair in headers if pair[0] != b"date"]
    accept = {"type": "websocket.accept", "subprotocol": answer.subprotocol, "headers": headers}
    await relay.send(accept)
    await relay.run()


async def refuse(scope: Scope, send: Send, status: int) -> None:
    """Refuse the client's handshake with a short page that tells nothing of what is behind us."""
    body = f"{HTTPStatus(status).phrase}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await _deny(scope, send, status, headers, body)


async def _deny(
    scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Refuse the client's handshake; with this answer, where the server has a way to give one."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})  # which servers turn into a 403
        return
    if body and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    if "http.response.pathsend" in scope["extensions"]:
        # Granian, as nobody else offers that here: a doubled name ends the whole worker (2.8).
        headers = list({name: (name, value) for name, value in reversed(headers)}.values())[::-1]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})


def _sent(data: str | bytes) -> AsgiMessage:
    key = "text" if isinstance(data, str) else "bytes"
    return {"type": "websocket.send", key: data}


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs, and wait for its end; what it raises is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
