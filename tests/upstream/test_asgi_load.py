"""Memory of a whole process before large, slow and tiny bodies (FAULTS.md, U8 and S28)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import Process, free_port, wait_until
from tests.upstream.asgi_rig import Caller, connections
from tests.upstream.origins import Origin, Peer, text

pytestmark = pytest.mark.faults

MB = 1_000_000
PIECE = bytes(65536)
MANY = 1_000_000
SLOW = 500


def down(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MB))
    for _ in range(100):
        peer.sock.sendall(bytes(MB))


def up(peer: Peer) -> None:
    left = 100 * MB
    while left > 0:
        left -= len(peer.body(min(left, MB)))
    peer.send(text(b"taken"))


def endless(peer: Peer) -> None:
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.sock.sendall(PIECE)


def chunks(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        peer.sock.sendall(b"1\r\nx\r\n" * (MANY // 100))
    peer.send(b"0\r\n\r\n")


def stuck(peer: Peer) -> None:
    peer.over.wait()


def hello(peer: Peer) -> None:
    if b"chunked" in peer.heads[-1]:
        peer.until(b"0\r\n\r\n")
    peer.send(text(b"hello"))


PLACES = {b"/down": down, b"/up": up, b"/endless": endless, b"/chunks": chunks, b"/stuck": stuck}


def script(peer: Peer) -> None:
    while head := peer.head():
        PLACES.get(head.split()[1], hello)(peer)


class Proxy:
    """A process of uvicorn with the application."""

    def __init__(self, process: Process, port: int, origin: Origin) -> None:
        self.port = port
        self.origin = origin
        self._status = Path(f"/proc/{process.pid}/status")

    def memory(self, field: str = "VmRSS") -> float:
        """MB; ``VmHWM`` is the most that it ever was."""
        line = next(one for one in self._status.read_text().splitlines() if one.startswith(field))
        return int(line.split()[1]) * 1024 / MB

    def caller(self) -> Caller:
        return Caller(self.port, 60)

    def ask(self, target: str = "/") -> bytes:
        with contextlib.closing(self.caller()) as caller:
            caller.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return caller.answer().body


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    command = [
        sys.executable, "-m", "uvicorn", "--port", str(port), "--http", "httptools",
        "--no-access-log", "tests.upstream.asgi_application:application",
    ]  # fmt: skip
    root = str(Path(__file__).parents[2])
    with Origin(script) as origin:
        env = {"ORIGIN": origin.url, "PYTHONPATH": root, "CONNECTIONS": "1000", "CONNECT": "10"}
        with Process(command, log, env=env, cwd=log.parent) as process:
            process.wait_port(port)
            made = Proxy(process, port, origin)
            for _ in range(200):
                made.ask()
            yield made


def test_100_mb_down(proxy: Proxy) -> None:
    before, begun = proxy.memory(), time.monotonic()
    with contextlib.closing(proxy.caller()) as caller:
        caller.send(b"GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
        came = 0
        while came < 100 * MB:
            came += len(caller.sock.recv(MB))
    grown = proxy.memory("VmHWM") - before
    print(f"\n100 MB down: {time.monotonic() - begun:.1f} s, {grown:.1f} MB more")
    assert grown < 10


def test_100_mb_up(proxy: Proxy) -> None:
    before, begun = proxy.memory(), time.monotonic()
    with contextlib.closing(proxy.caller()) as caller:
        caller.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (100 * MB))
        for _ in range(100):
            caller.send(bytes(MB))
        assert caller.answer().body == b"taken"
    grown = proxy.memory("VmHWM") - before
    print(f"\n100 MB up: {time.monotonic() - begun:.1f} s, {grown:.1f} MB more")
    assert grown < 10


def test_s28_a_million_tiny_chunks(proxy: Proxy) -> None:
    before, begun = proxy.memory(), time.monotonic()
    assert len(proxy.ask("/chunks")) == MANY
    down = time.monotonic() - begun
    with contextlib.closing(proxy.caller()) as caller:
        caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            caller.send(b"1\r\nx\r\n" * (MANY // 100))
        caller.send(b"0\r\n\r\n")
        assert caller.answer().body == b"hello"
    up = time.monotonic() - begun - down
    grown = proxy.memory("VmHWM") - before
    print(f"\na million chunks: down {down:.1f} s, up {up:.1f} s, {grown:.1f} MB more")
    assert grown < 10


def test_u8_twenty_streams_that_nobody_reads_and_twenty_that_nobody_takes(proxy: Proxy) -> None:
    before = proxy.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            reader, writer = (stack.enter_context(contextlib.closing(proxy.caller())) for _ in "ab")
            reader.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            writer.send(b"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
            writer.sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    writer.send(PIECE)
        time.sleep(2)
        grown = proxy.memory() - before
        print(f"\nU8: 40 streams, {grown:.1f} MB more")
        assert grown < 64
        assert proxy.ask() == b"hello"
    # A server that does not read hears of no end: of the uploads the time-out for idling disposes.
    wait_until(lambda: connections(proxy.origin.port) < 5, timeout=10)


def test_500_slow_readers_harm_nobody(proxy: Proxy) -> None:
    before = proxy.memory()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(proxy.caller())) for _ in range(SLOW)]
        for reader in readers:
            reader.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: connections(proxy.origin.port) >= SLOW, timeout=30)
        time.sleep(3)
        late = []
        for _ in range(100):
            begun = time.monotonic()
            assert proxy.ask() == b"hello"
            late.append(time.monotonic() - begun)
        grown = proxy.memory() - before
        late.sort()
        print(f"\n{SLOW} slow readers: {grown:.1f} MB more, p95 {1000 * late[95]:.1f} ms")
        assert late[95] < 0.05
    wait_until(lambda: connections(proxy.origin.port) < 5, timeout=10)
