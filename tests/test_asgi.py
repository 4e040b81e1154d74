"""What only ASGI has: extension messages, fresh scopes, an asynchronous identify.

What it shares with WSGI is in tests/scenarios, with WebSockets and
disconnects; lifespans are in tests/targets.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, MutableMapping
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
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.context import SCOPE_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.core.rescue import MAX_REPLAY, Superseded
from canary_middleware.engine.visit import Visit
from tests.engine.world import Witness
from tests.scenarios.asgi_driver import Connection, exchange, http_scope
from tests.scenarios.facade import events, facade, outcomes
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


@pytest.mark.parametrize("before", [{}, {"cart": "1 hat"}])
def test_a_session_around_the_middleware_is_put_back(before: dict[str, str]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            scope["session"]["cart"] = "spoilt"
            scope["headers"].append((b"x-spoilt", b"1"))
            raise RuntimeError("boom")
        assert scope["headers"] == http_scope(Ask())["headers"]
        assert scope["session"] == before
        scope["session"]["seen"] = "stable"
        await version(scope, receive, send)

    session = dict(before)
    assert fetch(app, facade(), session=session).body == b"1"
    assert session == {**before, "seen": "stable"}


def test_stable_writes_into_the_session_that_is_saved() -> None:
    """Also where the canary that failed had not touched it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        scope["session"]["csrf"] = scope["state"]["by"] = "stable"
        await version(scope, receive, send)

    session: dict[str, str] = {}
    state: dict[str, str] = {}
    assert fetch(app, facade(), session=session, state=state).body == b"1"
    assert session == {"csrf": "stable"}
    assert state == {"by": "stable"}


def test_what_is_no_dict_is_left_to_whoever_put_it_there() -> None:
    session = object()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["session"] is session
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        await version(scope, receive, send)

    assert fetch(app, facade(), session=session).body == b"1"


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("weight", ["0%", "100%"])
def test_headers_may_come_from_a_generator(weight: str, *, public: bool) -> None:
    said = [(b"cache-control", b"public")] if public else []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        headers = [(b"x-a", b"1"), (b"content-type", b"text/plain"), *said]
        await send({**START, "headers": (line for line in headers)})
        await send(dict(END))

    class Server(Connection):
        async def send(self, message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message["headers"])}
            await super().send(message)

    async def run() -> Reply:
        server = Server()
        await CanaryMiddleware(app, facade(weight))(http_scope(Ask()), server.receive, server.send)
        return server.reply

    reply = asyncio.run(run())
    assert reply.all("x-a") == ["1"]
    assert reply.all("vary") == ([] if public else ["Cookie"])


def test_a_second_start_is_for_the_server_to_refuse() -> None:
    """Nothing is taken back once something was sent."""
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version)
        await send(dict(START))
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({**START, "status": 500})

    with pytest.raises(AssertionError, match="two starts"):
        talk(app, facade())
    assert runs == ["2"]


