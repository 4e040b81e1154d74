"""A decision endpoint for edge proxies: which version serves this visitor?

nginx's ``auth_request`` (or any proxy's external authorisation) asks it with the visitor's own
headers before it chooses an upstream. The answer is always 204; what it says is in its headers. The
decision is that of a visit, as in the middleware, so both accept each other's cookies.

The endpoint believes what the proxy says about the original request, so it must be reachable by the
proxy only. ``integrations/nginx`` has the proxy's side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from canary_middleware import asgi, wsgi
from canary_middleware.canary import Canary
from canary_middleware.core.model import Assignment, Reason
from canary_middleware.engine.views import AsgiView, RequestView, WsgiView
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.targets.lifespan import share_lifespan
from canary_middleware.wsgi.calls import HEADS

ORIGINAL_URI: Final = "X-Original-URI"
"""Request header: path and query as the visitor sent them, undecoded (nginx ``$request_uri``)."""

ORIGINAL_METHOD: Final = "X-Original-Method"
"""Request header: the visitor's method; the question itself is always a GET."""

COHORT: Final = "X-Canary-Cohort"
"""Response header: ``stable`` or ``canary``."""

VERSION: Final = "X-Canary-Version"
"""Response header: the label of that version, for cache keys and logs."""

Lines = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Original:
    """The request that the proxy asks about.

    Attributes:
        method: upper case.
        path: decoded once; bytes, because ASGI and WSGI make different text of them.
        raw_path: undecoded.
        query: without the question mark.
    """

    method: str
    path: bytes
    raw_path: bytes
    query: bytes

    @classmethod
    def of(cls, uri: str | None, method: str | None) -> Original | None:
        """What the two headers say; ``None`` if the proxy did not set both."""
        if not uri or not uri.startswith("/") or not method:
            return None
        raw, _, query = uri.encode("latin-1").partition(b"?")
        return cls(method.upper(), unquote_to_bytes(raw), raw, query)

    def in_scope(self, scope: MutableMapping[str, Any]) -> dict[str, Any]:
        """An ASGI scope of the original request."""
        return {
            **scope,
            "method": self.method,
            "path": self.path.decode("utf-8", "replace"),
            "raw_path": self.raw_path,
            "query_string": self.query,
            "root_path": "",
        }

    def in_environ(self, environ: dict[str, Any]) -> dict[str, Any]:
        """A WSGI environ of the original request (PEP 3333: bytes decoded as latin-1)."""
        return {
            **environ,
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path.decode("latin-1"),
            "QUERY_STRING": self.query.decode("latin-1"),
            "SCRIPT_NAME": "",
        }


class Decisions:
    """What the two endpoints share: all but reading the question and sending the answer."""

    def __init__(self, canary: Canary, rollout: str) -> None:
        self.engine = canary.engine
        self._rollout = rollout
        names = [declared.name for declared in self.engine.rollouts]
        if rollout not in names:
            hint = f"declared: {', '.join(names)}"
            raise ConfigurationError([Problem(f"rollout {rollout!r}", "is not declared", hint)])

    def original(self, question: RequestView) -> Original | None:
        """The request that is asked about; a proxy that does not say is warned about once."""
        found = Original.of(question.header(ORIGINAL_URI), question.header(ORIGINAL_METHOD))
        if found is None:
            self.engine.faults.warn(
                "edge_unasked",
                "the proxy sets no %s and %s: everybody gets stable (logged once)",
                ORIGINAL_URI, ORIGINAL_METHOD,
            )  # fmt: skip
        return found

    def visit(self, view: RequestView) -> Visit | None:
        """The visit of the original request; ``None`` where no rollout covers it."""
        match = self.engine.snapshot.match(view.path, view.method)
        return Visit(self.engine, match, view) if match is not None else None

    def answer(self, visit: Visit | None) -> Lines:
        """The headers that tell the proxy what was decided."""
        if visit is None:
            return said(self.engine.not_covered(self._rollout))
        try:
            assignment = visit.expose(self._rollout)
        finally:
            # No outcome is booked: what becomes of the request, this process does not see.
            visit.finished = True
            self.engine.recorder.running.pop(visit, None)
        lines = said(assignment)
        if visit.exposed:
            lines.append(("Vary", HEADS.rules.vary_line(("Cookie", *visit.inputs()))))
            cookie = visit.cookie_line()
            lines += [("Set-Cookie", cookie)] if cookie else []
        return lines

    def failed(self, error: Exception) -> Lines:
        """Stable, because something broke."""
        self.engine.faults.report("edge", error)
        return self.stable()

    def stable(self) -> Lines:
        """Stable, because nothing is known about the request."""
        return said(self.engine.snapshot.by_name[self._rollout].stable[Reason.ERROR])


