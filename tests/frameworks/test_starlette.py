"""Starlette behind the middleware: exception handlers, middleware, task groups, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from canary_middleware import Audience, Canary, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.frameworks.starlette import assignment_from, session_subject
from tests.scenarios.asgi_client import Browser
from tests.scenarios.asgi_driver import Connection, http_scope
from tests.scenarios.facade import events, facade, kill, outcomes
from tests.scenarios.words import Ask

SUPERSEDED = {"canary superseded": 1, "stable 2xx": 1}


class Shop:
    """Endpoints that fail or are killed on canary, and notes of everything that looks at errors.

    Args:
        inside: middleware inside of ours.
    """

    def __init__(self, *inside: Middleware) -> None:
        self.canary = facade()
        self.notes: list[str] = []
        routes = [
            Route("/killed", self.killed),
            Mount("/killed-in-group", self.killed_in_group),
            Route("/streamed", self.streamed),
            Route("/broken", self.broken),
            Route("/background", self.background),
            Mount("/mounted", routes=[Route("/killed", self.killed)]),
        ]
        app = Starlette(
            routes=routes, middleware=inside, exception_handlers={Exception: self.caught}
        )
        self.app = CanaryMiddleware(app, self.canary)

    def answer(self) -> Response:
        if current("checkout").is_canary:
            kill(self.canary)
        return PlainTextResponse(current("checkout").version)

    async def killed(self, _: Request) -> Response:
        return self.answer()

    async def killed_in_group(self, scope: Any, receive: Any, send: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await self.answer()(scope, receive, send)
            group.cancel_scope.cancel()

    async def streamed(self, _: Request) -> Response:
        self.answer()

        async def chunks() -> AsyncIterator[str]:
            yield current("checkout").version

        return StreamingResponse(chunks())

    async def broken(self, _: Request) -> Response:
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        return PlainTextResponse("stable")

    async def background(self, _: Request) -> Response:
        def afterwards() -> None:
            self.notes.append(f"background {current('checkout').version}")

        return PlainTextResponse(current("checkout").version, background=BackgroundTask(afterwards))

    async def caught(self, _: Request, error: Exception) -> Response:
        self.notes.append(f"handler {error!r}")
        return PlainTextResponse("sorry", 500)


class Passing(BaseHTTPMiddleware):
    """Does nothing, in the way in which most middleware is written."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


class Guarding(BaseHTTPMiddleware):
    """Turns every error into an answer."""

    def __init__(self, app: Any, notes: list[str]) -> None:
        super().__init__(app)
        self.notes = notes

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            return await call_next(request)
        except Exception as error:  # noqa: BLE001  # what such middleware does
            self.notes.append(f"guard {error!r}")
            return PlainTextResponse("guarded", 500)


STACKS = {
    "nothing": [],
    "BaseHTTPMiddleware": [Middleware(Passing)],
    "two of them": [Middleware(Passing), Middleware(Passing)],
    "gzip": [Middleware(GZipMiddleware, minimum_size=1)],
}


@pytest.mark.parametrize("path", ["/killed", "/killed-in-group/", "/streamed", "/mounted/killed"])
@pytest.mark.parametrize("inside", STACKS.values(), ids=STACKS.keys())
def test_superseding_unwinds_everything_and_no_handler_sees_it(
    inside: list[Middleware], path: str
) -> None:
    shop = Shop(*inside)
    with Browser(shop.app) as browser:
        assert browser.text(path) == "1"
    assert shop.notes == []
    assert outcomes(shop.canary) == SUPERSEDED
    assert not shop.canary.engine.recorder.running


def test_a_guard_of_the_application_sees_nothing_of_it() -> None:
    notes: list[str] = []
    shop = Shop(Middleware(Guarding, notes=notes))
    with Browser(shop.app) as browser:
        assert browser.text("/killed") == "1"
    assert notes == []


def test_unwinding_by_an_exception_would_be_seen() -> None:
    """The broken variant: were it an ``Exception``, the guard would answer in stable's place."""
    notes: list[str] = []

    class Unwound(Exception):  # noqa: N818  # it stands for one that is no error
        pass

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise Unwound

    with Browser(Guarding(inner, notes)) as browser:
        assert browser.get("/killed").body == b"guarded"
    assert notes == ["guard Unwound()"]


