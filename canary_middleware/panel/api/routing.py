"""Its routes: one application per path, which answers every method itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from canary_middleware.errors import CanaryError
from canary_middleware.overview.wording import clean
from canary_middleware.panel import problems
from canary_middleware.panel.acting import act, status_of
from canary_middleware.panel.action import read
from canary_middleware.panel.api.describing import describe
from canary_middleware.panel.api.looking import Look
from canary_middleware.panel.api.reading import UnreadableError, body, query
from canary_middleware.panel.api.table import DESCRIPTION, Operation, by_path
from canary_middleware.panel.site import Site

logger = logging.getLogger("canary_middleware.panel")

Handler = Callable[[Request], Awaitable[Response]]
PREFIX: Final = "/api"


def routes(site: Site) -> list[BaseRoute]:
    """All of them; whatever is before them has let the asker in.

    It must have set ``request.state.person`` and ``request.state.address``.
    """
    found: list[BaseRoute] = []
    for path, methods in by_path().items():
        handlers = {method: _handler(site, one) for method, one in methods.items()}
        found.append(Route(PREFIX + path, _Path(handlers)))
    described = json.loads(json.dumps(describe(site.namespace)))
    found.append(Route(PREFIX + DESCRIPTION, _Path({"GET": _told(described)})))
    return [*found, Route(PREFIX + "/{rest:path}", _Path({}))]


class _Path:
    """All methods of one path."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]  # a server leaves the body out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except ClientDisconnect:
            return
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._handlers:
            return problems.of_status(404, "there is nothing here", "see api/openapi.json")
        handler = self._handlers.get(request.method)
        if handler is not None:
            return await _guarded(handler, request)
        allowed = {"Allow": ", ".join(sorted({*self._handlers, "OPTIONS"}))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={**problems.NO_STORE, **allowed})
        return problems.of_status(405, "that cannot be done here", headers=allowed)


async def _guarded(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except UnreadableError as error:
        return problems.of_status(error.status, str(error))
    except CanaryError as error:
        failure = status_of(error)
        if failure.status >= 500:
            logger.warning("panel: %s: %s", failure.code, failure.message)
        return problems.of_failure(failure)


def _handler(site: Site, operation: Operation) -> Handler:
    look = operation.look
    return _deed(site, operation) if look is None else _look(site, operation, look)


def _look(site: Site, operation: Operation, look: Look) -> Handler:
    async def told(request: Request) -> Response:
        asked = query(request, operation.parameters)
        rollout = request.path_params.get("rollout", "")
        return _json(await site.ask(look, site, rollout, asked))

    return told


def _deed(site: Site, operation: Operation) -> Handler:
    async def deed(request: Request) -> Response:
        query(request, operation.parameters)
        values = await body(request)
        action = read(operation.verb, request.path_params.get("rollout"), values)
        done = await act(site, request.state.person, request.state.address, action)
        return _json(done.shape)

    return deed


def _told(shape: Any) -> Handler:
    async def tell(request: Request) -> Response:
        return JSONResponse(shape, headers=problems.NO_STORE)

    return tell


def _json(shape: Any) -> Response:
    return JSONResponse(clean(shape), headers=problems.NO_STORE)
