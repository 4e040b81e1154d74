"""The WSGI application before origins that refuse, break off and keep it waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from canary_middleware.errors import CanaryError
from canary_middleware.upstream.blocking import LateError
from canary_middleware.upstream.events import BrokenUpstreamError
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.trouble import CALM
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.support.servers import LOCALHOST, free_port, wait_until
from tests.upstream.origins import Origin, Peer, answering, silent, text
from tests.upstream.wsgi_rig import OK, QUICK, ask, closing, counts, once


@pytest.mark.parametrize(
    "answer",
    [
        text(b"hello", b"Connection: close"),
        OK + b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_connection_that_is_not_good_any_more_is_closed(answer: bytes) -> None:
    with Origin(answering(answer)) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(3):
            assert ask(upstream).read() == b"hello"
        assert len(origin.peers) == 3
        assert counts(upstream) == (0, 0, 0, 0)


def test_what_comes_on_an_idle_connection_is_nobodys_answer() -> None:
    taken, spoken = threading.Semaphore(0), threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)
        # Only before anything new is asked: later, nobody could tell it from an answer.
        taken.acquire(timeout=9)
        peer.send(text(b"POISON"))
        spoken.release()
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(4):
            assert ask(upstream).read() == b"hello"
            taken.release()
            spoken.acquire(timeout=9)
        assert len(origin.peers) == 4
        upstream.close()


def test_a_get_is_repeated_once_when_its_reused_connection_had_died() -> None:
    with Origin(once) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(5):
            assert ask(upstream).read() == b"hello"
        assert len(origin.heads) == 9
        upstream.close()


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_what_is_not_safe_is_never_repeated(method: str) -> None:
    with Origin(once) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream).read() == b"hello"
        assert ask(upstream, method=method).status == "502 Bad Gateway"
        assert len(origin.heads) == 2


def test_a_fresh_connection_that_dies_is_no_reason_to_repeat() -> None:
    with Origin(lambda peer: peer.head()) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream).status == "502 Bad Gateway"
        assert len(origin.heads) == 1


def test_an_origin_that_closes_silently_costs_no_get() -> None:
    def script(peer: Peer) -> None:
        for _ in range(3):
            if peer.head():
                peer.send(OK)

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        assert {ask(upstream).status for _ in range(40)} == {"200 OK"}
        upstream.close()


@pytest.mark.alone
def test_one_that_refuses_is_not_tried_for_every_request() -> None:
    upstream = WsgiUpstream(f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    statuses = [ask(upstream).status for _ in range(50)]
    assert set(statuses) == {"502 Bad Gateway"}
    assert time.monotonic() - begun < 0.25
    assert upstream.health.blocked(begun)
    assert counts(upstream) == (0, 0, 0, 0)


def test_one_that_comes_back_is_found() -> None:
    port = free_port()
    upstream = WsgiUpstream(f"http://127.0.0.1:{port}")
    assert ask(upstream).status == "502 Bad Gateway"
    with Origin(answering(*[OK] * 5), socket.create_server(("127.0.0.1", port))):
        wait_until(lambda: ask(upstream).status == "200 OK", timeout=2.0)
        upstream.close()


def test_trouble_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    upstream = WsgiUpstream(f"http://127.0.0.1:{port}")
    for _ in range(9):
        ask(upstream)
        ask(upstream, HTTP_UPGRADE="websocket", HTTP_CONNECTION="upgrade")
    assert len(caplog.records) == 1
    assert "degraded" in caplog.text
    time.sleep(CALM)
    with Origin(answering(OK), socket.create_server((LOCALHOST, port))):
        wait_until(lambda: ask(upstream).status == "200 OK", timeout=2.0)
        upstream.close()
    assert len(caplog.records) == 2
    assert "recovered" in caplog.text


def test_errors_tell_nothing_of_what_is_behind() -> None:
    port = free_port()
    got = ask(WsgiUpstream(f"http://localhost:{port}"))
    body = got.read()
    assert body == b"Bad Gateway\n"
    assert ("Content-Length", str(len(body))) in got.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_a_broken_answer_is_a_502_and_ends_its_connection(answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream).status == "502 Bad Gateway"
        assert counts(upstream) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
@pytest.mark.parametrize("end", [Peer.reset, closing])
def test_an_answer_that_breaks_off_is_never_complete(
    begun: bytes, end: Callable[[Peer], None]
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(begun)
        time.sleep(0.1)
        end(peer)

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        assert got.status == "200 OK"
        came = filter(None, got.body)
        assert next(came) == b"hello"
        with pytest.raises(BrokenUpstreamError):
            next(came)
        got.close()
        assert counts(upstream) == (0, 0, 0, 0)
        with pytest.raises(StopIteration):
            next(came)


@pytest.mark.alone
def test_time_outs_before_the_start_are_504() -> None:
    with Origin(silent) as origin:
        upstream = WsgiUpstream(origin.url, timeouts=QUICK)
        begun = time.monotonic()
        assert ask(upstream).status == "504 Gateway Timeout"
        assert 0.35 < time.monotonic() - begun < 0.6
        assert counts(upstream) == (0, 0, 0, 0)


def test_interim_answers_do_not_put_off_the_start() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        while not peer.over.wait(0.1):
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")

    with Origin(script) as origin:
        begun = time.monotonic()
        got = ask(WsgiUpstream(origin.url, timeouts=QUICK))
        assert got.status == "504 Gateway Timeout"
        assert time.monotonic() - begun < 0.7


def test_silence_within_a_body_cuts_it() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        peer.over.wait(10)

    with Origin(script) as origin:
        got = ask(WsgiUpstream(origin.url, timeouts=QUICK))
        with pytest.raises(LateError):
            got.read()


def test_an_exchange_ends_however_much_comes() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.over.wait(0.05):
            peer.send(b"x")

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url, timeouts=Timeouts(2.0, 2.0, 2.0, total=0.5))
        begun = time.monotonic()
        with pytest.raises(CanaryError):
            ask(upstream).read()
        assert 0.4 < time.monotonic() - begun < 0.8


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_nobody_works_on_for_a_client_that_left(begun: bytes) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(begun)
        if peer.receive() == b"":
            gone.set()

    server = socket.create_server((LOCALHOST, 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    with Origin(script) as origin, server, accepted, client:
        upstream = WsgiUpstream(origin.url)
        threading.Timer(0.1, client.close).start()
        more: dict[str, Any] = {"gunicorn.socket": accepted}
        got = ask(upstream, **more)
        if begun:
            with pytest.raises(BrokenPipeError):
                got.read()
        else:
            assert got.status == "499 Client Closed Request"
        assert gone.wait(1.0)
        assert counts(upstream) == (0, 0, 0, 0)
