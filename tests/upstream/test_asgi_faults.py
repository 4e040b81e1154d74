"""The ASGI application on a real server, before real origins that misbehave (FAULTS.md, U1-U8)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest

from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts
from tests.support.servers import free_port, wait_until
from tests.upstream.asgi_rig import App, Front, connections
from tests.upstream.origins import Peer, Script, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.4, start=0.5, idle=0.5, total=5.0)


def closing(peer: Peer) -> None:
    """The end of a script: nothing more is said."""


@pytest.mark.alone
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


@pytest.mark.parametrize("end", [Peer.reset, closing])
def test_u3_what_was_sent_is_not_repeated(front: Front, end: Script) -> None:
    def script(peer: Peer) -> None:
        if b"/warm" in peer.head():
            peer.send(OK)
            peer.head()
        end(peer)

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


@pytest.mark.parametrize("end", [Peer.reset, closing])
@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["length", "chunked"],
)
def test_u4_an_answer_that_breaks_off_is_never_complete(
    front: Front, begun: bytes, end: Script
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(begun)
        peer.over.wait(0.05)
        end(peer)

    with front.passing(script):
        got = front.ask()
        assert (got.status, got.cut) == (200, True)
        assert got.body == b"hello"


def test_u4_an_answer_that_stalls_is_cut_in_time(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK[:-1])
        silent(peer)

    with front.passing(script, timeouts=QUICK):
        begun = time.monotonic()
        assert front.ask().cut
        assert 0.9 * QUICK.idle <= time.monotonic() - begun <= 1.2 * QUICK.idle


def test_u5_events_arrive_one_by_one(front: Front) -> None:
    sent: list[float] = []

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.head()
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":
            peer.send(bytes([byte]))
        for _ in range(20):
            sent.append(time.monotonic())
            peer.send(b"1\r\nx\r\n")
            peer.over.wait(0.01)
        peer.send(b"0\r\n\r\n")

    with front.passing(script), contextlib.closing(front.caller()) as caller:
        caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        late = []
        for moment in range(20):
            caller.until(b"x\r\n")
            late.append(time.monotonic() - sent[moment])
    print(f"\nU5: worst added latency {1000 * max(late):.1f} ms an event")
    assert sorted(late)[18] <= 0.05


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "status line": b"HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "no name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 5\r\n\r\nhello",
    "long head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
    "many lines": b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 5000 + b"\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_u6_garbage_is_a_502_and_poisons_nobody(front: Front, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        while head := peer.head():
            peer.send(answer if b"/bad" in head else OK)

    with front.passing(script) as origin:
        for _ in range(10):
            got = front.ask("/bad")
            assert (got.status, got.body) == (502, b"Bad Gateway\n")
            assert front.ask("/good").body == b"hello"
        assert len([peer for peer in origin.peers if b"/bad" in peer.heads[-1]]) == 10


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON", b"garbage", b"\r\n"]
)
@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["at once", "while idle"])
def test_u6_what_follows_an_answer_is_nobodys(front: Front, more: bytes, pause: float) -> None:
    def script(peer: Peer) -> None:
        while peer.head():
            peer.send(OK)
            peer.over.wait(pause)
            peer.send(more)

    with front.passing(script) as origin:
        for number in range(4):
            assert front.ask().body == b"hello"
            wait_until(lambda: connections(origin.port) == 0)  # before anything new is sent
            assert len(origin.peers) == number + 1
