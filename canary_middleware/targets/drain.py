"""Open streams of a version that has lost their visitor are ended in order when their time is over.

That is ``kill_grace`` seconds after a kill, ``drain`` seconds after any other move. A request that
answers and ends is left alone. Only what would otherwise stay on the version for as long as its
client likes is watched: WebSockets and server-sent events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from math import inf
from typing import Any, Final

from canary_middleware.engine.streams import Stream
from canary_middleware.engine.visit import Visit

logger = logging.getLogger("canary_middleware")

SERVICE_RESTART: Final = 1012
"""WebSocket close code: the client may come back at once (IANA registry, RFC 6455)."""

EVENTS: Final = b"text/event-stream"
NAME: Final = len(b"content-type")

RESOLUTION: Final = 0.001
"""Seconds by which two monotonic clocks may be apart."""

CLOSE: Final = {"type": "websocket.close", "code": SERVICE_RESTART, "reason": "service restart"}
LAST_CHUNK: Final = {"type": "http.response.body", "body": b"", "more_body": False}

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def watch(visit: Visit, send: Send, last: Message) -> OpenStream:
    """Watch a stream until it is closed.

    Args:
        visit: whose it is.
        send: of the server.
        last: the message that ends such a stream in order.
    """
    stream = OpenStream(visit, send, last)
    stream.open()
    return stream


class OpenStream(Stream):
    """One stream in its event loop.

    Attributes:
        ended: its time is over: the client has been told, and the application is told that the
            client is gone, by its next ``receive`` and its next ``send``.
    """

    def __init__(self, visit: Visit, send: Send, last: Message) -> None:
        super().__init__(visit)
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._last = last
        self._timer: asyncio.TimerHandle | None = None
        self._ending: asyncio.Future[None] | None = None

    def moved(self) -> None:
        """Set the clock of its end anew, in its own loop."""
        try:
            self._loop.call_soon_threadsafe(self._wait)
        except RuntimeError:  # its loop was closed over it
            self.close()

    def close(self) -> None:
        """It has ended; nobody watches it any more."""
        super().close()
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._stop()
        if self.watched and self.ends_at < inf and not self.ended:
            left = self.ends_at - self.visit.engine.clock()
            if left > RESOLUTION:
                self._timer = self._loop.call_later(left, self._wait)
            else:
                self._end()

    def _end(self) -> None:
        # It stays in the book until the request is over: a client that reads nothing holds it up.
        self.ended = True
        self._stop()
        self._ending = asyncio.ensure_future(self._say_so())

    async def _say_so(self) -> None:
        try:
            await self._send(dict(self._last))
        except Exception as error:  # servers raise what they like once a client is gone
            logger.debug("a stream of a version that lost it had no client", exc_info=error)


def is_event_stream(headers: Any) -> bool:
    """Whether these ASGI headers announce server-sent events."""
    for name, value in headers:
        # The length first: this is asked of every answer of a rollout.
        if len(name) == NAME and value.startswith(EVENTS) and name.lower() == b"content-type":
            return True
    return False
