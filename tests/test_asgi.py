"""What only ASGI has: extension messages, disconnects, cancellation, an asynchronous identify.

What it shares with WSGI is in tests/scenarios, with WebSockets; lifespans are in tests/targets.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
from starlette.applications import Starlette

from canary_middleware import (
    Audience,
    Canary,
    ConfigurationError,
    Rescue,
    Visitor,
    current,
)
from canary_middleware.asgi import CanaryMiddleware, Superseded
from canary_middleware.context import SCOPE_KEY
from canary_middleware.core.active import active_visit
from tests.scenarios.asgi_driver import Connection, exchange, http_scope
from tests.scenarios.facade import events, facade, kill, outcomes
from tests.scenarios.words import Ask, Reply

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b""}


def fetch(app: App, canary: Canary, **scope: Any) -> Reply:
    return asyncio.run(exchange(CanaryMiddleware(app, canary), {**http_scope(Ask()), **scope}))


def talk(app: App, canary: Canary, method: str = "GET") -> list[Message]:
    """Every message that reaches the server."""

    async def run() -> list[Message]:
        connection = Connection()
        scope = http_scope(Ask(method=method))
        await CanaryMiddleware(app, canary)(scope, connection.receive, connection.send)
        return connection.messages

    return asyncio.run(run())


async def version(scope: Any, receive: Any, send: Any) -> None:
    body = current("checkout").version.encode()
    await send(dict(START))
    await send({"type": "http.response.body", "body": body})


# --- messages that are not ours -------------------------------------------------------------------


def test_extension_messages_pass_as_they_are_and_in_order() -> None:
    theirs: list[Message] = [
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.debug", "info": {"template": "page.html"}},
        {"type": "http.response.push", "path": "/a.css", "headers": []},
        {**START, "trailers": True},
        END,
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        for message in theirs:
            await send(message)

    async def run() -> list[Message]:
        seen: list[Message] = []

        async def server(message: Message) -> None:
            seen.append(message)

        connection = Connection()
        await CanaryMiddleware(app, canary)(http_scope(Ask()), connection.receive, server)
        return seen

    canary = facade()
    seen = asyncio.run(run())
    assert [*seen[:3], *seen[4:]] == [*theirs[:3], *theirs[4:]]
    assert seen[3]["trailers"] is True
    assert (b"vary", b"Cookie") in seen[3]["headers"]
    assert outcomes(canary) == {"canary 2xx": 1}


@pytest.mark.parametrize(
    "last",
    [
        END,
        {"type": "http.response.pathsend", "path": "/srv/page"},
        {"type": "http.response.zerocopysend", "file": 3},
    ],
)
def test_every_kind_of_body_ends_the_request_well(last: Message) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await send(last)

    async def run() -> None:
        async def server(message: Message) -> None:
            await asyncio.sleep(0)

        await CanaryMiddleware(app, canary)(http_scope(Ask()), Connection().receive, server)

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary 2xx": 1}


def test_zerocopysend_in_pieces_ends_with_the_last_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await send({"type": "http.response.zerocopysend", "file": 3, "more_body": True})
        assert outcomes(canary) == {}
        await send(dict(END))

    canary = facade()
    talk(app, canary)
    assert outcomes(canary) == {"canary 2xx": 1}


def test_messages_of_an_unexposed_answer_are_the_very_objects() -> None:
    given = [dict(START), {"type": "http.response.body", "body": b"x", "more_body": True}, END]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in given:
            await send(message)

    seen = talk(app, facade())
    assert [id(message) for message in seen] == [id(message) for message in given]


def test_a_message_of_an_exposed_answer_is_not_changed_in_place() -> None:
    shared = {**START, "headers": ((b"x-a", b"1"),)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(shared)
        await send(dict(END))

    for _ in range(2):
        assert fetch(app, facade()).all("vary") == ["Cookie"]
    assert shared["headers"] == ((b"x-a", b"1"),)


# --- clients that go away, cancellation -----------------------------------------------------------


def test_a_client_that_goes_away_mid_stream() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await receive()
        while (await receive())["type"] != "http.disconnect":
            raise AssertionError
        # returns without an end, as applications do

    async def run() -> None:
        connection = Connection()
        connection.gone.set()
        await CanaryMiddleware(app, canary)(http_scope(Ask()), connection.receive, connection.send)

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError("gone")])
def test_a_server_that_says_so_by_an_error_of_send(error: OSError, method: str) -> None:
    """ASGI 2.4: ``send`` raises a subclass of OSError once the client is gone."""

    async def run() -> None:
        async def server(message: Message) -> None:
            if message["type"] == "http.response.body":
                raise error

        scope = http_scope(Ask(method=method))
        await CanaryMiddleware(streaming, canary)(scope, Connection().receive, server)

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    canary = facade()
    with pytest.raises(OSError, match="gone"):
        asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


def test_a_canary_answer_nobody_waits_for_is_not_run_again() -> None:
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        raise RuntimeError("boom")

    async def run() -> Any:
        connection = Connection()
        connection.gone.set()
        await CanaryMiddleware(app, facade())(
            http_scope(Ask()), connection.receive, connection.send
        )

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(run())
    assert runs == ["2"]


async def cancelled_while(app: App, canary: Canary, ready: asyncio.Event) -> Connection:
    """Cancels the request as soon as ``ready`` is set; checks that the cancellation comes out."""
    connection = Connection()
    middleware = CanaryMiddleware(app, canary)
    task = asyncio.ensure_future(middleware(http_scope(Ask()), connection.receive, connection.send))
    await ready.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled(), "the cancellation was swallowed"
    assert not canary.engine.recorder.running
    return connection


def test_cancellation_of_a_running_request_passes() -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            current("checkout")
            ready.set()
            await asyncio.Event().wait()

        await cancelled_while(app, canary, ready)

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


def test_cancellation_while_a_superseded_canary_unwinds_passes() -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert current("checkout").is_canary, "stable must not run for a cancelled request"
            kill(canary)
            try:
                await send(dict(START))
            finally:
                ready.set()
                await asyncio.sleep(60)

        connection = await cancelled_while(app, canary, ready)
        assert connection.messages == []

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary superseded": 1}


@pytest.mark.parametrize("end", [kill, None], ids=["kill", "rescue"])
def test_cancellation_of_the_second_run_passes(end: Callable[[Canary], None] | None) -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if current("checkout").is_canary:
                if end is not None:
                    end(canary)
                raise RuntimeError("boom")
            ready.set()
            await asyncio.Event().wait()

        await cancelled_while(app, canary, ready)

    canary = facade()
    asyncio.run(run())
    first = "superseded" if end else "rescued"
    expected = {f"canary {first}": 1}
    assert outcomes(canary) == (expected if end is None else {**expected, "stable aborted": 1})


def test_superseding_inside_a_task_group_waits_for_its_tasks() -> None:
    notes: list[str] = []

    async def helper() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("helper ended")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not current("checkout").is_canary:
            notes.append("stable runs")
            await version(scope, receive, send)
            return
        kill(canary)
        async with asyncio.TaskGroup() as group:
            group.create_task(helper())
            await asyncio.sleep(0)
            await send(dict(START))

    canary = facade()
    assert fetch(app, canary).body == b"1"
    assert notes == ["helper ended", "stable runs"]
    assert outcomes(canary) == {"canary superseded": 1, "stable 2xx": 1}


def test_swallowing_cancellation_would_be_seen() -> None:
    """The broken variant: a supersede that survives everything."""

    class Swallowing(CanaryMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            with suppress(BaseException):
                await super().__call__(scope, receive, send)

    async def run() -> bool:
        task = asyncio.ensure_future(
            Swallowing(forever, facade())(
                http_scope(Ask()), Connection().receive, Connection().send
            )
        )
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    async def forever(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    assert asyncio.run(run()) is False


# --- superseding ----------------------------------------------------------------------------------


def test_the_second_run_gets_a_fresh_scope_and_state() -> None:
    seen: list[tuple[bool, bool]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(("scratch" in scope, "scratch" in scope["state"]))
        scope["scratch"] = scope["state"]["scratch"] = True
        scope["path"] = "/spoilt"
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        await version(scope, receive, send)

    assert fetch(app, facade()).body == b"1"
    assert seen == [(False, False), (False, False)]


def test_a_canary_that_swallows_its_unwinding_is_superseded_all_the_same() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({**START, "status": 503 if current("checkout").is_canary else 200})
        except BaseException:  # noqa: BLE001  # the mistake that is tested
            for message in (dict(START), dict(END)):
                with pytest.raises(Superseded):
                    await send(message)
            return
        await send({"type": "http.response.body", "body": b"stable"})

    canary = facade()
    assert fetch(app, canary).body == b"stable"
    assert outcomes(canary) == {"canary rescued": 1}


def test_a_body_that_the_canary_left_unread_reaches_stable() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            await receive()  # half of it
            raise RuntimeError("boom")
        body = (await receive())["body"] + (await receive())["body"]
        await send(dict(START))
        await send({"type": "http.response.body", "body": body})

    canary = facade(rescue=Rescue(methods=("POST",)))
    scope = http_scope(Ask(method="POST"))
    reply = asyncio.run(exchange(CanaryMiddleware(app, canary), scope, b"an order"))
    assert reply.body == b"an order"


def test_failures_of_the_network_behind_the_canary_are_failures() -> None:
    """They are OSErrors too, as is what a server raises when the client is gone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        raise ConnectionRefusedError("no database")

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        raise TimeoutError

    for broken in (app, slow):
        canary = facade()
        with pytest.raises(OSError):  # noqa: PT011  # what it is, is said above
            talk(broken, canary, "POST")
        assert outcomes(canary) == {"canary exception": 1}


