"""WebSockets behind the ASGI shell. The server's side is strict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from canary_middleware import Canary, Rescue, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.context import SCOPE_KEY
from canary_middleware.core.active import active_visit
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.words import Ask, Headers

Message = MutableMapping[str, Any]


class Socket:
    """One WebSocket connection.

    Args:
        incoming: what the client says after the connect.
    """

    def __init__(self, *incoming: Message) -> None:
        self.sent: list[Message] = []
        self._incoming: list[Message] = [{"type": "websocket.connect"}, *incoming]

    async def receive(self) -> Message:
        assert self._incoming, "the application waits for a client that said all it had to say"
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        kinds = [sent["type"] for sent in self.sent]
        if not kinds:
            assert message["type"] in (
                "websocket.accept",
                "websocket.close",
                "websocket.http.response.start",
            )
        self.sent.append(message)

    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0].get("headers", ()))

    def of(self, canary: Canary, app: Any, headers: Headers = (), **targets: Any) -> Socket:
        scope = {**http_scope(Ask(headers=headers)), "type": "websocket", "scheme": "wss"}
        del scope["method"]
        asyncio.run(CanaryMiddleware(app, canary, targets)(scope, self.receive, self.send))
        assert not canary.engine.recorder.running
        assert active_visit.get() is None
        return self


TEXT = {"type": "websocket.receive", "text": "hello"}
GONE = {"type": "websocket.disconnect", "code": 1001}
OURS = {b"cache-control": b"private, no-cache", b"vary": b"Cookie"}


async def chat(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, says the version to everything, until the client leaves."""
    assert (await receive())["type"] == "websocket.connect"
    version = current("checkout").version
    await send({"type": "websocket.accept", "subprotocol": "chat", "headers": [(b"x-a", b"1")]})
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": version})


async def plain_chat(scope: Any, receive: Any, send: Any) -> None:
    """Never asks for a version."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def test_the_acceptance_carries_our_headers() -> None:
    canary = facade()
    socket = Socket(TEXT, TEXT, GONE).of(canary, chat)
    accept, *said = socket.sent
    assert accept["subprotocol"] == "chat"
    assert socket.headers() == {b"x-a": b"1", **OURS}
    assert said == [{"type": "websocket.send", "text": "2"}] * 2
    assert outcomes(canary) == {"canary 1xx": 1}


def test_a_new_visitor_gets_the_cookie_with_the_acceptance() -> None:
    socket = Socket(GONE).of(facade("99.999%"), chat)
    assert socket.headers()[b"set-cookie"].startswith(b"__Host-canary-shop=")


@pytest.mark.parametrize(
    ("site", "drawn"), [("same-origin", True), ("same-site", True), ("cross-site", False)]
)
def test_a_first_party_websocket_may_be_the_first_request(site: str, drawn: bool) -> None:
    headers = [
        ("sec-fetch-site", site),
        ("sec-fetch-mode", "websocket"),
        ("sec-fetch-dest", "websocket"),
    ]
    socket = Socket(GONE).of(facade("99.999%"), chat, headers)
    assert (b"set-cookie" in socket.headers()) is drawn


def test_an_unexposed_socket_is_left_alone() -> None:
    canary = facade()
    assert Socket(GONE).of(canary, plain_chat).sent == [{"type": "websocket.accept"}]
    assert outcomes(canary) == {}


def test_a_denial_response_is_an_answer_like_any_other() -> None:
    async def deny(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        current("checkout")
        await send({"type": "websocket.http.response.start", "status": 429, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"later"})

    canary = facade()
    socket = Socket().of(canary, deny)
    assert socket.headers() == OURS
    assert socket.sent[1] == {"type": "websocket.http.response.body", "body": b"later"}
    assert outcomes(canary) == {"canary 4xx": 1}


def test_a_close_before_the_acceptance_is_a_refusal() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        current("checkout")
        await send({"type": "websocket.close", "code": 1008})

    canary = facade()
    assert Socket().of(canary, refuse).sent == [{"type": "websocket.close", "code": 1008}]
    assert outcomes(canary) == {"canary 4xx": 1}
    starts = [sum(cell.starts) for cell in canary.engine.recorder.cells().values()]
    assert starts == [1], "a quick refusal is no slow answer"


def test_a_client_that_leaves_before_the_acceptance() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        current("checkout")
        assert (await receive())["type"] == "websocket.disconnect"

    canary = facade()
    assert Socket(GONE).of(canary, slow).sent == []
    assert outcomes(canary) == {"canary aborted": 1}


@pytest.mark.parametrize("accepts", [False, True])
def test_a_failure_reaches_the_server_and_is_never_run_again(accepts: bool) -> None:
    runs: list[str] = []

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version)
        await receive()
        if accepts:
            await send({"type": "websocket.accept"})
        raise RuntimeError("boom")

    canary = facade()
    with pytest.raises(RuntimeError, match="boom"):
        Socket().of(canary, fail)
    assert runs == ["2"]
    assert outcomes(canary) == {"canary exception": 1}


def at(weight: str) -> Callable[[], Canary]:
    return lambda: facade(weight)


def killed() -> Canary:
    canary = facade()
    kill(canary)
    return canary


@pytest.mark.parametrize(
    ("canary", "answer"), [(at("100%"), "target"), (at("0%"), "1"), (killed, "1")]
)
def test_targets_serve_sockets_too(canary: Callable[[], Canary], answer: str) -> None:
    async def target(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "target"})

    socket = Socket(TEXT, GONE).of(canary(), chat, checkout=target)
    assert socket.sent[1]["text"] == answer
    assert socket.headers().items() >= OURS.items()


class Unreachable:
    """An upstream that nobody can connect to, as :class:`AsgiUpstream` tells of it."""

    is_upstream = True

    def __init__(self, *denial: Message) -> None:
        self.denial = denial or ({"type": "websocket.close"},)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        assert (await receive())["type"] == "websocket.connect"
        scope[SCOPE_KEY].unsent = True
        for message in self.denial:
            await send(message)


DENIED = (
    {"type": "websocket.http.response.start", "status": 502, "headers": []},
    {"type": "websocket.http.response.body", "body": b"Bad Gateway"},
)


@pytest.mark.parametrize("denial", [(), DENIED], ids=["closed", "answered"])
def test_stable_takes_a_socket_that_no_upstream_has_seen(denial: tuple[Message, ...]) -> None:
    canary = facade()
    told = Socket(TEXT, GONE).of(canary, chat, checkout=Unreachable(*denial))
    assert [message["type"] for message in told.sent] == ["websocket.accept", "websocket.send"]
    assert told.sent[1]["text"] == "1"
    assert told.headers()[b"cache-control"] == b"no-store"
    assert outcomes(canary) == {"canary rescued": 1}


def test_a_refused_socket_stays_refused_where_rescue_is_off() -> None:
    canary = facade(rescue=Rescue(enabled=False))
    told = Socket().of(canary, chat, checkout=Unreachable(*DENIED))
    assert [message["type"] for message in told.sent] == [one["type"] for one in DENIED]
    assert outcomes(canary) == {"canary 5xx": 1}
