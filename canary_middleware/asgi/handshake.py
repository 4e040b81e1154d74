"""One WebSocket: what its handshake says of the version, and a move that closes it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from canary_middleware.asgi.messages import ENDED, Message, Receive, Scope, Send, edited
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import Supersede, Superseded
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from canary_middleware.targets.drain import CLOSE, OpenStream, watch
from canary_middleware.targets.replay import restore

BAD_GATEWAY: Final = 502


class Handshake:
    """As :class:`Answer` for a WebSocket: cookie and Vary go on the acceptance or the denial.

    Nothing of a socket is kept, so there is a second run only where an upstream could not be
    reached: it has seen nothing, and the client has said no more than that it wants to connect.

    Attributes:
        pristine: a copy of the scope for that; ``None`` where no target is an upstream.
    """

    def __init__(
        self, visit: Visit, receive: Receive, send: Send, pristine: Scope | None = None
    ) -> None:
        self.visit = visit
        self.pristine = pristine
        self.superseded: Supersede | None = None
        self.receive: Receive = receive if pristine is None else self._hear
        self._receive = receive
        self._connect: Message | None = None
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
            if visit.unsent and self.pristine is not None:
                self._supersede()
            if kind in ("websocket.accept", "websocket.http.response.start"):
                message = self._start(message)
            elif kind == "websocket.close":
                visit.status = 403  # what the server answers then
                visit.answer(visit.status)
                self.kind = OutcomeClass.CLIENT_ERROR
        return self._send(message)

    def survives(self, error: BaseException) -> bool:
        """Whether this is only what the application makes of the end that was put to it."""
        if self.superseded is not None:
            return isinstance(error, (Exception, Superseded, BaseExceptionGroup))
        return self.ended and isinstance(error, Exception)

    def leave(self) -> None:
        """The application has returned."""
        if self.stream is not None:
            self.stream.close()
        if self.superseded is None and self.visit.leave is not None:
            self.visit.leave()

    def again(self) -> tuple[Handshake, Scope]:
        """The handshake on stable in place of this one, and its scope."""
        scope, why = self.pristine, self.superseded
        assert scope is not None and why is not None  # noqa: S101, PT018  # narrows; `send` saw to it
        restore(self.visit.view.native, scope)
        self.visit.let_go(scope)
        return Handshake(self.visit.again(why, AsgiView(scope)), self._replay(), self._send), scope

    def _supersede(self) -> None:
        self.superseded = self.superseded or self.visit.supersede(BAD_GATEWAY)
        if self.superseded is not None:
            self.visit.abandon(self.superseded)
            raise Superseded

    async def _hear(self) -> Message:
        message = await self._receive()
        self._connect = self._connect or message
        return message

    def _replay(self) -> Receive:
        async def receive() -> Message:
            told, self._connect = self._connect, None
            return await self._receive() if told is None else told

        return receive

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
