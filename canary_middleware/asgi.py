"""The ASGI shell: translates scopes and messages, decides nothing.

``app.add_middleware(CanaryMiddleware, canary=canary)`` in Starlette and FastAPI, or
``app = CanaryMiddleware(app, canary=canary)`` around any ASGI application.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final

from canary_middleware.canary import Canary
from canary_middleware.context import SCOPE_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import MAX_REPLAY, RAISED, Supersede, Superseded
from canary_middleware.engine.drilling import Blow, answer_asgi, unheard
from canary_middleware.engine.heads import asgi_heads
from canary_middleware.engine.views import AsgiView, app_path
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.targets.drain import CLOSE, LAST_CHUNK, Drain, OpenStream, is_event_stream
from canary_middleware.targets.interface import is_asgi
from canary_middleware.targets.lifespan import Lifespans, share_lifespan
from canary_middleware.targets.replay import fresh, restore

logger = logging.getLogger("canary_middleware")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

HEADS = asgi_heads()
ENDED = "the canary was killed and the grace for its open streams is over"
BODIES = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})


class CanaryMiddleware:
    """Puts every visitor of ``app`` on the stable or the canary version.

    Args:
        app: the application; it is the stable version, and the canary too where no target is given.
        canary: the facade with rollouts, store and keys.
        targets: by rollout, the application that serves the canary.

    Raises:
        ConfigurationError: an application is not ASGI, or a target names no rollout.
    """

    def __init__(self, app: App, canary: Canary, targets: Mapping[str, App] | None = None) -> None:
        self.app = app
        self._canary = canary
        self._engine = canary.engine
        # Configuration only, so it is the same in every snapshot: one look less per request.
        self._below = self._engine.snapshot.below
        self._targets = dict(targets or {})
        _check(app, canary, self._targets)
        canary.attach("asgi", targets=self._targets)
        self._lifespans = Lifespans(self._targets, self._engine)
        self._drain = Drain(self._engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        kind = scope["type"]
        if kind == "http" or kind == "websocket":
            given = None
            if self._engine.overrides is not None:
                scope, given = self._engine.overrides.of_scope(scope)
            path = app_path(scope) if scope.get("root_path") else scope["path"]
            if path.startswith(self._below):
                match = self._engine.snapshot.match(path, scope.get("method", "GET"))
                if match is not None:
                    if not self._canary.awake or self._lifespans.waiting:
                        await self._arrive()
                        # What was started says where places are kept, and is known only now.
                        method = scope.get("method", "GET")
                        match = self._engine.snapshot.match(path, method) or match
                    outer = scope.get(SCOPE_KEY)
                    if outer is not None and outer.engine is self._engine:
                        # This canary wraps the application twice; the outer one has decided.
                        app, scope = self._dispatch(outer, scope)
                        await app(scope, receive, send)
                        return
                    visit = Visit(self._engine, match, AsgiView(scope), outer, given)
                    await self._run(self._first(visit, scope, receive, send), scope, receive)
                    return
            if given is not None and given.line is not None:
                send = keeping(send, given.line)
        elif kind == "lifespan":
            await share_lifespan(self.app, scope, receive, send, self._arrive, self._leave)
            return
        await self.app(scope, receive, send)

    async def _arrive(self) -> None:
        await self._canary.arrive()
        await self._lifespans.start()

    async def _leave(self) -> None:
        await self._canary.asker.leave()
        await self._lifespans.stop()
        await asyncio.to_thread(self._canary.stop)

    def _first(
        self, visit: Visit, scope: Scope, receive: Receive, send: Send
    ) -> Answer | Handshake:
        if self._engine.observer is not None:
            self._engine.observer.entered(visit)
        if scope["type"] == "websocket":
            return Handshake(visit, send, self._drain)
        pristine = fresh(scope) if scope["method"] in visit.match.replay_methods else None
        return Answer(visit, receive, send, self._drain, pristine)

    async def _run(self, answer: Answer | Handshake, scope: Scope, receive: Receive) -> None:
        """Let the application answer; once more on stable, if this canary was superseded."""
        visit = answer.visit
        if isinstance(answer, Answer):
            receive = answer.receive
        scope[SCOPE_KEY] = visit
        token = active_visit.set(visit)
        try:
            if self._canary.identify_is_async:
                await visit.identify()
            if visit.match.shared:
                await self._canary.asker.settle_async(visit)
            app, scope = self._dispatch(visit, scope) if self._targets else (self.app, scope)
            await app(scope, receive, answer.send)
        except BaseException as error:
            if not answer.survives(error):
                visit.finish(_ending(error, visit), answer.seconds)
                raise
        finally:
            answer.leave()  # first: a loop that is closed over the request has another context
            active_visit.reset(token)
        if answer.superseded is not None:
            second, scope = answer.again()
            await self._run(second, scope, second.receive)
        elif not visit.finished:
            visit.finish(answer.kind, answer.seconds)

    def _dispatch(self, visit: Visit, scope: Scope) -> tuple[App, Scope]:
        """The application that serves this visit, and the scope it gets."""
        for lane in visit.match.lanes:
            target = self._targets.get(lane.name)
            if target is not None and visit.expose(lane.name).is_canary:
                return target, {**scope, "state": self._lifespans.state(lane.name)}
        return self.app, scope


class Answer:
    """The way of one answer to the server: edits the start, notes the end, lets all else pass.

    Attributes:
        visit: who is answered.
        pristine: a copy of the scope for a second run; ``None`` where the method may not run twice.
        superseded: set when this answer was abandoned before its start.
        stream: set when this is an event stream of the canary, which a kill ends.
        kind: how an answer without an end is booked: the client went away.
        seconds: how long it took; ``None`` is up to now.
    """

    __slots__ = (
        "_complete", "_drain", "_headers", "_kept", "_receive", "_send", "_size", "pristine",
        "stream", "superseded", "visit",
    )  # fmt: skip

    kind: Final = OutcomeClass.ABORTED
    seconds: Final = None

    def __init__(
        self, visit: Visit, receive: Receive, send: Send, drain: Drain, pristine: Scope | None
    ) -> None:
        self.visit = visit
        self.pristine = pristine
        self.superseded: Supersede | None = None
        self.stream: OpenStream | None = None
        self._receive = receive
        self._send = send
        self._drain = drain
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
            elif self.visit.canary and self._headers:
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
        self._headers = message.get("headers", ())
        if visit.canary:
            self._watch()
        return message

    def _watch(self) -> None:
        # At the start, or later: many streams ask for their version when they are under way.
        headers, self._headers = self._headers, ()
        if is_event_stream(headers):
            self.stream = self._drain.watch(self.visit, self._send, LAST_CHUNK)

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
        if message["type"] != "http.request":
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

    def again(self) -> tuple[Answer, Scope]:
        """The answer that takes the place of this superseded one, and its scope.

        It may itself be superseded, by the kill of another rollout.
        """
        scope, why = self.pristine, self.superseded
        assert scope is not None and why is not None  # noqa: S101, PT018  # narrows; `send` saw to it
        restore(self.visit.view.native, scope)
        self.visit.let_go(scope)
        visit = self.visit.again(why, AsgiView(scope))
        return Answer(visit, self._replay(), self._send, self._drain, fresh(scope)), scope

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


class Handshake:
    """As :class:`Answer` for a WebSocket: cookie and Vary go on the acceptance or the denial.

    Nothing of it is kept for a second run, so it cannot be superseded.
    """

    pristine: Final = None
    superseded: Final = None

    def __init__(self, visit: Visit, send: Send, drain: Drain) -> None:
        self.visit = visit
        self.kind = OutcomeClass.ABORTED
        self.seconds: float | None = 0.0
        self.stream: OpenStream | None = None
        self._send = send
        self._drain = drain

    @property
    def ended(self) -> bool:
        """Whether a kill has closed the socket."""
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
        """Whether this is only what the application makes of the end that a kill has put to it."""
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
            self.stream = self._drain.watch(visit, self._send, CLOSE)
        return edited(visit, message) if visit.exposed or visit.keeps() else message


def edited(visit: Visit, message: Message) -> Message:
    """The start message of a visit whose head we have a say in."""
    # As a list, once: it may be a generator.
    return {**message, "headers": HEADS.edited(visit, list(message.get("headers", ())))}


def keeping(send: Send, cookie: str) -> Send:
    """``send`` of a request outside of every rollout, whose answer carries this cookie."""

    def sender(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            message = {**message, "headers": HEADS.keeping(cookie, given)}
        return send(message)

    return sender


def _ending(error: BaseException, visit: Visit) -> OutcomeClass:
    """How a request that raised is booked.

    ASGI 2.4: ``send`` raises an OSError once the client is gone, which Starlette turns into its
    ClientDisconnect. Before the start, and with a time-out, it is the application's own.
    """
    lost = visit.started and isinstance(error, OSError) and not isinstance(error, TimeoutError)
    # A canary around this one may take its answer back; that is no fault of what is in here.
    gone = isinstance(error, (asyncio.CancelledError, Superseded))
    gone = gone or type(error).__name__ == "ClientDisconnect"
    return OutcomeClass.ABORTED if lost or gone else OutcomeClass.EXCEPTION


def _check(app: object, canary: Canary, targets: Mapping[str, object]) -> None:
    problems = [
        Problem(place, "this is not an ASGI application", "WSGI: canary_middleware.wsgi")
        for place, candidate in (
            ("app", app),
            *((f"targets[{n!r}]", t) for n, t in targets.items()),
        )
        if not is_asgi(candidate)
    ]
    problems += canary.unknown_targets(targets)
    if problems:
        raise ConfigurationError(problems)