@pytest.mark.parametrize("inside", STACKS.values(), ids=STACKS.keys())
def test_a_failure_is_rescued_from_behind_starlettes_exception_handlers(
    inside: list[Middleware],
) -> None:
    shop = Shop(*inside)
    with Browser(shop.app) as browser:
        assert browser.text("/broken") == "stable"
    assert shop.notes == ["handler RuntimeError('boom')"]
    assert outcomes(shop.canary) == {"canary rescued": 1}


@pytest.mark.parametrize("inside", STACKS.values(), ids=STACKS.keys())
def test_background_tasks_read_what_the_request_was(inside: list[Middleware]) -> None:
    shop = Shop(*inside)
    with Browser(shop.app) as browser:
        assert browser.text("/background") == "2"
    assert shop.notes == ["background 2"]
    assert events(shop.canary) == {}


def test_a_client_that_leaves_a_stream_is_no_failure_of_the_canary() -> None:
    """W17: outsiders cannot make a version look bad."""

    async def stream(_: Request) -> Response:
        return StreamingResponse(iter([current("checkout").version] * 3))

    async def server(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("gone")

    async def run() -> None:
        app = Starlette(routes=[Route("/stream", stream)])
        scope = http_scope(Ask("/stream"))
        await CanaryMiddleware(app, canary)(scope, Connection().receive, server)

    canary = facade()
    with pytest.raises(ClientDisconnect):
        asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


def test_files_pass_by_pathsend(tmp_path: Any) -> None:
    file = tmp_path / "page.txt"
    file.write_text("file")

    async def page(request: Request) -> Response:
        current("checkout")
        return FileResponse(file)

    canary = facade()
    sent: list[str] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            sent.append(message["type"])
            await send({"type": "http.response.body"} if "path" in message else message)

        await CanaryMiddleware(Starlette(routes=[Route("/page", page)]), canary)(
            scope, receive, note
        )

    with Browser(server) as browser:
        assert browser.get("/page").all("vary") == ["Cookie"]
    assert sent == ["http.response.start", "http.response.pathsend"]
    assert outcomes(canary) == {"canary 2xx": 1}


# --- sessions -------------------------------------------------------------------------------------


async def sign_in(request: Request) -> Response:
    request.session["user_id"] = request.path_params["name"]
    return PlainTextResponse(current("checkout").version)


async def checkout(request: Request) -> Response:
    found = assignment_from(request, "checkout")
    return PlainTextResponse(f"{found.version} {found.reason.value}")


async def beta(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await PlainTextResponse("the other application")(scope, receive, send)


ROUTES = [Route("/sign-in/{name}", sign_in), Route("/checkout", checkout)]
SESSION: dict[str, Any] = {"secret_key": "s" * 32}


def with_testers() -> Canary:
    identify = session_subject("user_id")
    settings = {"identify": identify, "bucket_secret": "b" * 32}
    return facade("0%", settings, testers=Audience(["tess"]))


def session_inside(canary: Canary, **targets: Any) -> Any:
    app = Starlette(routes=ROUTES, middleware=[Middleware(SessionMiddleware, **SESSION)])
    return CanaryMiddleware(app, canary, targets)


def session_outside(canary: Canary, **targets: Any) -> Any:
    return SessionMiddleware(CanaryMiddleware(Starlette(routes=ROUTES), canary, targets), **SESSION)


@pytest.mark.parametrize("build", [session_inside, session_outside])
def test_a_flag_sees_the_sign_in_in_either_order(build: Callable[..., Any]) -> None:
    with Browser(build(with_testers())) as browser:
        assert browser.text("/checkout") == "1 weight"
        assert browser.text("/sign-in/tess") == "2", "the sign-in of the same request is seen"
        assert browser.text("/checkout") == "2 tester"
        assert browser.text("/sign-in/adam") == "1"


@pytest.mark.parametrize(
    ("build", "answer"),
    [(session_outside, "the other application"), (session_inside, "1 weight")],
)
def test_a_target_sees_the_session_only_if_it_is_outside(
    build: Callable[..., Any], answer: str
) -> None:
    canary = with_testers()
    with Browser(build(canary, checkout=beta)) as browser:
        assert browser.text("/sign-in/tess") == "1", "this request was routed before"
        assert browser.text("/checkout") == answer
    assert events(canary) == {}


def test_assignment_from_outside_of_the_middleware() -> None:
    with Browser(Starlette(routes=ROUTES)) as browser:
        assert browser.text("/checkout") == " no_request"
