"""One connection to an upstream in an event loop: bytes in, events out, back-pressure both ways."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final, cast

from canary_middleware.upstream.events import BrokenUpstreamError, End, Event
from canary_middleware.upstream.exchange import Exchange

HELD: Final = 64 * 1024
"""Bytes of a body that are read ahead of a client who takes them slowly, and then one read."""
ROOM: Final = 2 * HELD
"""Bytes of one read, at most: each more is another turn of the loop, for us and for the client."""


class Link(asyncio.BufferedProtocol):
    """Carries one exchange at a time; whoever began it asks for what comes.

    Args:
        loop: of the connection.
        room: to read into, shared by all links of the loop: each takes what it got at once. Plain
            protocols are given new bytes, for which transports ask the system for 256 KiB of memory
            at each read and give it back: page faults, and in a process of threads worse.
        lost: called once when the connection ends while no exchange is on it.

    Attributes:
        fresh: no exchange has been on it yet.
        alive: the connection stands, and nothing came on it that nobody asked for.
    """

    __slots__ = (
        "_drained", "_error", "_events", "_exchange", "_held", "_loop", "_lost", "_paused",
        "_room", "_transport", "_waiter", "_writable", "alive", "fresh",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(
        self, loop: asyncio.AbstractEventLoop, room: memoryview, lost: Callable[[Link], object]
    ) -> None:
        self._loop = loop
        self._room = room
        self._lost = lost
        self._exchange: Exchange | None = None
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writable = True
        self._paused = False
        self._held = 0
        self.fresh = True
        self.alive = False

    # --- of the exchange -------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> None:
        """Be the connection of this exchange from now on."""
        self._exchange = exchange
        self._error = None if self.alive else BrokenUpstreamError("the connection was closed")

    def end(self) -> None:
        """The exchange is over; what comes from now on is a reason to close."""
        self._exchange = None
        self.fresh = False
        # An answer that came whole may have been left by whom it was for.
        self._events = []
        self._held = 0
        if self._paused:
            self._resume()

    def write(self, data: bytes) -> None:
        """Put bytes on their way; :meth:`drained` says when more may follow."""
        self._transport.write(data)

    @property
    def writable(self) -> bool:
        """Whether the upstream takes what is written."""
        return self._writable

    async def drained(self) -> None:
        """Wait until the upstream has taken most of what was written.

        Raises:
            Exception: that of :meth:`fail`, or a broken connection.
        """
        while not self._writable and self._error is None:
            self._drained = self._loop.create_future()
            await self._drained
        if self._error is not None:
            raise self._error

    def take(self) -> list[Event]:
        """What came since it was asked for last; reading goes on.

        Raises:
            Exception: that of :meth:`fail`, or a broken connection, once everything was taken.
        """
        events = self._events
        if events:
            self._events = []
            self._held = 0
            if self._paused:
                self._resume()
        elif self._error is not None:
            raise self._error
        return events

    def coming(self) -> asyncio.Future[None] | None:
        """What to wait for until there is something to take; nothing if there is."""
        if self._events or self._error is not None:
            return None
        self._waiter = self._loop.create_future()
        return self._waiter

    def fail(self, error: Exception) -> None:
        """End the connection; whoever waits for it gets this error."""
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self.alive = False
        self._transport.abort()

    # --- of the event loop -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop descend from none
        self.alive = True

    def get_buffer(self, _: int) -> memoryview:
        """Where to read into."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of an answer, or a connection that says something unasked."""
        exchange = self._exchange
        if exchange is None:
            self._drop()
            return
        try:
            events = exchange.feed(bytes(self._room[:nbytes]))
        except BrokenUpstreamError as error:
            self.fail(error)
            return
        self._came(events, nbytes)

    def eof_received(self) -> None:
        """The upstream will say no more; the transport closes by itself."""
        exchange = self._exchange
        if exchange is None:
            self._drop()
            return
        try:
            self._came(exchange.close(), 0)
        except BrokenUpstreamError as error:
            self.fail(error)
        self.alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        exchange, self.alive = self._exchange, False
        if exchange is None:
            self._drop()
        elif self._error is None and not exchange.done:
            try:
                self._read_on(exchange)
            except BrokenUpstreamError as error:
                self._error = error
            except OSError:
                self._error = BrokenUpstreamError(f"the connection was cut: {exc!r}")
        self._writable = True
        self._wake()

    def _read_on(self, exchange: Exchange) -> None:
        """Take what the system still holds of an answer.

        Upstreams that want no more of a body answer and close, and their system resets the
        connection at our next piece. Transports end with the failing write, and ask no more.

        Raises:
            BrokenUpstreamError: that is not all of the answer.
            OSError: neither, and the connection is gone.
        """
        if self._transport.get_extra_info("sslcontext") is not None:
            raise ConnectionResetError
        descriptor = self._transport.get_extra_info("socket").fileno()
        while not exchange.done:
            data = os.read(descriptor, HELD)
            if not data:  # after a reset, too: no proof that a body that ends so is whole
                raise ConnectionResetError
            self._came(exchange.feed(data), len(data))

    def pause_writing(self) -> None:
        """The upstream is slower than the client."""
        self._writable = False

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable = True
        self._wake()

    # --- private ---------------------------------------------------------------------------------

    def _came(self, events: list[Event], size: int) -> None:
        if not events:
            return
        if self._events:
            self._events += events
        else:
            self._events = events
        self._held += size
        if self._held > HELD and not self._paused and self.alive and type(events[-1]) is not End:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _resume(self) -> None:
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _wake(self) -> None:
        waiter, drained = self._waiter, self._drained
        self._waiter = self._drained = None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _drop(self) -> None:
        if self.alive:
            self.abort()
        lost, self._lost = self._lost, _nobody
        lost(self)


def _nobody(_: Link) -> None:
    """A connection is lost once."""
