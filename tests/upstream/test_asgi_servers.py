"""The ASGI application in servers other than uvicorn: how answers end, and HTTP/2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.servers import Process, free_port, wait_until
from tests.upstream.asgi_rig import Caller, connections
from tests.upstream.origins import Origin, Peer, text

COMMANDS = {
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}"],
}
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
CUT_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


def script(peer: Peer) -> None:
    while head := peer.head():
        path = head.split()[1]
        if path == b"/silent":
            peer.receive()
        elif path == b"/reset":
            peer.reset()
            return
        elif path.startswith(b"/cut"):
            peer.send(CUT_CHUNKED if b"chunked" in path else CUT)
            peer.over.wait(0.05)
            return
        elif b"chunked" in head.lower():
            peer.send(text(peer.until(b"0\r\n\r\n")))
        elif path == b"/trailers":
            peer.send(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
            )
        else:
            length = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
            peer.send(text(peer.body(int(length[0][15:]) if length else 0)))


class Place:
    """A server and the origin behind it."""

    def __init__(self, name: str, port: int, origin: Origin) -> None:
        self.name = name
        self.port = port
        self.origin = origin

    def ask(self, target: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes, bool]:
        head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        with contextlib.closing(Caller(self.port)) as caller:
            caller.send(head.encode() + body)
            got = caller.answer(method)
        return got.status, got.body, got.cut


@pytest.fixture(scope="module", params=COMMANDS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    words = [word.format(port=port) for word in COMMANDS[request.param]]
    command = [sys.executable, "-m", *words, "tests.upstream.asgi_application:application"]
    root = str(Path(__file__).parents[2])
    env = {"PYTHONPATH": root, "PYTHONWARNINGS": "default"}
    with (
        Origin(script) as origin,
        Process(command, log, env={**env, "ORIGIN": origin.url}, cwd=log.parent) as process,
    ):
        process.wait_port(port)
        yield Place(request.param, port, origin)
        assert process.terminate() in {0, -15}
        for noise in ("never retrieved", "never awaited", "was destroyed", "unclosed"):
            assert noise not in process.output()


def test_bodies_go_and_come(place: Place) -> None:
    assert place.ask("/", "POST", b"paid" * 50_000) == (200, b"paid" * 50_000, False)
    assert place.ask("/") == (200, b"", False)
    assert place.ask("/", "DELETE", b"x") == (200, b"x", False)


def test_a_reset_is_a_502(place: Place) -> None:
    assert place.ask("/reset")[0] == 502


@pytest.mark.parametrize("target", ["/cut", "/cut-chunked"])
def test_an_answer_that_breaks_off_is_never_complete(place: Place, target: str) -> None:
    assert place.ask(target) == (200, b"hello", True)


def test_the_upstream_hears_of_a_client_that_leaves(place: Place) -> None:
    def busy() -> int:
        return sum(bool(peer.heads) and b"/silent" in peer.heads[-1] for peer in origin.peers)

    origin, before = place.origin, connections(place.origin.port)
    with contextlib.closing(Caller(place.port)) as caller:
        caller.send(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: busy() > 0)
    wait_until(lambda: connections(origin.port) < max(before, 1), timeout=1)


def test_http2_with_and_without_bodies_and_with_trailers(place: Place) -> None:
    if place.name == "granian":
        return  # its HTTP/2 is the same application interface, without trailers
    client = Http2(place.port)
    with contextlib.closing(client):
        assert client.ask("GET", "/") == (200, b"", [])
        assert client.ask("POST", "/", b"pa", b"id") == (200, b"2\r\npa\r\n2\r\nid\r\n", [])
        status, body, trailers = client.ask("GET", "/trailers")
        assert (status, body) == (200, b"ok")
        assert trailers == [(b"x-sum", b"1")]
        assert client.hints == [[(b"link", b"</a.css>")]]


class Http2:
    """A client of HTTP/2 that needs no upgrade."""

    def __init__(self, port: int) -> None:
        self._caller = Caller(port)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=False))
        self._h2.initiate_connection()
        self.hints: list[list[tuple[bytes, bytes]]] = []

    def ask(
        self, method: str, path: str, *body: bytes
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a"),
                ("te", "trailers")]  # fmt: skip
        self._h2.send_headers(stream, head, end_stream=not body)
        for piece in body:
            self._h2.send_data(stream, piece)
        if body:
            self._h2.end_stream(stream)
        status, data, over = 0, b"", False
        trailers: list[tuple[bytes, bytes]] = []
        while not over:
            self._caller.send(self._h2.data_to_send())
            came = self._caller.sock.recv(65536)
            assert came, "the server closed"
            for event in self._h2.receive_data(came):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.InformationalResponseReceived):
                    self.hints.append([pair for pair in event.headers if pair[0] == b"link"])
                elif isinstance(event, h2.events.DataReceived):
                    data += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = list(event.headers)
                over = over or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
        return status, data, trailers

    def close(self) -> None:
        self._caller.close()
