"""When streams end after a kill or another move, in an event loop whose time is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import pytest

from canary_middleware import Canary, Rollout, current, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.weight import parse_weight
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from canary_middleware.targets.drain import LAST_CHUNK, watch
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.virtual_time import run
from tests.scenarios.words import Ask

GRACE = 5.0
DRAIN = 20.0
OPENS = 2.0
EVENTS = [(b"content-type", b"text/event-stream")]
Messages = list[tuple[float, MutableMapping[str, Any]]]
Moves = Sequence[tuple[float, Callable[[Canary], object]]]


def shop(**settings: Any) -> Canary:
    """Awake already: waking up takes a thread, which lives in real time."""
    clock = {"clock": lambda: asyncio.get_running_loop().time()}
    canary = facade(settings={"kill_grace": GRACE, "drain": DRAIN, **clock}, **settings)
    canary.arrive_blocking()
    return canary


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Chooses its version at once, opens its stream later, and says something every second.

    Below /late it chooses when the stream is open.
    """
    late = scope["path"] == "/late"
    version = "" if late else current("checkout").version
    await asyncio.sleep(OPENS)
    socket = scope["type"] == "websocket"
    if socket:
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
    version = current("checkout").version
    for _ in range(60):
        await asyncio.sleep(1)
        if socket:
            await send({"type": "websocket.send", "text": version})
        else:
            await send({"type": "http.response.body", "body": b"event", "more_body": True})


async def streamed(
    kind: str, method: str, moves: Moves, path: str = "/checkout", weight: str = "100%"
) -> tuple[Messages, dict[str, int]]:
    """What reaches the server and when, and the outcomes.

    Args:
        kind: of connection.
        method: with it.
        moves: when something happens, and what.
        path: see :func:`application`.
        weight: of the canary at first.
    """
    loop = asyncio.get_running_loop()
    canary = shop(weight=weight)
    seen: Messages = []

    async def send(message: MutableMapping[str, Any]) -> None:
        seen.append((loop.time(), message))

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {**http_scope(Ask(path, method)), "type": kind}
    request = asyncio.create_task(CanaryMiddleware(application, canary)(scope, receive, send))
    for when, move in moves:
        await asyncio.sleep(when - loop.time())
        move(canary)
    await request
    return seen, outcomes(canary)


def weigh(weight: str) -> Callable[[Canary], object]:
    """The move of the weight."""
    return lambda canary: verbs.weight(canary.store, "checkout", parse_weight(weight), by="test")


def promote(canary: Canary) -> None:
    verbs.promote(canary.store, "checkout", by="test")


def rollback(canary: Canary) -> None:
    verbs.rollback(canary.store, "checkout", by="test")


def in_order(kind: str, last: MutableMapping[str, Any]) -> bool:
    """Whether this is how such a stream is ended."""
    if kind == "websocket":
        return (last["type"], last.get("code")) == ("websocket.close", 1012)
    return dict(last) == LAST_CHUNK


@pytest.mark.parametrize("killed_at", [OPENS + 2.5, OPENS - 0.5])
@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_stream_ends_after_the_grace_whenever_it_opened(kind: str, killed_at: float) -> None:
    """Also one that was chosen before the kill was heard and opened after it.

    A POST, which no kill may run twice, so that the canary it was given to does answer.
    """
    seen, counted = run(streamed(kind, "POST", [(killed_at, kill)]))
    when, last = seen[-1]
    assert when == pytest.approx(max(killed_at, OPENS) + GRACE)
    assert in_order(kind, last)
    assert counted == {"canary " + ("2xx" if kind == "http" else "1xx"): 1}


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_stream_that_asks_when_it_is_open_ends_after_the_grace(kind: str) -> None:
    seen, _ = run(streamed(kind, "GET", [(OPENS + 2.5, kill)], "/late"))
    assert seen[-1][0] == pytest.approx(OPENS + 2.5 + GRACE)


