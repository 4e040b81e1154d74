"""The WSGI application in the servers that people run, before an origin that misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import LOCALHOST, Process, free_port, wait_until
from tests.upstream.origins import Origin, Peer, text

GUNICORN = "gunicorn -b 127.0.0.1:{port} --log-level info tests.upstream.wsgi_app:application -k "
SERVERS = {
    "sync": f"{GUNICORN} sync",
    "gthread": f"{GUNICORN} gthread --threads 8",
    "preloaded": f"{GUNICORN} gthread --threads 8 --preload",
    "waitress": "waitress --listen 127.0.0.1:{port} tests.upstream.wsgi_app:application",
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGUN = {
    "/cut-length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "/cut-chunks": CHUNKED + b"5\r\nhello\r\n",
    "/cut-before": b"",
    "/garbage": b"rubbish\r\n\r\n",
}


class Shop:
    """An origin whose paths say what it does."""

    def __init__(self) -> None:
        self.left = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, peer: Peer) -> None:
        while head := peer.head():
            path = head.decode("latin-1").split(" ")[1].partition("?")[0]
            if path in BEGUN:
                peer.send(BEGUN[path])
                return
            getattr(self, path[1:])(peer)

    def plain(self, peer: Peer) -> None:
        peer.send(text(b"hello", b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Latin: \xe9"))

    def empty(self, peer: Peer) -> None:
        peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    def sized(self, peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")

    def echo(self, peer: Peer) -> None:
        length = re.search(rb"\r\nContent-Length: (\d+)", peer.heads[-1])
        if length is not None:
            peer.send(text(peer.body(int(length[1]))))
        else:
            peer.send(CHUNKED + peer.until(b"\r\n0\r\n\r\n") + b"\r\n0\r\n\r\n")

    def refuse(self, peer: Peer) -> None:
        peer.send(text(b"too large", b"Connection: close", status=b"413 Content Too Large"))
        peer.over.wait(5)

    def flow(self, peer: Peer) -> None:
        self.go_on.clear()
        peer.send(CHUNKED + b"3\r\none\r\n")
        self.go_on.wait(5)
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    def stream(self, peer: Peer) -> None:
        self.left.clear()
        peer.send(CHUNKED)
        with contextlib.suppress(OSError):
            while not peer.over.wait(0.05):
                peer.sock.sendall(b"3\r\none\r\n")
        self.left.set()

    def hang(self, peer: Peer) -> None:
        self.left.clear()
        if not peer.receive():
            self.left.set()


@dataclass
class Site:
    name: str
    port: int
    shop: Shop
    origin: Origin
    process: Process

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(LOCALHOST, self.port, timeout=10)

    def ask(
        self, path: str, method: str = "GET", body: object = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        client = self.client()
        with contextlib.closing(client):
            client.request(method, path, body)  # type: ignore[arg-type]  # it takes iterables too
            answer = client.getresponse()
            return answer, answer.read()


@pytest.fixture(scope="module", params=SERVERS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    shop, port = Shop(), free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", *SERVERS[request.param].format(port=port).split()]
    root = Path(__file__).parents[2]
    with Origin(shop) as origin:
        env = {"UPSTREAM": origin.url, "PYTHONPATH": str(root)}
        with Process(command, log, env=env, cwd=root) as process:
            process.wait_port(port)
            yield Site(request.param, port, shop, origin, process)


def test_an_answer_comes_as_it_is(site: Site) -> None:
    for _ in range(3):
        answer, body = site.ask("/plain?a=%20&&b")
        assert (answer.status, answer.reason, body) == (200, "OK", b"hello")
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers["X-Latin"] == "\xe9"
    assert site.origin.heads[-1].startswith(b"GET /plain?a=%20&&b HTTP/1.1\r\n")


def test_answers_without_bodies(site: Site) -> None:
    answer, body = site.ask("/empty")
    assert (answer.status, body) == (204, b"")
    answer, body = site.ask("/sized", "HEAD")
    assert (answer.status, body, answer.headers["Content-Length"]) == (200, b"", "99")


@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
def test_bodies_go_there_and_back(site: Site, size: int) -> None:
    sent = (b"0123456789" * (size // 10 + 1))[:size]
    assert site.ask("/echo", "POST", sent)[1] == sent
    pieces = iter([sent[: size // 2] or b"x", sent[size // 2 :] or b"y"])
    _, came = site.ask("/echo", "POST", pieces)
    assert len(came) == max(size, 2)


@pytest.mark.parametrize("path", ["/cut-length", "/cut-chunks"])
def test_an_answer_that_broke_off_is_not_complete(site: Site, path: str) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        site.ask(path)


@pytest.mark.parametrize("path", ["/cut-before", "/garbage"])
def test_no_answer_is_a_502(site: Site, path: str) -> None:
    answer, body = site.ask(path)
    assert (answer.status, body) == (502, b"Bad Gateway\n")


def test_pieces_are_not_kept_back(site: Site) -> None:
    client = site.client()
    with contextlib.closing(client):
        client.request("GET", "/flow")
        answer = client.getresponse()
        assert answer.read1() == b"one"
        site.shop.go_on.set()
        assert answer.read() == b"two"


def test_an_early_answer_ends_an_upload(site: Site) -> None:
    with socket.create_connection((LOCALHOST, site.port), 10) as client:
        client.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        begun, sent = time.monotonic(), 0
        with contextlib.suppress(OSError):
            while sent < 50_000_000:
                sent += client.send(bytes(1_000_000)[: 50_000_000 - sent])
        came = b""
        with contextlib.suppress(OSError):
            while b"too large" not in came and (piece := client.recv(65536)):
                came += piece
        assert time.monotonic() - begun < 5.0
        assert came.startswith(b"HTTP/1.1 413 ") or (not came and sent < 50_000_000)


def test_a_client_that_leaves_a_stream_takes_the_upstream_along(site: Site) -> None:
    client = site.client()
    client.request("GET", "/stream")
    answer = client.getresponse()
    assert answer.read1() == b"one"
    answer.close()
    client.close()
    assert site.shop.left.wait(2.0)


def test_a_client_that_leaves_a_silent_upstream_takes_it_along(site: Site) -> None:
    with socket.create_connection((LOCALHOST, site.port), 10) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: site.origin.heads[-1].startswith(b"GET /hang"))
    # waitress tells nobody that its client has left: there, the time for the start has to end.
    assert site.shop.left.wait(1.0) is (site.name != "waitress")
    assert site.ask("/plain")[1] == b"hello"


def test_everybody_gets_an_answer_of_their_own(site: Site) -> None:
    wrong: list[object] = []

    def run(name: int) -> None:
        for turn in range(20):
            body = b"%d-%d" % (name, turn)
            if (came := site.ask("/echo", "POST", body)[1]) != body:
                wrong.append((body, came))

    threads = [threading.Thread(target=run, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
