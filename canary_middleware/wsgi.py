"""The WSGI shell (PEP 3333): translates environ, start_response and the body, decides nothing.

``app.wsgi_app = CanaryMiddleware(app.wsgi_app, canary=canary)`` in Flask, or any application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from canary_middleware.canary import Canary
from canary_middleware.context import ENVIRON_KEY
from canary_middleware.core.active import ActiveVisit, active_visit
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import RAISED, Supersede, Superseded
from canary_middleware.core.snapshot import Match
from canary_middleware.engine.drilling import UNAVAILABLE, Blow, body_of, pause, wsgi_head
from canary_middleware.engine.heads import wsgi_heads
from canary_middleware.engine.overrides import Given
from canary_middleware.engine.upload import watch
from canary_middleware.engine.views import WsgiView, wsgi_path
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.targets.interface import is_wsgi
from canary_middleware.targets.replay import replayable

logger = logging.getLogger("canary_middleware")

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

HEADS = wsgi_heads()


class CanaryMiddleware:
    """Puts every visitor of ``app`` on the stable or the canary version.

    Args:
        app: the application; it is the stable version, and the canary too where no target is given.
        canary: the facade with rollouts, store and keys.
        targets: by rollout, the application that serves the canary.

    Raises:
        ConfigurationError: an application is not WSGI, a target names no rollout, or ``identify``
            is a coroutine function.
    """

    def __init__(self, app: App, canary: Canary, targets: Mapping[str, App] | None = None) -> None:
        self.app = app
        self._canary = canary
        self._engine = canary.engine
        # Configuration only, so it is the same in every snapshot: one look less per request.
        self._below = self._engine.snapshot.below
        self._targets = dict(targets or {})
        _check(app, canary, self._targets)
        canary.attach("wsgi", targets=self._targets)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        given = None
        if self._engine.overrides is not None:
            environ, given = self._engine.overrides.of_environ(environ)
        path = wsgi_path(environ)
        if path.startswith(self._below):
            match = self._engine.snapshot.match(path, environ["REQUEST_METHOD"])
            if match is not None:
                outer = environ.get(ENVIRON_KEY)
                if outer is not None and outer.engine is self._engine:
                    # This canary wraps the application twice; the outer one has decided.
                    return self.dispatch(outer)(environ, start_response)
                return self._covered(environ, start_response, match, outer, given)
        if given is not None and given.line is not None:
            start_response = keeping(start_response, given.line)
        if active_visit.get() is not None:
            active_visit.set(unfinished())
        return self.app(environ, start_response)

    def _covered(
        self,
        environ: Environ,
        start_response: StartResponse,
        match: Match,
        outer: Visit | None,
        given: Given | None,
    ) -> Iterable[bytes]:
        engine = self._engine
        if not self._canary.awake:
            self._canary.arrive_blocking()
            # What was started says where places are kept, and is known only now.
            found = engine.snapshot.match(wsgi_path(environ), environ["REQUEST_METHOD"])
            match = found or match
        visit = Visit(engine, match, WsgiView(environ), outer, given)
        watch(environ, visit)
        pristine = None
        if environ["REQUEST_METHOD"] in match.replay_methods:
            pristine = replayable(environ)
        if engine.observer is not None:
            engine.observer.entered(visit)
        answer = Answer(self, visit, environ, start_response, pristine)
        return answer.begin()

    def settle(self, visit: Visit) -> None:
        """Ask the store what has to be known before a version is chosen."""
        self._canary.asker.settle(visit)

    def dispatch(self, visit: Visit) -> App:
        """The application that serves this visit."""
        for lane in visit.match.lanes if self._targets else ():
            target = self._targets.get(lane.name)
            if target is not None and visit.expose(lane.name).is_canary:
                return target
        return self.app


class Answer:
    """One answer on its way to the server; begins again on stable when the canary is superseded."""

    __slots__ = (
        "_before", "_environ", "_headers", "_middleware", "_pristine", "_server", "superseded",
        "visit",
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

    def begin(self) -> Iterable[bytes]:
        """Call the application; the result closes the visit when the server closes it."""
        visit = self.visit
        self._environ[ENVIRON_KEY] = visit
        active_visit.set(visit)
        try:
            if visit.match.shared:
                self._middleware.settle(visit)
            body = self._middleware.dispatch(visit)(self._environ, self._start)
        except BaseException as error:
            if not self.survives(error):
                self.end(_ending(error, visit))
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
        self._environ, self._pristine, self.superseded = pristine, replayable(pristine), None
        return self.begin()

    def end(self, kind: OutcomeClass | None = None) -> None:
        """Book the outcome, by default that of the status, and leave the request's context."""
        visit = self.visit
        visit.finish(classify(visit.status) if kind is None else kind)
        active_visit.set(self._before)
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
        """Whether this is an event stream of a killed canary whose grace is over."""
        visit = self.visit
        if not visit.killed() or not is_event_stream(self._headers):
            return False
        return visit.killed_for() > visit.engine.settings.kill_grace

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


