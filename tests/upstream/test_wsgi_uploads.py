"""Bodies of requests on their way through the WSGI application."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from canary_middleware.context import ENVIRON_KEY
from canary_middleware.upstream.events import BrokenUpstreamError
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.support.servers import free_port, wait_until
from tests.upstream.origins import Origin, Peer, silent, text
from tests.upstream.wsgi_rig import OK, QUICK, Visit, ask, chunked, counts, lines


class Untouched:
    """A body that nobody may read."""

    def read(self, size: int) -> bytes:
        raise AssertionError(f"{size} bytes were read")


@pytest.mark.parametrize(("port", "told"), [(None, True), (0, False)])
def test_a_visit_is_told_that_nothing_was_read(port: int | None, told: bool) -> None:
    with Origin(lambda peer: peer.head()) as origin:
        visit = Visit()
        upstream = WsgiUpstream(origin.url if port == 0 else f"http://127.0.0.1:{free_port()}")
        visit.target = upstream
        body = io.BytesIO(b"hello") if port == 0 else Untouched()
        more: dict[str, Any] = {ENVIRON_KEY: visit, "CONTENT_LENGTH": "5", "wsgi.input": body}
        assert ask(upstream, method="POST", **more).status == "502 Bad Gateway"
        assert visit.unsent is told


def test_a_body_that_comes_slowly_does_not_meet_a_dead_connection() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            origin.cut()
            time.sleep(0.05)
            return super().read(size)

    def script(peer: Peer) -> None:
        while peer.head():
            peer.body(5)
            peer.send(OK)

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream, method="POST", body=b"hello").read() == b"hello"
        more: dict[str, Any] = {"wsgi.input": Slow(b"hello"), "CONTENT_LENGTH": "5"}
        assert ask(upstream, method="POST", **more).read() == b"hello"
        upstream.close()


def test_a_body_is_passed_on_by_its_length() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            peer.head()
            seen.append(peer.body(200_000))
            peer.send(OK)
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        for letter in (b"a", b"b"):
            got = ask(upstream, method="POST", body=letter * 200_000)
            assert got.status == "200 OK"
        assert seen == [b"a" * 200_000, b"b" * 200_000]
        assert len(origin.peers) == 1
        assert b"Content-Length: 200000" in lines(origin.heads[0])
        upstream.close()


def test_a_chunked_body_is_passed_on_in_chunks() -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            peer.head()
            seen.append(peer.until(b"0\r\n\r\n"))
            peer.send(OK)
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        for body in (b"hello", b""):
            more = chunked(**{"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True})
            assert ask(upstream, method="POST", **more).read() == b"hello"
        assert seen == [b"5\r\nhello\r\n", b""]
        assert b"Transfer-Encoding: chunked" in lines(origin.heads[0])
        upstream.close()


@pytest.mark.parametrize("terminated", [True, False])
def test_a_body_of_http2_may_come_without_a_length(terminated: bool) -> None:
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        while head := peer.head():
            seen.append(peer.until(b"0\r\n\r\n") if b"chunked" in head else b"")
            peer.send(OK)

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        for body in (b"hello", b""):
            visit = Visit()
            more: dict[str, Any] = {
                "SERVER_PROTOCOL": "HTTP/2", "wsgi.input": io.BytesIO(body),
                "wsgi.input_terminated": terminated, ENVIRON_KEY: visit,
            }  # fmt: skip
            assert ask(upstream, method="POST", **more).read() == b"hello"
        assert seen == [b"5\r\nhello\r\n" if terminated else b"", b""]
        upstream.close()


def test_an_upstream_that_resets_an_upload_is_a_502() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.reset()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream, method="POST", body=b"x" * 30_000_000).status == "502 Bad Gateway"
        assert counts(upstream) == (0, 0, 0, 0)


def test_a_chunked_body_that_a_server_does_not_end_is_refused() -> None:
    got = ask(WsgiUpstream(f"http://127.0.0.1:{free_port()}"), method="POST", **chunked())
    assert got.status == "411 Length Required"
    assert got.read() == b"A body without a length cannot be read here.\n"


class Breaking(io.BytesIO):
    """Ends as gunicorn's does when the client goes."""

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        if not found:
            raise OSError("no more data")
        return found


