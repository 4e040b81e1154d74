"""The middleware: whom a connection concerns, and which application answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from canary_middleware.asgi.answer import Answer
from canary_middleware.asgi.handshake import Handshake
from canary_middleware.asgi.messages import App, Receive, Scope, Send, keeping
from canary_middleware.canary import Canary
from canary_middleware.context import SCOPE_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.rescue import Superseded
from canary_middleware.engine.views import AsgiView, app_path
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.targets.interface import application, is_asgi, is_upstream
from canary_middleware.targets.lifespan import Lifespans, share_lifespan
from canary_middleware.targets.probing import probes_of
from canary_middleware.targets.replay import fresh


class CanaryMiddleware:
    """Puts every visitor of ``app`` on the stable or the canary version.

    Args:
        app: the application; it is the stable version, and the canary too where no target is given.
            A URL stands for an :class:`~canary_middleware.upstream.asgi.AsgiUpstream`.
        canary: the facade with rollouts, store and keys.
        targets: by rollout, the application or the URL that serves the canary.

    Raises:
        ConfigurationError: an application is not ASGI, a URL is none that can be an upstream's, or
            a target names no rollout.
    """

    def __init__(
        self, app: App | str, canary: Canary, targets: Mapping[str, App | str] | None = None
    ) -> None:
        self.app = application(app, "app", _upstream)
        self._canary = canary
        self._engine = canary.engine
        # Configuration only, so it is the same in every snapshot: one look less per request.
        self._below = self._engine.snapshot.below
        self._targets = {
            name: application(target, f"targets[{name!r}]", _upstream)
            for name, target in (targets or {}).items()
        }
        _check(self.app, canary, self._targets)
        self._upstreams = any(map(is_upstream, self._targets.values()))
        canary.attach("asgi", self._targets, probes_of(self.app, self._targets))
        self._lifespans = Lifespans(self._targets, self._engine)

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
                    await self._run(self._first(visit, scope, receive, send), scope)
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
            return Handshake(visit, receive, send, fresh(scope) if self._upstreams else None)
        repeats = self._upstreams or visit.may_repeat()
        pristine = fresh(scope) if repeats else None
        return Answer(visit, receive, send, pristine)

    async def _run(self, answer: Answer | Handshake, scope: Scope) -> None:
        """Let the application answer; once more on stable, if this canary was superseded."""
        visit = answer.visit
        scope[SCOPE_KEY] = visit
        token = active_visit.set(visit)
        try:
            if self._canary.identify_is_async:
                await visit.identify()
            if visit.match.shared:
                await self._canary.asker.settle_async(visit)
            app, scope = self._dispatch(visit, scope) if self._targets else (self.app, scope)
            visit.target = app
            await app(scope, answer.receive, answer.send)
        except BaseException as error:  # a cancellation, too, ends the request
            if not answer.survives(error):
                visit.finish(_ending(error, visit), answer.seconds)
                raise
        finally:
            answer.leave()  # first: a loop that is closed over the request has another context
            active_visit.reset(token)
        if answer.superseded is not None:
            second, scope = answer.again()
            await self._run(second, scope)
        elif not visit.finished:
            visit.finish(answer.kind, answer.seconds)

    def _dispatch(self, visit: Visit, scope: Scope) -> tuple[App, Scope]:
        """The application that serves this visit, and the scope it gets."""
        for lane in visit.match.lanes:
            target = self._targets.get(lane.name)
            if target is not None and visit.expose(lane.name).is_canary:
                return target, {**scope, "state": self._lifespans.state(lane.name)}
        return self.app, scope


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


def _upstream(url: str) -> App:
    from canary_middleware.upstream.asgi import AsgiUpstream  # an extra

    return AsgiUpstream(url)


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