def said(assignment: Assignment) -> Lines:
    """An assignment as headers that no cache keeps."""
    return [
        ("Cache-Control", "no-store"),
        (COHORT, assignment.cohort.value),
        (VERSION, assignment.version),
    ]


class DecisionEndpoint:
    """The endpoint as an ASGI application, to be served by itself or mounted.

    Args:
        canary: the facade; give it the namespace and keys of the applications behind the proxy.
        rollout: the rollout that the proxy dispatches by.

    Raises:
        ConfigurationError: the rollout is not declared.
    """

    def __init__(self, canary: Canary, rollout: str) -> None:
        self._canary = canary
        self._decisions = Decisions(canary, rollout)
        canary.attach("asgi", targets={})

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One question, or the server's lifespan."""
        if scope["type"] == "http":
            lines = await self._decide(scope)
            headers = [(name.lower().encode(), value.encode("ascii")) for name, value in lines]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body"})
        elif scope["type"] == "lifespan":
            await share_lifespan(_silent, scope, receive, send, self._canary.arrive, self._leave)
        else:
            await send({"type": "websocket.close"})

    async def _decide(self, scope: asgi.Scope) -> Lines:
        decisions = self._decisions
        try:
            await self._canary.arrive()
            original = decisions.original(AsgiView(scope))
            if original is None:
                return decisions.stable()
            visit = decisions.visit(AsgiView(original.in_scope(scope)))
            if visit is not None and self._canary.identify_is_async:
                await visit.identify()
            if visit is not None and visit.match.shared:
                await self._canary.asker.settle_async(visit)
            return decisions.answer(visit)
        except Exception as error:  # noqa: BLE001  # whatever it was, a 5xx is an outage
            return decisions.failed(error)

    async def _leave(self) -> None:
        await self._canary.asker.leave()
        await asyncio.to_thread(self._canary.stop)


async def _silent(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """An application without a lifespan of its own."""


class WsgiDecisionEndpoint:
    """The endpoint as a WSGI application; see :class:`DecisionEndpoint`.

    Raises:
        ConfigurationError: the rollout is not declared, or ``identify`` is a coroutine function.
    """

    def __init__(self, canary: Canary, rollout: str) -> None:
        self._canary = canary
        self._decisions = Decisions(canary, rollout)
        if canary.identify_is_async:
            hint = "write a plain function, or use DecisionEndpoint"
            problem = Problem("identify", "WSGI cannot await a coroutine", hint)
            raise ConfigurationError([problem])
        canary.attach("wsgi", targets={})

    def __call__(
        self, environ: wsgi.Environ, start_response: wsgi.StartResponse
    ) -> Iterable[bytes]:
        """One question."""
        start_response("204 No Content", self._decide(environ))
        return []

    def _decide(self, environ: wsgi.Environ) -> Lines:
        decisions = self._decisions
        try:
            if not self._canary.awake:
                self._canary.arrive_blocking()
            original = decisions.original(WsgiView(environ))
            if original is None:
                return decisions.stable()
            visit = decisions.visit(WsgiView(original.in_environ(environ)))
            if visit is not None and visit.match.shared:
                self._canary.asker.settle(visit)
            return decisions.answer(visit)
        except Exception as error:  # noqa: BLE001  # as in DecisionEndpoint
            return decisions.failed(error)