class Body:
    """The closing iterator.

    Not a generator: one that is closed before its first item runs no ``finally``.
    """

    __slots__ = ("_answer", "_body", "_iterator", "_over")

    def __init__(self, answer: Answer, body: Iterable[bytes]) -> None:
        self._answer = answer
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        answer = self._answer
        try:
            # The first item is asked for here and not before: a generator starts its response then.
            iterator = self._iterator
            if iterator is None:
                iterator = self._iterator = iter(self._body)
            item = next(iterator)
            if answer.visit.canary and answer.cut():
                raise StopIteration
            if answer.superseded is None:
                return item
        except StopIteration:
            if answer.superseded is None:
                # Booked now; the context stays, for what the application does in its `close`.
                self._over = True
                answer.visit.finish(classify(answer.visit.status))
                raise
        except BaseException as error:
            if not answer.survives(error):
                self._over = True
                answer.visit.finish(_ending(error, answer.visit))
                raise
        close_abandoned(self._body)
        # Let go of it first: should stable raise, `close` must not close the canary again.
        self._body, self._iterator = (), None
        self._body = answer.again()
        return next(self)

    def close(self) -> None:
        """Close what the application returned; a body that was not read to its end was aborted."""
        try:
            close(self._body)
        finally:
            self._answer.end(None if self._over else OutcomeClass.ABORTED)


class SizedBody(Body):
    """A body whose length servers use to set Content-Length (PEP 3333)."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # only made for bodies that have a length


def close(body: object) -> None:
    """Call ``close()`` if there is one."""
    closing = getattr(body, "close", None)
    if closing is not None:
        closing()


def close_abandoned(body: object) -> None:
    """Close what a superseded canary returned; if that fails, stable answers all the same."""
    try:
        close(body)
    except (Exception, Superseded) as error:  # any application may raise anything in `close`
        logger.warning("a superseded canary failed in close()", exc_info=error)


def unfinished() -> ActiveVisit | None:
    """The visit of a request that this thread is still in the middle of."""
    visit = active_visit.get()
    # A caller that never closed an answer left its visit here, and the thread serves others now.
    return None if visit is None or visit.finished else visit


def numeric(status: str) -> int:
    """The number of a status line; 0 for one without, which is the server's to refuse."""
    code = status[:3]
    return int(code) if code.isascii() and code.isdecimal() else 0


def is_event_stream(headers: list[tuple[str, str]]) -> bool:
    """Whether these headers announce server-sent events."""
    for name, value in headers:
        if value.startswith("text/event-stream") and name.lower() == "content-type":
            return True
    return False


def keeping(start_response: StartResponse, cookie: str) -> StartResponse:
    """As it was, for a request outside of every rollout, whose answer carries this cookie."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: ExcInfo) -> Write:
        return start_response(status, HEADS.keeping(cookie, headers), *exc_info)

    return start


def _ending(error: BaseException, visit: Visit) -> OutcomeClass:
    """How a request that raised is booked; before the start an OSError is the application's own."""
    lost = visit.started and isinstance(error, OSError) and not isinstance(error, TimeoutError)
    # A canary around this one may take its answer back; that is no fault of what is in here.
    gone = isinstance(error, (GeneratorExit, Superseded))
    return OutcomeClass.ABORTED if lost or gone else OutcomeClass.EXCEPTION


def _check(app: object, canary: Canary, targets: Mapping[str, object]) -> None:
    candidates = (("app", app), *((f"targets[{name!r}]", t) for name, t in targets.items()))
    problems = [
        Problem(place, "this is not a WSGI application", "ASGI: canary_middleware.asgi")
        for place, candidate in candidates
        if not is_wsgi(candidate)
    ]
    problems += canary.unknown_targets(targets)
    if canary.identify_is_async:
        problems.append(
            Problem("identify", "WSGI cannot await a coroutine", "write a plain function")
        )
    if problems:
        raise ConfigurationError(problems)
