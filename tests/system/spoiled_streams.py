"""Broken care for open streams, for :mod:`.variants`."""

from __future__ import annotations

from math import inf
from typing import Any

from canary_middleware.engine.streams import Stream, Streams
from tests.system.spoiled import Around


class Oblivious(Streams):
    """Nobody looks at a stream that is open."""

    def review(self) -> None:
        pass


class Hasty(Streams):
    """Every move has its streams ended as a kill does."""

    def review(self) -> None:
        super().review()
        for stream in [*self._open]:
            if stream.ends_at < inf:
                settings = stream.visit.engine.settings
                stream.ends_at -= settings.drain - settings.kill_grace
                stream.moved()


class OneSided(Streams):
    """Only streams of canaries are watched."""

    def add(self, stream: Stream) -> None:
        if stream.visit.canary:
            super().add(stream)


class Goodbye(Around):
    """Closes sockets as if everything had been said."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def saying(message: Any) -> None:
            closing = message["type"] == "websocket.close"
            await send({**message, "code": 1000} if closing else message)

        await self.app(scope, receive, saying)
