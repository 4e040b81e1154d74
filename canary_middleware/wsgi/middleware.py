"""The middleware: whom a request concerns, and which application answers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from canary_middleware.canary import Canary
from canary_middleware.context import ENVIRON_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.core.snapshot import Match
from canary_middleware.engine.overrides import Given
from canary_middleware.engine.upload import watch
from canary_middleware.engine.views import WsgiView, wsgi_path
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.targets.interface import application, is_upstream, is_wsgi
from canary_middleware.targets.probing import probes_of
from canary_middleware.targets.replay import replayable
from canary_middleware.wsgi.answer import Answer
from canary_middleware.wsgi.calls import App, Environ, StartResponse, keeping, unfinished


class CanaryMiddleware:
    """Puts every visitor of ``app`` on the stable or the canary version.

    Args:
        app: the application; it is the stable version, and the canary too where no target is given.
            A URL stands for a :class:`~canary_middleware.upstream.wsgi.WsgiUpstream`.
        canary: the facade with rollouts, store and keys.
        targets: by rollout, the application or the URL that serves the canary.

    Raises:
        ConfigurationError: an application is not WSGI, a URL is none that can be an upstream's, a
            target names no rollout, or ``identify`` is a coroutine function.
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
        canary.attach("wsgi", self._targets, probes_of(self.app, self._targets))

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
        pristine = self.pristine(visit)
        if engine.observer is not None:
            engine.observer.entered(visit)
        answer = Answer(self, visit, environ, start_response, pristine)
        return answer.begin()

    def pristine(self, visit: Visit) -> Environ | None:
        """A copy of its environ for a second run; ``None`` where there can be none."""
        environ: Environ = visit.view.native
        if visit.may_repeat():
            return replayable(environ)
        # Of a method that may not run twice only what no upstream has read gets another run.
        return {**environ} if self._upstreams else None

    def settle(self, visit: Visit) -> None:
        """Ask the store what has to be known before a version is chosen."""
        self._canary.asker.settle(visit)

    def dispatch(self, visit: Visit) -> App:
        """The application that serves this visit."""
        for lane in visit.match.lanes if self._targets else ():
            target = self._targets.get(lane.name)
            if target is not None and visit.expose(lane.name).is_canary:
                visit.target = target
                return target
        return self.app


def _upstream(url: str) -> App:
    from canary_middleware.upstream.wsgi import WsgiUpstream  # an extra

    return WsgiUpstream(url)


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
