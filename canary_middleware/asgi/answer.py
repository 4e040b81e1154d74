"""One HTTP answer on its way from the application to the server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Final

from canary_middleware.asgi.messages import (
    ENDED,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    edited,
)
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import MAX_REPLAY, RAISED, Supersede, Superseded
from canary_middleware.engine.drilling import Blow, answer_asgi, unheard
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from canary_middleware.targets.drain import LAST_CHUNK, OpenStream, is_event_stream, watch
from canary_middleware.targets.replay import fresh, restore

logger = logging.getLogger("canary_middleware")

BODIES: Final = frozenset({
    "http.response.body", "http.response.pathsend", "http.response.zerocopysend",
})  # fmt: skip


class Answer:
    """The way of one answer to the server: edits the start, notes the end, lets all else pass.

    Attributes:
        visit: who is answered.
        pristine: a copy of the scope for a second run; ``None`` where there can be none.
        superseded: set when this answer was abandoned before its start.
        stream: set when this is an event stream, which ends when its version loses the visitor.
        kind: how an answer without an end is booked: the client went away.
        seconds: how long it took; ``None`` is up to now.
    """

    __slots__ = (
        "_complete", "_headers", "_keeps", "_kept", "_receive", "_send", "_size",
        "pristine", "stream", "superseded", "visit",
    )  # fmt: skip

    kind: Final = OutcomeClass.ABORTED
    seconds: Final = None

    def __init__(self, visit: Visit, receive: Receive, send: Send, pristine: Scope | None) -> None:
        self.visit = visit
        self.pristine = pristine
        # A method that may not run twice has a second run only if nothing of it was read.
        self._keeps = pristine is not None and visit.may_repeat()
        self.superseded: Supersede | None = None
        self.stream: OpenStream | None = None
        self._receive = receive
        self._send = send
        self._kept: list[Message] = []
        self._headers: Headers = ()
        self._size = 0
        self._complete = True

    def send(self, message: Message) -> Awaitable[None]:
        """What the application gets as ``send``; plain, which costs no coroutine per message."""
        kind = message["type"]
        if kind == "http.response.start":
            drills = self.visit.engine.drills
            if drills is not None and (blow := drills.strike(self.visit)) is not None:
                return self._struck(blow, message)
            message = self._start(message)
        elif self.superseded is not None:
            raise Superseded
        elif self.stream is not None and self.stream.ended:
            raise ConnectionAbortedError(ENDED)
        elif kind in BODIES:
            if not message.get("more_body"):
                self.visit.finish(classify(self.visit.status))
            elif self._headers and self.visit.exposed:
                headers, self._headers = self._headers, ()
                if is_event_stream(headers):
                    self._watch()
        return self._send(message)

    async def _struck(self, blow: Blow, message: Message) -> None:
        await answer_asgi(blow, self.visit, self.send, self.receive, message)
        if blow.replaces:
            self._send = unheard

    def _start(self, message: Message) -> Message:
        visit = self.visit
        if visit.started:
            return message  # a mistake of the application's, for the server to tell
        visit.status = message["status"]
        if visit.canary or self.superseded is not None:
            self._reconsider()
        visit.answer(message["status"])
        visit.started = True
        if visit.exposed or visit.keeps():
            message = edited(visit, message)
        headers = message.get("headers", ())
        if not visit.exposed:
            self._headers = headers  # many streams ask for their version when they are under way
        elif is_event_stream(headers):
            self._watch()
        return message

    def _watch(self) -> None:
        self.stream = watch(self.visit, self._send, LAST_CHUNK)

    async def receive(self) -> Message:
        """What the application gets as ``receive``: remembers a small body for a second run."""
        if self._overtaken():
            raise Superseded  # what is still to come is for the second run
        message = await self._hear()
        if self._overtaken():
            self._kept.append(message)
            raise Superseded
        if self.pristine is None:
            return message
        if not self._keeps or message["type"] != "http.request":
            self._complete = False
        elif self._complete:
            self._size += len(message.get("body", b""))
            self._complete = self._size <= MAX_REPLAY
            self._kept.append(message)
            if not self._complete:
                self._kept.clear()
        return message

    async def _hear(self) -> Message:
        upload = self.visit.listen()
        upload.wait()
        try:
            message = await self._receive()
        finally:
            upload.come()
        gone = message["type"] == "http.disconnect"
        upload.over = gone or upload.over or not message.get("more_body")
        upload.broken = gone or upload.broken
        return message

    def _overtaken(self) -> bool:
        return self.superseded is not None

    def leave(self) -> None:
        """The application has returned."""
        visit = self.visit
        if self.stream is not None:
            self.stream.close()
        if self.superseded is None:
            if visit.leave is not None:
                visit.leave()
            if self.pristine is not None:
                visit.let_go(self.pristine)
        if self.stream is not None and self.stream.ended:
            visit.finish(classify(visit.status))  # it was not the client that went away

    def again(self) -> tuple[Answer, Scope]:
        """The answer that takes the place of this superseded one, and its scope.

        It may itself be superseded, by the kill of another rollout.
        """
        scope, why = self.pristine, self.superseded
        assert scope is not None and why is not None  # noqa: S101, PT018  # narrows; `send` saw to it
        restore(self.visit.view.native, scope)
        self.visit.let_go(scope)
        visit = self.visit.again(why, AsgiView(scope))
        return Answer(visit, self._replay(), self._send, fresh(scope)), scope

    def _replay(self) -> Receive:
        """``receive`` for the second run: what was remembered, then what is still to come."""

        async def receive() -> Message:
            return self._kept.pop(0) if self._kept else await self._receive()

        return receive

    def survives(self, error: BaseException) -> bool:
        """Whether the request goes on after this: the answer was superseded, or can be now."""
        if self.stream is not None and self.stream.ended:
            return isinstance(error, (Exception, BaseExceptionGroup))
        if self.superseded is not None:
            # Not the cancellation of the request itself. Task groups wrap what unwinds them.
            if isinstance(error, (Exception, Superseded, BaseExceptionGroup)):
                return True
            self.superseded = None  # nothing follows, so this answer has to leave by itself
            return False
        if not isinstance(error, Exception) or not self.visit.canary or self.visit.started:
            return False
        if self._supersede(RAISED):
            # The server would have logged it, had it arrived there.
            logger.warning("a canary raised; stable answered in its place", exc_info=error)
        return self.superseded is not None

    def _reconsider(self) -> None:
        if self.superseded is not None or self._supersede(self.visit.status):
            raise Superseded

    def _supersede(self, status: int) -> bool:
        visit = self.visit
        if not visit.doubtful(status):
            return False
        if self.pristine is not None and self._complete and visit.replayable():
            self.superseded = visit.supersede(status)
            if self.superseded is not None:
                visit.abandon(self.superseded)
        return self.superseded is not None
