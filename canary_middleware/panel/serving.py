"""The panel as a server of its own: bounds for its connections, and an end in order."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 256
PATIENCE: Final = 15.0
"""Seconds in which a request has to be there; a body that is late gets an answer before."""
GRACE: Final = 3
"""Seconds that requests which run may still take when the server ends."""
_LONGEST_HEAD: Final = 16 * 1024
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What the server shows of itself, as files in PEM."""

    certificate: str
    key: str | None = None


def serve(
    app: ASGIApp,
    listening: socket.socket,
    *,
    tls: Tls | None = None,
    root_path: str = "",
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: the panel.
        listening: where; it is closed at the end.
        tls: to speak TLS.
        root_path: where a proxy that cuts paths has mounted it.
        started: called when it answers.

    Raises:
        OSError: a file of ``tls`` cannot be read, or is none.
    """
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        root_path=root_path,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe about clients is said by `trust`
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        timeout_graceful_shutdown=GRACE,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    _Server(config, started).run([listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # As uvicorn's, which raises the signal again at the end: here it is the usual way to end.
        handlers = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


class BoundedProtocol(H11Protocol):
    """A connection that has to send its requests in time, and one of so many.

    When there are too many, the one that has sent no whole request for longest makes room: so
    people get through where somebody opens connections and says nothing, or little.
    """

    patience: ClassVar[float] = PATIENCE
    most: ClassVar[int] = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Somebody has connected."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._look = self.loop.call_later(self.patience, self._look_after)
        # One that was sent away is still there until the loop turns, which takes in many at once.
        ours = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.stays()]
        if len(ours) > self.most:
            min(filter(BoundedProtocol.waits, ours), key=lambda one: one.since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The next request may come."""
        self.since = self.loop.time()
        super().on_response_complete()

    def stays(self) -> bool:
        """Whether nobody has ended it."""
        return not self.transport.is_closing()

    def waits(self) -> bool:
        """Whether there is no whole request that is under way."""
        cycle = getattr(self, "cycle", None)  # uvicorn types it as always there
        return cycle is None or cycle.response_complete or cycle.more_body

    def _look_after(self) -> None:
        if self.waits() and self.loop.time() - self.since >= self.patience:
            self.transport.close()
        elif not self.transport.is_closing():
            self._look = self.loop.call_later(self.patience / 4, self._look_after)
