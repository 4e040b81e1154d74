"""``panel(...)``: the panel as an ASGI application, to be mounted or served by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from canary_middleware.canary import Canary
from canary_middleware.core.validate import namespace_problems
from canary_middleware.errors import CanaryError, ConfigurationError, Problem
from canary_middleware.panel import api, pages
from canary_middleware.panel.access import Check, HostAccess, TokenAccess
from canary_middleware.panel.addresses import Clients, networks
from canary_middleware.panel.bodies import BodiesMiddleware
from canary_middleware.panel.guard import Guard
from canary_middleware.panel.headers import HeadersMiddleware
from canary_middleware.panel.pages.rendering import STATIC
from canary_middleware.panel.refusals import FailuresMiddleware, of_canary, of_http
from canary_middleware.panel.signin import SignIn
from canary_middleware.panel.site import Site
from canary_middleware.panel.token_file import TokenFile
from canary_middleware.stores import StateStore, open_store

T = TypeVar("T")

_PATIENCE: Final = 2.0
"""Seconds in which a store has to connect, and in which it has to answer."""


def panel(
    where: Canary | StateStore | str,
    *,
    namespace: str | None = None,
    tokens: str | Path | None = None,
    check: Check | None = None,
    trust: Sequence[str] = (),
    behind_proxy: bool = False,
) -> Starlette:
    """The panel of one namespace, to be served by itself or mounted in Starlette or FastAPI.

    Nobody sees anything of it without being let in, by exactly one of ``tokens`` and ``check``.

    Args:
        where: the application's ``Canary``, a store, or the URL of one (docs/stores.md).
        namespace: as in the application; that of the ``Canary`` where one is given.
        tokens: the token file, which ``canary panel token`` writes (docs/panel.md).
        check: who a request is from, by the host application: gets the ``Request`` without its
            body, returns a :class:`~canary_middleware.panel.people.Person` or ``None``; may be
            asynchronous. What it raises lets nobody in.
        trust: addresses and networks of proxies that say truly who the client is.
        behind_proxy: a proxy ends TLS for everybody, so that cookies are ``Secure``.

    Raises:
        ConfigurationError: with every mistake at once.
    """
    problems: list[Problem] = []
    name = where.namespace if isinstance(where, Canary) else namespace or ""
    problems += _name_problems(where, namespace)
    store = _collected(problems, lambda: _store(where, name))
    trusted = _collected(problems, lambda: networks(trust))
    access = _collected(problems, lambda: _access(tokens, check, name))
    if store is None or trusted is None or access is None or problems:
        raise ConfigurationError(problems)
    clients = Clients(trusted, behind_proxy=behind_proxy)
    return _assembled(Site(store, name), access, clients, closes=isinstance(where, str))


def _assembled(
    site: Site, access: TokenAccess | HostAccess, clients: Clients, *, closes: bool
) -> Starlette:
    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        if closes:
            site.store.close()

    signing = SignIn(access, clients, site.namespace) if isinstance(access, TokenAccess) else None
    # A redirect for a slash would name the host, which a stranger may have chosen.
    behind = Router([*pages.routes(site), *api.routes(site)], redirect_slashes=False)
    app = Starlette(
        routes=[
            Route("/healthz", _healthy),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
            *(signing.routes() if signing else ()),
            Mount("", behind, middleware=[Middleware(Guard, access=access, clients=clients)]),
        ],
        middleware=[
            Middleware(HeadersMiddleware),
            Middleware(FailuresMiddleware),
            Middleware(BodiesMiddleware),
        ],
        exception_handlers={HTTPException: of_http, CanaryError: of_canary},
        lifespan=life,
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app


async def _healthy(request: Request) -> Response:
    """That the panel runs; a stranger's question must not cost one to the store."""
    return PlainTextResponse("ok\n")


def _access(
    tokens: str | Path | None, check: Check | None, namespace: str
) -> TokenAccess | HostAccess:
    if tokens is not None and check is None:
        return TokenAccess(TokenFile(tokens), namespace)
    if tokens is None and callable(check):
        return HostAccess(check, namespace)
    wrong = "are both given" if tokens is not None else "are missing: nobody could be let in"
    if tokens is None and check is not None:
        wrong = f"check is {type(check).__name__}"
    hint = 'tokens="panel.tokens", which `canary panel token` makes, or check=a function'
    raise ConfigurationError([Problem("tokens and check", wrong, hint)])


def _store(where: Canary | StateStore | str, name: str) -> StateStore:
    if isinstance(where, Canary):
        return where.store
    if not isinstance(where, str):
        return where
    if where.startswith("memory:"):
        hint = "panel(canary, ...) inside of that process, or a store that is shared"
        raise ConfigurationError([Problem("store", "memory:// lives inside one process", hint)])
    return open_store(where, name, connect_timeout=_PATIENCE, timeout=_PATIENCE)


def _name_problems(where: Canary | StateStore | str, namespace: str | None) -> list[Problem]:
    if not isinstance(where, Canary):
        return namespace_problems(namespace, shared=True)
    if namespace in (None, where.namespace):
        return []
    hint = f"leave it out: it is {where.namespace!r}"
    return [Problem("namespace", f"{namespace!r} is not that of the Canary", hint)]


def _collected(problems: list[Problem], make: Callable[[], T]) -> T | None:
    """What is made, or ``None`` and what is wrong."""
    try:
        return make()
    except ConfigurationError as error:
        problems += error.problems
        return None