@pytest.mark.parametrize("kind", ["websocket", "http"])
@pytest.mark.parametrize(
    ("weight", "move"),
    [("100%", weigh("0%")), ("100%", rollback), ("0%", promote), ("0%", weigh("100%"))],
    ids=["weight to 0", "rollback", "promote", "weight to 100"],
)
def test_a_version_that_loses_by_a_planned_move_has_the_time_to_drain(
    kind: str, weight: str, move: Callable[[Canary], object]
) -> None:
    begun = OPENS + 2.5
    seen, counted = run(streamed(kind, "GET", [(begun, move)], weight=weight))
    when, last = seen[-1]
    assert when == pytest.approx(begun + DRAIN)
    assert in_order(kind, last)
    assert len(counted) == 1


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_move_that_is_undone_in_time_ends_nothing(kind: str) -> None:
    seen, _ = run(streamed(kind, "GET", [(4.5, weigh("0%")), (20.5, weigh("100%"))]))
    assert seen[-1][0] == pytest.approx(OPENS + 60), "as long as the application likes"
    assert not in_order(kind, seen[-1][1])


def test_a_move_that_is_made_again_has_a_time_of_its_own() -> None:
    moves = [(4.5, weigh("0%")), (10.5, weigh("100%")), (14.5, weigh("0%"))]
    seen, _ = run(streamed("http", "GET", moves))
    assert seen[-1][0] == pytest.approx(14.5 + DRAIN)


def test_a_kill_on_top_of_a_move_cuts_it_short() -> None:
    seen, _ = run(streamed("websocket", "POST", [(4.5, weigh("0%")), (8.5, kill)]))
    assert seen[-1][0] == pytest.approx(8.5 + GRACE)


def test_a_kill_that_was_revived_and_struck_again_has_a_grace_of_its_own() -> None:
    async def talk() -> float:
        loop, canary = asyncio.get_running_loop(), shop()
        seen: list[float] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            seen.append(loop.time())

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        middleware = CanaryMiddleware(application, canary)
        request = asyncio.create_task(middleware(http_scope(Ask(method="POST")), receive, send))
        await asyncio.sleep(OPENS + 1)
        kill(canary)
        await asyncio.sleep(1)
        verbs.revive(canary.store, "checkout", by="test")
        await asyncio.sleep(1)
        kill(canary)
        await request
        return seen[-1]

    assert run(talk()) == pytest.approx(OPENS + 3 + GRACE)


def test_a_loop_that_was_closed_over_its_stream_costs_no_other_its_end() -> None:
    canary = shop()
    match = canary.engine.snapshot.match("/checkout", "GET")
    assert match is not None

    def visit() -> Visit:
        made = Visit(canary.engine, match, AsgiView(http_scope(Ask())))
        assert made.expose("checkout").is_canary
        return made

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def left_open() -> None:
        watch(visit(), send, LAST_CHUNK)

    async def goes_on() -> None:
        watch(visit(), send, LAST_CHUNK)
        kill(canary)
        await asyncio.sleep(GRACE + 1)

    run(left_open())
    run(goes_on())
    assert sent == [LAST_CHUNK]


def test_a_stream_of_the_second_run_is_watched_and_let_go() -> None:
    """A kill of one rollout runs it again; the stream is on the canary of another one then."""
    canary = shop(more=[Rollout("search", stable="a", canary="b")])
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version + current("search").version)
        if len(runs) == 1:
            kill(canary)
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        if len(runs) == 2:
            kill(canary, "search")
            await asyncio.sleep(GRACE + 1)
            with pytest.raises(ConnectionAbortedError):
                await send({"type": "http.response.body", "body": b"more", "more_body": True})

    async def talk() -> Messages:
        loop, seen = asyncio.get_running_loop(), []

        async def send(message: MutableMapping[str, Any]) -> None:
            seen.append((loop.time(), message))

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        middleware = CanaryMiddleware(app, canary)
        await middleware(http_scope(Ask()), receive, send)
        kill(canary, "nobody")  # whoever is still watched would hear of it
        return seen

    seen = run(talk())
    assert runs == ["2b", "1b"]
    assert seen[-1][1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert [message["type"] for _, message in seen] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
    ]


def test_a_server_that_refuses_the_last_message_breaks_nothing() -> None:
    """Its client is gone: nobody has to be told, and no task is left with an error."""

    async def talk() -> None:
        loop = asyncio.get_running_loop()
        troubles: list[object] = []
        loop.set_exception_handler(lambda _, context: troubles.append(context))
        canary = shop()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                raise RuntimeError("the connection is closed")

        scope = http_scope(Ask(method="POST"))
        request = CanaryMiddleware(application, canary)(scope, None, send)  # type: ignore[arg-type]
        task = asyncio.create_task(request)
        await asyncio.sleep(OPENS + 1)
        kill(canary)
        await task
        await asyncio.sleep(1)
        assert troubles == []

    run(talk())
