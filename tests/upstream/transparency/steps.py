"""What a client or an origin does on its connection: send, wait for the other end, cut.

Client and origin of a case live in one event loop and can therefore wait for what the *other* one
has received: that nothing is held back in between is shown without a clock.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from tests.upstream.transparency.wire import Message

PATIENCE: Final = 2.5
"""Seconds after which an end that waits in vain gives up: longer than any time-out of a proxy."""


@dataclass(frozen=True, slots=True)
class Received:
    """Wait until the other end of the case has received these bytes (origin: the client has)."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """A client waits until these bytes have come back to it."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Body:
    """An origin reads the rest of the request."""


@dataclass(frozen=True, slots=True)
class Hang:
    """An origin says nothing until the other side goes."""


@dataclass(frozen=True, slots=True)
class Close:
    """The connection ends in good order."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST): what was sent may be lost."""


@dataclass(frozen=True, slots=True)
class IfReused:
    """What an origin does only on a connection that has carried a request before."""

    steps: tuple[Step, ...]


Step = bytes | Received | Answered | Pause | Body | Hang | Close | Reset | IfReused
BODY: Final = Body()
HANG: Final = Hang()
CLOSE: Final = Close()
RESET: Final = Reset()


class GaveUpError(Exception):
    """One end waited in vain, or was left alone."""


class Tape:
    """Bytes as they arrive, and those who wait for some of them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._news = asyncio.Event()

    def add(self, data: bytes) -> None:
        self.data += data
        self._news.set()

    async def until(self, text: bytes) -> None:
        """Return when ``text`` is there; :exc:`GaveUpError` after :data:`PATIENCE`."""
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.data:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise GaveUpError(f"never saw {text[:40]!r}") from None


@dataclass(slots=True)
class Recording:
    """What happened in one case: shared by its client and its origin."""

    at_client: Tape = field(default_factory=Tape)
    at_origin: Tape = field(default_factory=Tape)
    requests: list[Message] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    gone_at: float | None = None
    """When the client cut its connection, by the clock of the loop."""
    left_at: float | None = None
    """When the origin noticed, while it was silent, that the other side had gone."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the origin plays no script of this case."""
    playing: int = 0

    def __post_init__(self) -> None:
        self.idle.set()

    def begins(self) -> None:
        self.playing += 1
        self.idle.clear()

    def ends(self) -> None:
        self.playing -= 1
        if not self.playing:
            self.idle.set()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