# --- construction, nesting, identity --------------------------------------------------------------


def test_nested_middlewares_decide_once() -> None:
    canary = facade()
    visits: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        visits.append(scope[SCOPE_KEY])
        await version(scope, receive, send)

    reply = fetch(CanaryMiddleware(app, canary), canary)
    assert reply.all("vary") == ["Cookie"]
    assert outcomes(canary) == {"canary 2xx": 1}
    assert len(visits) == 1


def test_a_request_inside_a_request_gives_the_context_back() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = current("checkout").version
        if scope["path"] == "/batch":
            await exchange(covered, http_scope(Ask()))
        assert current("checkout").version == before
        await version(scope, receive, send)

    canary = facade()
    covered = CanaryMiddleware(app, canary)
    assert asyncio.run(exchange(covered, http_scope(Ask("/batch")))).body == b"2"
    assert outcomes(canary) == {"canary 2xx": 2}
    assert active_visit.get() is None


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError


def test_a_wsgi_application_is_refused_everywhere() -> None:
    wrong: Any = wsgi_app
    with pytest.raises(ConfigurationError) as caught:
        CanaryMiddleware(wrong, facade(), {"checkout": wrong, "nothing": version})
    assert [problem.place for problem in caught.value.problems] == [
        "app",
        "targets['checkout']",
        "targets['nothing']",
    ]


class Callable3:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An application as an object."""


@pytest.mark.parametrize("app", [version, functools.partial(version), Callable3(), Starlette()])
def test_asgi_applications_are_accepted(app: Any) -> None:
    CanaryMiddleware(app, facade(), {"checkout": app})


@pytest.mark.parametrize("name", ["tess", "", "broken"])
def test_an_asynchronous_identify_is_awaited_before_the_application(name: str) -> None:
    async def who(view: Any) -> Visitor | None:
        await asyncio.sleep(0)
        if name == "broken":
            raise LookupError
        view.header("X-User")
        return Visitor(name) if name else None

    settings = {"identify": who, "bucket_secret": "b" * 32}
    canary = facade("0%", settings, testers=Audience(["tess"]))
    reply = fetch(version, canary)
    assert reply.body == (b"2" if name == "tess" else b"1")
    assert reply.all("vary") == ["Cookie" if name == "broken" else "Cookie, X-User"]
    assert events(canary) == ({"error_identify": 1} if name == "broken" else {})
