"""The WSGI application before real origins that misbehave, called as a server would."""

from __future__ import annotations

import gc
import io
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.context import ENVIRON_KEY
from canary_middleware.errors import CanaryError, ConfigurationError
from canary_middleware.upstream.blocking import LateError
from canary_middleware.upstream.events import BrokenUpstreamError
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.trouble import CALM
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.support.servers import LOCALHOST, free_port, wait_until
from tests.support.tls import issue
from tests.upstream.origins import Origin, Peer, answering, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.4, start=0.4, idle=0.4, total=5.0)


@dataclass
class Got:
    """What a server would have got."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Iterable[bytes] = ()
    hints: list[list[tuple[str, str]]] = field(default_factory=list)

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        assert not self.status
        self.status, self.headers = status, headers

    def read(self) -> bytes:
        return b"".join(self.body)

    def close(self) -> None:
        if hasattr(self.body, "close"):
            self.body.close()


def ask(
    upstream: WsgiUpstream, target: str = "/", method: str = "GET", body: bytes = b"", **more: Any
) -> Got:
    path, _, query = target.partition("?")
    got = Got()
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "shop.example",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.early_hints": got.hints.append,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    merged = {name: value for name, value in {**environ, **more}.items() if value is not None}
    got.body = upstream(merged, got.start)
    return got


def lines(head: bytes) -> list[bytes]:
    return head.split(b"\r\n")


def once(peer: Peer) -> None:
    """Reads a second request and answers it by the end of the connection.

    No look at the connection before its use could have foreseen that.
    """
    peer.head()
    peer.send(OK)
    peer.head()


def closing(peer: Peer) -> None:
    """The end of a script: nothing more is said."""


def counts(upstream: WsgiUpstream) -> tuple[int, ...]:
    return tuple(upstream.counts())


def test_a_request_goes_and_its_answer_comes_as_they_are() -> None:
    answer = text(b"hello", b"X-One: 1", b"x-one: \xe9", b"Connection: x-hop", b"X-Hop: no")
    with Origin(answering(answer)) as origin:
        upstream = WsgiUpstream(origin.url + "/base")
        got = ask(
            upstream, "/a?b=%20&&c", HTTP_X_CASE="v\xe9", HTTP_EXPECT="100-continue",
            HTTP_CONNECTION="keep-alive, x-gone", HTTP_X_GONE="1", HTTP_PROXY="http://me:secret@x",
        )  # fmt: skip
        assert got.status == "200 OK"
        assert got.headers == [("Content-Length", "5"), ("X-One", "1"), ("x-one", "\xe9")]
        assert got.body == [b"hello"], "all that has come at once is one list"
        upstream.close()
        line, *headers = lines(origin.heads[0])
        assert line == b"GET /base/a?b=%20&&c HTTP/1.1"
        assert headers[0] == b"Host: shop.example"
        assert b"X-Case: v\xe9" in headers
        assert b"X-Forwarded-For: 192.0.2.7" in headers
        assert not [h for h in headers if h.split(b":")[0] in {b"Expect", b"X-Gone", b"Proxy"}]


def test_connections_are_used_again() -> None:
    with Origin(answering(*[OK] * 9)) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(9):
            assert ask(upstream).read() == b"hello"
        assert len(origin.peers) == 1
        upstream.close()


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
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)
        time.sleep(0.05)
        peer.send(text(b"POISON"))
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(4):
            assert ask(upstream).read() == b"hello"
            time.sleep(0.1)
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


def test_one_that_refuses_is_not_tried_for_every_request() -> None:
    upstream = WsgiUpstream(f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    statuses = [ask(upstream).status for _ in range(50)]
    assert set(statuses) == {"502 Bad Gateway"}
    assert time.monotonic() - begun < 0.25
    assert upstream.health.blocked(begun)
    assert counts(upstream) == (0, 0, 0, 0)


class Untouched:
    """A body that nobody may read."""

    def read(self, size: int) -> bytes:
        raise AssertionError(f"{size} bytes were read")


class Visit:
    unsent = False


@pytest.mark.parametrize(("port", "told"), [(None, True), (0, False)])
def test_a_visit_is_told_that_nothing_was_read(port: int | None, told: bool) -> None:
    with Origin(lambda peer: peer.head()) as origin:
        visit = Visit()
        upstream = WsgiUpstream(origin.url if port == 0 else f"http://127.0.0.1:{free_port()}")
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


def test_readiness_is_a_connection_or_the_answer_to_a_probe() -> None:
    assert not WsgiUpstream(f"http://127.0.0.1:{free_port()}").ready()
    answers = [text(b"", status=b"503 Not Yet"), OK, b"rubbish"]
    with Origin(answering(*answers)) as origin:
        upstream = WsgiUpstream(origin.url)
        assert upstream.ready()
        upstream.close()
        upstream = WsgiUpstream(origin.url + "/base", probe="/healthz")
        assert [upstream.ready() for _ in answers] == [False, True, False]
        assert lines(origin.heads[0])[0] == b"GET /base/healthz HTTP/1.1"
        assert counts(upstream) == (0, 0, 0, 0)
    with pytest.raises(ConfigurationError):
        WsgiUpstream(origin.url, probe="healthz")


def test_one_that_comes_back_is_found() -> None:
    port = free_port()
    upstream = WsgiUpstream(f"http://127.0.0.1:{port}")
    assert ask(upstream).status == "502 Bad Gateway"
    with Origin(answering(*[OK] * 5), socket.create_server(("127.0.0.1", port))):
        wait_until(lambda: ask(upstream).status == "200 OK", timeout=2.0)
        upstream.close()


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


def test_an_answer_may_end_with_its_connection() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        for piece in (b"HTTP/1.1 200 OK\r\n\r\n", b"hel", b"lo"):
            peer.send(piece)
            time.sleep(0.02)

    with Origin(script) as origin:
        assert ask(WsgiUpstream(origin.url)).read() == b"hello"


def test_pieces_come_when_they_come() -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        go_on.wait(5)
        peer.send(b"1\r\nc\r\n1\r\nd\r\n0\r\nX-Trailer: 1\r\n\r\n")
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        came = iter(got.body)
        assert next(came) == b"ab"
        assert counts(upstream) == (1, 0, 0, 0)
        go_on.set()
        assert b"".join(came) == b"cd"
        assert counts(upstream) == (0, 0, 1, 0)
        got.close()
        assert counts(upstream) == (0, 0, 1, 0)
        upstream.close()


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ],
)
def test_answers_without_a_body(method: str, head: bytes) -> None:
    with Origin(answering(head, head)) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(2):
            got = ask(upstream, method=method)
            assert got.body == []
            lengths = [value for name, value in got.headers if name == "Content-Length"]
            assert lengths == (["99"] if b"99" in head else [])
        assert len(origin.peers) == 1
        upstream.close()


def test_interim_answers_are_no_answers_and_hints_are_passed_on() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with Origin(answering(b"HTTP/1.1 102 Processing\r\n\r\n" + hints + OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        assert got.read() == b"hello"
        assert got.hints == [[("Link", "</a.css>")]]
        upstream.close()


def test_a_head_does_not_wait_for_its_body() -> None:
    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"")) as origin:
        got = ask(WsgiUpstream(origin.url))
        assert next(iter(got.body)) == b""
        got.close()


def test_a_client_that_goes_takes_the_connection_along() -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello")
        if peer.receive() == b"":
            gone.set()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        assert next(filter(None, got.body)) == b"hello"
        got.close()
        got.close()
        assert gone.wait(1.0)
        assert counts(upstream) == (0, 0, 0, 0)


def test_a_start_that_is_not_wanted_ends_the_exchange() -> None:
    class UnwantedError(Exception):
        pass

    def refuse(*_: object) -> None:
        raise UnwantedError

    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello")) as origin:
        upstream = WsgiUpstream(origin.url)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
        with pytest.raises(UnwantedError):
            upstream(environ, refuse)
        assert counts(upstream) == (0, 0, 0, 0)


# Uploads.


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


def chunked(**more: Any) -> dict[str, Any]:
    return {"HTTP_TRANSFER_ENCODING": "chunked", **more}


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


def test_https(tmp_path: Path) -> None:
    made = issue(tmp_path, "upstream", "localhost")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.certificate, made.key)

    def wrap(sock: socket.socket) -> socket.socket:
        return served.wrap_socket(sock, server_side=True)

    with Origin(answering(OK, OK), wrap=wrap) as origin:
        url = f"https://localhost:{origin.port}"
        tls = ssl.create_default_context(cafile=str(made.authority))
        upstream = WsgiUpstream(url, tls=tls, preserve_host=False)
        for _ in range(2):
            assert ask(upstream).read() == b"hello"
        assert len(origin.peers) == 1
        assert lines(origin.heads[0])[1] == b"Host: localhost:%d" % origin.port
        upstream.close()
        assert ask(WsgiUpstream(url)).status == "502 Bad Gateway", "nobody knows that authority"


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


def test_a_chunked_body_that_a_server_does_not_end_is_refused() -> None:
    got = ask(WsgiUpstream(f"http://127.0.0.1:{free_port()}"), method="POST", **chunked())
    assert got.status == "411 Length Required"
    assert got.read() == b"A body without a length cannot be read here.\n"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"CONTENT_LENGTH": "5", **chunked()}, "400"),
        ({"CONTENT_LENGTH": "five"}, "400"),
        ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, "501"),
        ({"REQUEST_METHOD": "CONNECT"}, "405"),
        ({"REQUEST_METHOD": "GE T"}, "400"),
        ({"HTTP_X_CASE": "\u20ac"}, "400"),
        ({"HTTP_HOST": None}, "400"),
        ({"HTTP_X_LONG": "x" * 65_536}, "431"),
        ({"HTTP_X_CASE": "a\r\nb: c"}, "400"),
        ({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}, "501"),
    ],
)
def test_what_is_the_clients_mistake_never_reaches_the_upstream(
    more: dict[str, Any], status: str
) -> None:
    with Origin(answering(OK)) as origin:
        got = ask(WsgiUpstream(origin.url), **more)
        assert got.status.startswith(status)
        assert got.read()
        assert not origin.peers


def test_another_upgrade_is_an_offer_that_may_be_passed_over() -> None:
    with Origin(answering(OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream, HTTP_UPGRADE="h2c", HTTP_CONNECTION="Upgrade, HTTP2-Settings",
                  HTTP_HTTP2_SETTINGS="AAMAAABkAAQAAP__")  # fmt: skip
        assert got.status == "200 OK"
        assert b"pgrade" not in origin.heads[0]
        upstream.close()


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


# Time.


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


def test_an_upload_that_nobody_takes_ends_in_time() -> None:
    with Origin(silent) as origin:
        begun = time.monotonic()
        upstream = WsgiUpstream(origin.url, timeouts=QUICK)
        got = ask(upstream, method="POST", body=b"x" * 30_000_000)
        assert got.status == "504 Gateway Timeout"
        assert time.monotonic() - begun < 1.5


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


# Many at a time.


def test_threads_share_few_connections_and_each_gets_its_own_answer() -> None:
    def script(peer: Peer) -> None:
        while head := peer.head():
            peer.send(text(head.split()[1]))

    failures: list[object] = []
    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url, connections=4)

        def run(name: int) -> None:
            for turn in range(60):
                target = f"/{name}/{turn}"
                got = ask(upstream, target)
                if got.read() != target.encode():
                    failures.append((got.status, target))

        threads = [threading.Thread(target=run, args=(name,)) for name in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(origin.peers) <= 4
        busy, opening, idle, waiting = counts(upstream)
        assert (busy, opening, waiting) == (0, 0, 0)
        assert idle == len(origin.peers)
        upstream.close()


def test_who_finds_no_free_connection_waits_for_as_long_as_for_a_connect() -> None:
    with Origin(silent) as origin:
        upstream = WsgiUpstream(origin.url, connections=1, waiting=1, timeouts=QUICK)
        found: list[str] = []

        def run() -> None:
            found.append(ask(upstream).status)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        assert found[0] == "503 Service Unavailable"
        assert sorted(found[1:]) == ["504 Gateway Timeout"] * 2
        assert counts(upstream) == (0, 0, 0, 0)


def test_nothing_is_lent_after_the_close() -> None:
    with Origin(answering(OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream).read() == b"hello"
        upstream.close()
        assert counts(upstream) == (0, 0, 0, 0)
        assert ask(upstream).status == "503 Service Unavailable"


def test_nothing_is_left_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with Origin(answering(OK, OK)) as origin:
            upstream = WsgiUpstream(origin.url)
            ask(upstream).read()
            upstream.close()
            ask(WsgiUpstream(f"http://127.0.0.1:{free_port()}")).read()
        del upstream
        gc.collect()


def test_an_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        WsgiUpstream("ftp://127.0.0.1/")
