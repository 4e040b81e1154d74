"""One answer on its way to the server."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from canary_middleware.context import ENVIRON_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import RAISED, Supersede, Superseded
from canary_middleware.engine.drilling import UNAVAILABLE, Blow, body_of, pause, wsgi_head
from canary_middleware.engine.streams import Stream
from canary_middleware.engine.views import WsgiView
from canary_middleware.engine.visit import Visit
from canary_middleware.wsgi.body import Body, SizedBody, close_abandoned, ending
from canary_middleware.wsgi.calls import (
    HEADS,
    Environ,
    ExcInfo,
    StartResponse,
    Write,
    is_event_stream,
    numeric,
    unfinished,
)

if TYPE_CHECKING:
    from canary_middleware.wsgi.middleware import CanaryMiddleware

logger = logging.getLogger("canary_middleware")


class Answer:
    """One answer on its way to the server; begins again on stable when the canary is superseded."""

    __slots__ = (
        "_before", "_environ", "_headers", "_middleware", "_pristine", "_server", "_stream",
        "superseded", "visit",
    )  # fmt: skip

    def __init__(
        self,
        middleware: CanaryMiddleware,
        visit: Visit,
        environ: Environ,
        start_response: StartResponse,
        pristine: Environ | None,
    ) -> None:
        self.visit = visit
        self._middleware = middleware
        self._environ = environ
        self._server = start_response
        self._pristine = pristine
        # A request made by a handler of another one, in its thread, gives its context back.
        self._before = unfinished()
        self.superseded: Supersede | None = None
        self._headers: list[tuple[str, str]] = []
        self._stream: Stream | None = None

    def begin(self) -> Iterable[bytes]:
        """Call the application; the result closes the visit when the server closes it."""
        visit = self.visit
        self._environ[ENVIRON_KEY] = visit
        active_visit.set(visit)
        try:
            if visit.match.shared:
                self._middleware.settle(visit)
            body = self._middleware.dispatch(visit)(self._environ, self._start)
        except BaseException as error:  # whatever it is, it ends the request
            if not self.survives(error):
                self.end(ending(error, visit))
                raise
            return self.again()
        if self.superseded is not None:  # the application caught what should have unwound it
            close_abandoned(body)
            return self.again()
        if visit.started and isinstance(body, (list, tuple)):
            # No code of the application runs any more, so that this is what ASGI's last message is:
            # it is booked, and the server gets the very object it would have got without us.
            self.end()
            return body
        if self._is_file(body):
            # Only the very object lets the server use sendfile; its end is out of sight.
            self.end(classify(self.visit.status))
            return body
        return (SizedBody if hasattr(body, "__len__") else Body)(self, body)

    def again(self) -> Iterable[bytes]:
        """Run stable in place of the superseded canary."""
        why, pristine = self.superseded, self._pristine
        if why is Supersede.DRILL:
            self.superseded = None
            self.end()
            return [body_of(self.visit)]
        assert why is not None and pristine is not None  # noqa: S101, PT018  # narrows types; `_may_repeat` saw to it
        self.visit = self.visit.again(why, WsgiView(pristine))
        # The second run may itself be superseded, by the kill of another rollout.
        self._environ, self.superseded = pristine, None
        self._pristine = self._middleware.pristine(self.visit)
        return self.begin()

    def end(self, kind: OutcomeClass | None = None) -> None:
        """Book the outcome, by default that of the status, and leave the request's context."""
        visit = self.visit
        visit.finish(classify(visit.status) if kind is None else kind)
        active_visit.set(self._before)
        if self._stream is not None:
            self._stream.close()
        if visit.leave is not None:
            visit.leave()
        if self._pristine is not None:
            visit.let_go(self._pristine)

    def survives(self, error: BaseException) -> bool:
        """Whether the request goes on after this: the answer was superseded, or can be now."""
        if self.superseded is not None:
            return isinstance(error, (Exception, Superseded))
        return isinstance(error, Exception) and self._rescue(error)

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        visit = self.visit
        drills = visit.engine.drills
        if drills is not None and (blow := drills.strike(visit)) is not None:
            return self._struck(blow, status, headers, exc_info)
        visit.status = code = numeric(status)
        if self.superseded is None and not visit.started and visit.doubtful(code):
            if self._may_repeat():
                self.superseded = visit.supersede(code)
            if self.superseded is not None:
                visit.abandon(self.superseded)
        if self.superseded is not None:
            raise Superseded
        if not visit.started:
            visit.answer(code)
        visit.started = True
        self._headers = headers
        if visit.exposed or visit.keeps():
            headers = HEADS.edited(visit, headers)
        return (
            self._server(status, headers, exc_info) if exc_info else self._server(status, headers)
        )

    def _struck(
        self, blow: Blow, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None
    ) -> Write:
        pause(blow)
        if not blow.replaces:
            return self._start(status, headers, exc_info)
        self._start(UNAVAILABLE, wsgi_head())
        self.superseded = Supersede.DRILL
        raise Superseded  # the rest of the canary's answer: `again` has another one

    def cut(self) -> bool:
        """Whether this is an event stream whose version lost the visitor, and its time is over.

        Asked of each item of a body: many streams ask for their version when they are under way.
        """
        if self._headers:
            if is_event_stream(self._headers):
                self._stream = Stream(self.visit)
                self._stream.open()
            self._headers = []
        return self._stream is not None and self._stream.over

    def _may_repeat(self) -> bool:
        return self._pristine is not None and self.visit.replayable()

    def _rescue(self, error: Exception) -> bool:
        visit = self.visit
        if not visit.canary or visit.started:
            return False
        if self._may_repeat():
            self.superseded = visit.supersede(RAISED)
        if self.superseded is None:
            return False
        # The server would have logged it, had it arrived there.
        logger.warning("a canary raised; stable answered in its place", exc_info=error)
        visit.abandon(self.superseded)
        return True

    def _is_file(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        return isinstance(wrapper, type) and isinstance(body, wrapper)