def test_a_canary_that_reads_while_it_is_unwound_takes_nothing_from_stable() -> None:
    order = b"o" * (MAX_REPLAY - 1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            await receive()  # half of it
            try:
                await send({**START, "status": 500})
            finally:
                while (await receive()).get("more_body"):
                    pass
        body = (await receive())["body"] + (await receive())["body"]
        await send(dict(START))
        await send({"type": "http.response.body", "body": body})

    canary = facade(rescue=Rescue(methods=("POST",)))
    scope = http_scope(Ask(method="POST"))
    assert asyncio.run(exchange(CanaryMiddleware(app, canary), scope, order)).body == order


def test_what_was_waited_for_when_the_answer_was_taken_back_is_kept() -> None:
    """A second task of the canary may be waiting for the body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            listener = asyncio.create_task(receive())
            await asyncio.sleep(0)
            try:
                await send({**START, "status": 500})
            finally:
                slow.set()
                with pytest.raises(Superseded):
                    await listener
        body = (await receive())["body"] + (await receive())["body"]
        await send(dict(START))
        await send({"type": "http.response.body", "body": body})

    slow = asyncio.Event()

    class Slow(Connection):
        async def receive(self) -> Message:
            await slow.wait()
            return await super().receive()

    async def run() -> bytes:
        client = Slow(b"an order")
        scope = http_scope(Ask(method="POST"))
        canary = facade(rescue=Rescue(methods=("POST",)))
        await CanaryMiddleware(app, canary)(scope, client.receive, client.send)
        return client.reply.body

    assert asyncio.run(run()) == b"an order"


@pytest.mark.parametrize("end", [asyncio.CancelledError, SystemExit])
def test_a_superseded_request_that_does_not_go_on_leaves_nothing_behind(end: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        try:
            await send({**START, "status": 500})
        except Superseded:
            raise end from None

    async def run() -> None:
        canary, observer = facade(), Leaving()
        canary.engine.describe_with(observer)
        connection = Connection()
        with pytest.raises(end):
            await CanaryMiddleware(app, canary)(
                http_scope(Ask()), connection.receive, connection.send
            )
        # The second "finished" is for what telemetry opened; it books nothing.
        assert [what for what, _ in observer.seen] == ["exposed", "finished", "finished", "left"]
        assert outcomes(canary) == {"canary rescued": 1}
        assert not canary.engine.recorder.running
        assert active_visit.get() is None

    asyncio.run(run())


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


async def told(scope: Any, receive: Any, send: Any) -> None:
    """The versions of two rollouts."""
    body = current("checkout").version + current("search").version
    await send(dict(START))
    await send({"type": "http.response.body", "body": body.encode()})


def test_a_canary_inside_another_one_does_not_hide_its_rollouts() -> None:
    inner = facade(name="search", stable="a", canary="b")
    outer = facade(settings={"namespace": "mall"})
    reply = fetch(CanaryMiddleware(told, inner), outer)
    assert reply.body == b"2b"
    assert outcomes(outer) == {"canary 2xx": 1}
    assert outcomes(inner) == {"canary 2xx": 1}


def test_a_canary_whose_outer_one_is_superseded_is_not_to_blame() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("search")
        await send({**START, "status": 500 if current("checkout").is_canary else 200})
        await send(dict(END))

    inner = facade("0%", name="search", stable="a", canary="b")
    outer = facade(settings={"namespace": "mall"})
    assert fetch(CanaryMiddleware(app, inner), outer).status == 200
    assert outcomes(outer) == {"canary rescued": 1}
    assert outcomes(inner) == {"stable aborted": 1, "stable 2xx": 1}


def test_targets_of_an_inner_middleware_of_the_same_canary_are_served() -> None:
    canary = facade()

    async def new(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(dict(START))
        await send({"type": "http.response.body", "body": b"the second application"})

    reply = fetch(CanaryMiddleware(version, canary, {"checkout": new}), canary)
    assert reply.body == b"the second application"
    assert outcomes(canary) == {"canary 2xx": 1}


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


class Leaving(Witness):
    """Has something to do at the end of a request, as telemetry that opened a span has."""

    def entered(self, visit: Visit) -> None:
        visit.leave = lambda: self.seen.append(("left", visit))


def test_a_client_that_goes_away_during_identify_leaves_nothing_behind() -> None:
    async def run() -> None:
        asked = asyncio.Event()

        async def who(view: Any) -> str:
            asked.set()
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody answers")

        canary = facade("50%", {"identify": who, "bucket_secret": "b" * 32})
        app, observer = CanaryMiddleware(version, canary), Leaving()
        canary.engine.describe_with(observer)
        connection = Connection()
        request = asyncio.create_task(app(http_scope(Ask()), connection.receive, connection.send))
        await asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert [what for what, _ in observer.seen] == ["finished", "left"]

    asyncio.run(run())


def test_nobody_is_identified_where_nothing_depends_on_it() -> None:
    """The rollout is not started; ``document`` asks only to be told."""
    asked: list[str] = []

    async def who(view: Any) -> str:
        asked.append(view.path)
        return "ann"

    settings = {"identify": who, "bucket_secret": "b" * 32}
    assert fetch(version, facade(None, settings)).body == b"1"
    assert asked == []
    assert fetch(version, facade("100%", settings)).body == b"2"
    assert asked == ["/checkout"]


def test_a_visitor_is_identified_once_also_in_a_request_that_runs_twice() -> None:
    asked: list[str] = []

    async def who(view: Any) -> str:
        asked.append(view.path)
        return "ann"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        await version(scope, receive, send)

    settings = {"identify": who, "bucket_secret": "b" * 32, "debug": True}
    assert fetch(app, facade("100%", settings)).body == b"1"
    assert asked == ["/checkout"]
