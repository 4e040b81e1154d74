"""The connection under one WebSocket to an upstream: bytes in and out, with back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, fields
from typing import Final

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.racing import race
from canary_middleware.upstream.settings import LONGEST
from canary_middleware.upstream.websocket_exchange import (
    MAX_SIZE,
    Accepted,
    Broken,
    Event,
    Refused,
    WebSocketExchange,
)

CHUNK: Final = 64 * 1024
"""Bytes read at a time, and bytes that may wait to be written before a writer has to."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for open WebSockets; the numbers are what servers and browsers are used to.

    Attributes:
        max_size: bytes of the largest message, in both directions; a larger one closes both sides
            with 1009. It is held in memory as a whole.
        ping: seconds of silence after which the upstream is asked whether it is there.
        pong: seconds that it has for any sign of life after that; then it counts as cut.
        close: seconds that a closing handshake may take, after which the connection is cut.

    Raises:
        ConfigurationError: a number of seconds is not above 0 and up to a day, or ``max_size`` is
            not at least 1.
    """

    max_size: int = MAX_SIZE
    ping: float = 20.0
    pong: float = 20.0
    close: float = 5.0

    def __post_init__(self) -> None:
        problems = [
            Problem(
                f"websocket.{field.name}",
                f"{value!r} is not a number of seconds above 0 and up to {LONGEST:.0f}",
                "every wait must end; 20 seconds suit most",
            )
            for field in fields(self)
            if field.name != "max_size" and not 0 < (value := getattr(self, field.name)) <= LONGEST
        ]
        if type(self.max_size) is not int or self.max_size < 1:
            wrong = f"{self.max_size!r} is not a number of bytes"
            problems.append(Problem("websocket.max_size", wrong, "16 MiB suit most: 16 * 2**20"))
        if problems:
            raise ConfigurationError(problems)


class UnreachableError(Exception):
    """No WebSocket came to stand.

    Attributes:
        status: what to answer the client, 502 or 504.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


class Link:
    """One connection; closed by :meth:`leave`, whatever happened.

    Attributes:
        waiting: whether what has come waits for our client, so that nothing more is read: no time
            for judging an upstream by its silence.
        ended: whether nothing more can come.
    """

    def __init__(self, exchange: WebSocketExchange, terms: Terms) -> None:
        self.waiting = False
        self.ended = False
        self._exchange = exchange
        self._terms = terms
        self._rest: list[Event] = []
        self._heard = False
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._stands = False

    async def connect(self, origin: Origin, seconds: float, tls: ssl.SSLContext | None) -> None:
        """Connect, TLS included.

        Raises:
            UnreachableError: nobody there, or not in time.
        """
        try:
            async with asyncio.timeout(seconds):
                self._reader, self._writer = await _connect(origin, tls)
        except TimeoutError:  # first, as it is an OSError
            raise UnreachableError(504, "no connection in time") from None
        except OSError as error:
            raise UnreachableError(502, f"no connection: {error}") from error
        self._stands = True
        self._writer.transport.set_write_buffer_limits(high=CHUNK)

    async def shake_hands(self, seconds: float) -> Accepted | Refused:
        """Ask for a WebSocket, and wait for the answer.

        Raises:
            UnreachableError: none in time, or none that is valid.
        """
        self._write(self._exchange.head)
        try:
            async with asyncio.timeout(seconds):
                answer, *self._rest = await self._answered()
        except TimeoutError:
            raise UnreachableError(504, "no answer in time") from None
        if isinstance(answer, Accepted):
            self._watch(self._terms.ping, asked=False)
        elif not isinstance(answer, Refused):
            raise UnreachableError(502, answer.why if isinstance(answer, Broken) else "no answer")
        return answer

    async def read(self) -> list[Event]:
        """What comes next, perhaps nothing; see ``ended``."""
        if self._rest:
            rest, self._rest = self._rest, []
            return rest
        try:
            data = await self._reader.read(CHUNK)
        except OSError:
            data = b""
        self._heard = True
        self.ended = not data
        events = self._exchange.feed(data) if data else self._exchange.end()
        return events + self._answer(self._exchange.answers())

    def message(self, data: str | bytes) -> bool:
        """Send a message; returns whether the next one has to wait for :meth:`drained`.

        Raises:
            TooLargeError: it is larger than ``max_size``.
        """
        return self._write(self._exchange.message(data))

    async def drained(self) -> bool:
        """Wait until the upstream has read enough; whether it is still there."""
        try:
            await self._writer.drain()
        except OSError:
            return False
        return not self._writer.transport.is_closing()

    async def finish(self) -> None:
        """Wait for the end of the closing handshake: the server is the one that disconnects first.

        RFC 6455, section 7.1.1. Nobody waits longer for one that does not, or does not even answer.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._terms.close):
                while not self.ended:
                    await self.read()

    def close(self, code: int | None, reason: str = "") -> None:
        """Say that we leave, unless one of us has said so before."""
        self._write(self._exchange.close(code, reason))

    def leave(self) -> None:
        """Let go of the connection without a further wait; what is written still goes out."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._stands or self._writer.transport.is_closing():
            return
        self._writer.close()
        # An upstream that reads nothing, or a TLS that is not answered, would hold it for ever.
        loop = asyncio.get_running_loop()
        loop.call_later(self._terms.close, self._writer.transport.abort)

    async def _answered(self) -> list[Event]:
        events: list[Event] = []
        while not events and not self.ended:
            events = await self.read()
        return events or [Broken("the connection ended")]

    def _write(self, data: bytes) -> bool:
        if not self._stands or self._writer.transport.is_closing():
            return True
        if data:
            self._writer.write(data)
        return self._writer.transport.get_write_buffer_size() > CHUNK

    def _answer(self, answers: bytes) -> list[Event]:
        """Send pongs without a wait, as the upstream may be waiting for us to read.

        Who pings without ever reading the pongs would fill our memory.
        """
        if not answers:
            return []
        stalled = self._write(answers)
        self._unread = self._unread + len(answers) if stalled else 0
        if self._unread <= CHUNK:
            return []
        self.ended = True
        self._writer.transport.abort()
        return [Broken("it sends pings and does not read the pongs")]

    def _watch(self, seconds: float, *, asked: bool) -> None:
        self._heard = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._look, asked)

    def _look(self, asked: bool) -> None:
        if self._heard or self.waiting:
            self._watch(self._terms.ping, asked=False)
        elif not asked:
            self._write(self._exchange.ping())
            self._watch(self._terms.pong, asked=True)
        else:  # a reader gets the end of the stream
            self._writer.transport.abort()


async def _connect(
    origin: Origin, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    secure = tls or True if origin.scheme == "https" else None
    name = origin.host if secure else None
    if origin.unix is not None:
        return await asyncio.open_unix_connection(
            origin.unix, limit=CHUNK, ssl=secure, server_hostname=name
        )
    return await asyncio.open_connection(
        origin.host, origin.port, limit=CHUNK, ssl=secure, server_hostname=name,
        **race(asyncio.get_running_loop(), origin.host),
    )  # fmt: skip
