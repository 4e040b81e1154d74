"""One WebSocket: what its handshake says of the version, and a move that closes it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from canary_middleware.asgi.messages import ENDED, Message, Send, edited
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.engine.visit import Visit
from canary_middleware.targets.drain import CLOSE, OpenStream, watch


class Handshake:
    """As :class:`Answer` for a WebSocket: cookie and Vary go on the acceptance or the denial.

    Nothing of it is kept for a second run, so it cannot be superseded.
    """

    pristine: Final = None
    superseded: Final = None

    def __init__(self, visit: Visit, send: Send) -> None:
        self.visit = visit
        self.kind = OutcomeClass.ABORTED
        self.seconds: float | None = 0.0
        self.stream: OpenStream | None = None
        self._send = send

    @property
    def ended(self) -> bool:
        """Whether a move of the rollout has closed the socket."""
        return self.stream is not None and self.stream.ended

    def send(self, message: Message) -> Awaitable[None]:
        """What the application gets as ``send``."""
        visit = self.visit
        kind = message["type"]
        if self.ended:
            raise ConnectionAbortedError(ENDED)
        if not visit.started:
            if kind in ("websocket.accept", "websocket.http.response.start"):
                message = self._start(message)
            elif kind == "websocket.close":
                visit.status = 403  # what the server answers then
                visit.answer(visit.status)
                self.kind = OutcomeClass.CLIENT_ERROR
        return self._send(message)

    def survives(self, error: BaseException) -> bool:
        """Whether this is only what the application makes of the end that was put to it."""
        return self.ended and isinstance(error, Exception)

    def leave(self) -> None:
        """The application has returned."""
        if self.stream is not None:
            self.stream.close()
        if self.visit.leave is not None:
            self.visit.leave()

    def _start(self, message: Message) -> Message:
        visit = self.visit
        visit.status = message.get("status", 101)
        visit.answer(visit.status)
        visit.started = True
        self.seconds = visit.head
        self.kind = classify(visit.status)
        if message["type"] == "websocket.accept":
            # Whatever its version is by now: many sockets ask for it after the handshake only.
            self.stream = watch(visit, self._send, CLOSE)
        return edited(visit, message) if visit.exposed or visit.keeps() else message