@pytest.mark.parametrize("size", [4, 100_000])
@pytest.mark.parametrize(
    ("kind", "framed"), [(io.BytesIO, {"CONTENT_LENGTH": "100001"}), (Breaking, chunked())]
)
def test_a_body_that_breaks_off_is_not_complete_at_the_upstream(
    kind: Callable[[bytes], io.BytesIO], framed: dict[str, Any], size: int
) -> None:
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.head()
        bodies.append(peer.until(b"0\r\n\r\n"))
        assert peer.receive() == b""

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        more = {"wsgi.input": kind(b"x" * size), "wsgi.input_terminated": True, **framed}
        assert ask(upstream, method="POST", **more).status == "400 Bad Request"
        assert counts(upstream) == (0, 0, 0, 0)
        wait_until(lambda: len(bodies) == 1, what="the end of the request")
    assert bodies[0].count(b"x") == size


class InPieces:
    """Gives a piece, the next one when something has happened, and then breaks off."""

    def __init__(self, happened: threading.Event) -> None:
        self.happened = happened
        self.reads = 0

    def read(self, size: int) -> bytes:
        self.reads += 1
        if self.reads == 2:
            self.happened.wait(5)
            time.sleep(0.05)
        if self.reads > 2:
            raise OSError("no more data")
        return b"x" * min(size, 5)


def test_a_body_that_breaks_off_during_the_answer_is_no_fault_of_the_upstream() -> None:
    answered = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        answered.set()
        peer.until(b"0\r\n\r\n")

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        more = chunked(**{"wsgi.input": InPieces(answered), "wsgi.input_terminated": True})
        got = ask(upstream, method="POST", **more)
        assert got.status == "200 OK"
        with pytest.raises(BrokenPipeError):
            got.read()
        assert counts(upstream) == (0, 0, 0, 0)


@pytest.mark.parametrize("closes", [True, False])
def test_an_answer_during_the_upload_ends_the_upload(closes: bool) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(text(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        if not closes:
            peer.over.wait(10)  # and reads nothing

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        begun = time.monotonic()
        got = ask(upstream, method="POST", body=b"x" * 30_000_000)
        assert got.status == "413 Content Too Large"
        assert got.read() == b"too large"
        assert time.monotonic() - begun < 2.0
        assert counts(upstream) == (0, 0, 0, 0)


class Late:
    """A body whose second half comes when the upstream has gone."""

    def __init__(self, gone: threading.Event) -> None:
        self.gone = gone
        self.halves = [b"first", b"later"]

    def read(self, size: int) -> bytes:
        assert size >= 5
        if len(self.halves) == 1:
            assert self.gone.wait(5)
            time.sleep(0.05)  # until the reset has come
        return self.halves.pop(0)


def test_a_reset_that_the_rest_of_an_upload_meets_is_no_good_end() -> None:
    """The failed write takes it along: what is read next looks like an end in good order."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.body(5)
        peer.send(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
        peer.reset()
        gone.set()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        more: dict[str, Any] = {"CONTENT_LENGTH": "10", "wsgi.input": Late(gone)}
        got = ask(upstream, method="POST", **more)
        with pytest.raises(BrokenUpstreamError):
            got.read()
        assert counts(upstream) == (0, 0, 0, 0)


def test_an_upstream_may_answer_while_it_reads() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        for _ in range(3000):
            peer.send(peer.body(10_000))
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        body = bytes(range(250)) * 120_000
        got = ask(upstream, method="POST", body=body)
        assert got.read() == body
        assert counts(upstream) == (0, 0, 1, 0)
        upstream.close()


def test_an_upload_that_nobody_takes_ends_in_time() -> None:
    with Origin(silent) as origin:
        begun = time.monotonic()
        upstream = WsgiUpstream(origin.url, timeouts=QUICK)
        got = ask(upstream, method="POST", body=b"x" * 30_000_000)
        assert got.status == "504 Gateway Timeout"
        assert time.monotonic() - begun < 1.5
