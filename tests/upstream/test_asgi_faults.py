"""The ASGI application on a real server, before real origins that misbehave (FAULTS.md, U1-U8)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts
from tests.support.servers import free_port, wait_until
from tests.upstream.asgi_rig import App, Front, Uvicorn
from tests.upstream.origins import Origin, Peer, answering, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.4, start=0.5, idle=0.5, total=5.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Uvicorn]:
    with Uvicorn() as running:
        yield running


@pytest.fixture
def front(server: Uvicorn) -> Front:
    return server.front


def test_u1_one_that_refuses_costs_no_time(front: Front) -> None:
    port = free_port()
    with front.serving(AsgiUpstream(f"http://127.0.0.1:{port}")):
        begun = time.monotonic()
        for method, body in [("GET", None), ("POST", b"paid")] * 10:
            got = front.ask(method=method, body=body)
            assert (got.status, got.body) == (502, b"Bad Gateway\n")
        took = (time.monotonic() - begun) / 20
    assert took < 0.05
    assert len(front.lines) == 1
    print(f"\nU1: {1000 * took:.1f} ms a request")


def test_u2_one_that_hangs_is_a_504_in_time(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        silent(peer)

    with front.passing(script, timeouts=QUICK) as origin:
        for method, body in [("GET", None), ("POST", b"paid")]:
            begun = time.monotonic()
            assert front.ask(method=method, body=body).status == 504
            assert 0.9 * QUICK.start <= time.monotonic() - begun <= 1.1 * QUICK.start
        assert len(origin.heads) == 2, "each was sent once"


def test_u3_an_origin_that_closes_after_each_answer_costs_no_get(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)

    with front.passing(script):
        assert [front.ask().status for _ in range(40)] == [200] * 40


def test_u3_a_get_is_repeated_once_when_its_reused_connection_had_died(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)
        peer.head()  # answered by the end of the connection, which nothing foretold

    with front.passing(script) as origin:
        assert [front.ask().status for _ in range(40)] == [200] * 40
        assert len(origin.heads) == 79


@pytest.mark.parametrize("end", [Peer.reset, lambda peer: None], ids=["reset", "close"])
def test_u3_what_was_sent_is_not_repeated(front: Front, end: object) -> None:
    def script(peer: Peer) -> None:
        if b"/warm" in peer.head():
            peer.send(OK)
            peer.head()
        end(peer)  # type: ignore[operator]

    with front.passing(script) as origin:
        for method in ("POST", "PUT", "DELETE"):
            assert front.ask("/warm").status == 200
            assert front.ask(method=method).status == 502
            assert front.ask(method=method, body=b"paid").status == 502
        assert len([head for head in origin.heads if b"/warm" not in head]) == 6
        assert front.ask().status == 502


def test_nothing_of_an_answer_that_was_left_reaches_the_next_client(front: Front) -> None:
    def script(peer: Peer) -> None:
        for fill in (b"a", b"b"):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n")
            peer.over.wait(0.05)  # so that the body comes while the head is being sent
            peer.send(fill * 6000)
        peer.head()

    with front.passing(script, leaving):
        assert front.ask("/left").status == 204
        assert front.ask().body in {b"a" * 6000, b"b" * 6000}


def leaving(upstream: App) -> App:
    """A server whose client is gone when the answer to /left begins."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def gone(_: Any) -> None:
            await asyncio.sleep(0.1)
            raise OSError

        if scope.get("path") != "/left":
            await upstream(scope, receive, send)
            return
        with contextlib.suppress(OSError):
            await upstream(scope, receive, gone)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return app
