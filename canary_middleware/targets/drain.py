"""Open streams of a killed canary: after ``kill_grace`` seconds they are ended in order.

A request that answers and ends is left alone. Only what would otherwise stay on the killed version
for as long as its client likes is watched: WebSockets and server-sent events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from canary_middleware.engine.engine import Engine
from canary_middleware.engine.visit import Visit

logger = logging.getLogger("canary_middleware")

SERVICE_RESTART: Final = 1012
"""WebSocket close code: the client may come back at once (IANA registry, RFC 6455)."""

RESOLUTION: Final = 0.001
"""Seconds by which two monotonic clocks may be apart."""

CLOSE: Final = {"type": "websocket.close", "code": SERVICE_RESTART, "reason": "service restart"}
LAST_CHUNK: Final = {"type": "http.response.body", "body": b"", "more_body": False}

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class Drain:
    """Watches the open canary streams of one ASGI middleware."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Streams come and go in their own event loop, the listener reads: single operations only.
        self._open: dict[OpenStream, None] = {}
        engine.on_kill(self._heard)

    def watch(self, visit: Visit, send: Send, last: Message) -> OpenStream:
        """Watch a stream until it is closed.

        Args:
            visit: whose canary it is.
            send: of the server.
            last: the message that ends such a stream in order.
        """
        stream = OpenStream(self._open, visit, send, last)
        self._open[stream] = None
        if visit.killed():  # heard while the stream was being opened, so before it was watched
            stream.end_later()
        return stream

    def _heard(self) -> None:
        for stream in list(self._open):
            if stream.visit.killed():
                try:
                    stream.loop.call_soon_threadsafe(stream.end_later)
                except RuntimeError:  # its loop was closed over it
                    stream.close()


class OpenStream:
    """One stream.

    Attributes:
        ended: the grace ran out: the client has been told, and the application is told that the
            client is gone, by its next ``receive`` and its next ``send``.
    """

    def __init__(
        self, registry: dict[OpenStream, None], visit: Visit, send: Send, last: Message
    ) -> None:
        self.visit = visit
        self.loop = asyncio.get_running_loop()
        self.ended = False
        self._registry = registry
        self._send = send
        self._last = last
        self._ending: asyncio.Future[None] | None = None

    def close(self) -> None:
        """The stream ended; stop watching it."""
        self._registry.pop(self, None)

    def end_later(self) -> None:
        """End it after the grace; in the stream's own loop."""
        self.loop.call_later(self.visit.engine.settings.kill_grace, self.end)

    def end(self) -> None:
        """End the stream, unless it ended by itself or the kill was revived."""
        if self.ended or self not in self._registry or not self.visit.killed():
            return
        # A kill that was revived and struck again has a grace of its own.
        if self.visit.killed_for() >= self.visit.engine.settings.kill_grace - RESOLUTION:
            self.ended = True
            self._ending = asyncio.ensure_future(self._say_so())

    async def _say_so(self) -> None:
        try:
            await self._send(dict(self._last))
        except Exception as error:  # servers raise what they like once a client is gone
            logger.debug("a stream of a killed canary had no client any more", exc_info=error)


def is_event_stream(headers: Any) -> bool:
    """Whether these ASGI headers announce server-sent events."""
    for name, value in headers:
        if value.startswith(b"text/event-stream") and name.lower() == b"content-type":
            return True
    return False
