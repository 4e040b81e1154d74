"""Connections of the blocking link: to names, addresses, sockets and through TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary_middleware.upstream.address import Origin as Address
from canary_middleware.upstream.address import parse
from canary_middleware.upstream.blocking import (
    ClientLeftError,
    Connection,
    LateError,
    dial,
    dial_first,
)
from tests.support.servers import free_port
from tests.support.tls import issue
from tests.upstream.origins import Origin, Peer, silent


def soon(seconds: float = 2.0) -> float:
    return time.monotonic() + seconds


def echo(peer: Peer) -> None:
    while data := peer.receive():
        peer.send(data)


@contextmanager
def connected(address: Address, tls: ssl.SSLContext | None = None) -> Iterator[Connection]:
    conn = Connection(dial(address, soon(), tls))
    yield conn
    conn.close()


def said(conn: Connection, text: bytes) -> bytes:
    assert conn.send(text, soon()) == len(text)
    return conn.receive(soon())


def test_what_is_sent_is_heard() -> None:
    with Origin(echo) as origin, connected(parse(origin.url)) as conn:
        assert conn.arrived() is None
        assert said(conn, b"hello") == b"hello"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    with Origin(echo, server), connected(parse(f"unix:{path}")) as conn:
        assert said(conn, b"hello") == b"hello"
    with pytest.raises(ConnectionRefusedError):
        dial(parse(f"unix:{path}"), soon(), None)


@pytest.mark.alone
def test_a_refused_connect_is_told_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        dial(parse(f"http://127.0.0.1:{free_port()}"), soon(), None)
    assert time.monotonic() - begun < 0.2


@contextmanager
def full() -> Iterator[int]:
    """A port that takes no more connections and says nothing about it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.mark.alone
def test_a_connect_ends_in_time() -> None:
    with full() as port:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            dial(parse(f"http://127.0.0.1:{port}"), soon(0.2), None)
        assert 0.15 < time.monotonic() - begun < 0.5
        with pytest.raises(TimeoutError):
            dial(parse(f"http://127.0.0.1:{port}"), soon(-1.0), None)


def test_of_several_addresses_a_living_one_is_found() -> None:
    # To Linux, each address of 127.0.0.0/8 is one of this host.
    with full() as port:
        server = socket.create_server(("127.0.0.3", port))
        with Origin(echo, server):
            begun = time.monotonic()
            conn = Connection(dial_first(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port, soon()))
            assert time.monotonic() - begun < 1.0, "one is silent, one refuses"
            assert said(conn, b"hello") == b"hello"
            conn.close()


@contextmanager
def secure(directory: Path, host: str, script: object = echo) -> Iterator[tuple[Origin, Path]]:
    made = issue(directory, host, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def wrap(sock: socket.socket) -> socket.socket:
        return context.wrap_socket(sock, server_side=True)

    assert callable(script)
    with Origin(script, wrap=wrap) as origin:
        yield origin, made.authority


def test_tls_verifies_the_name_and_says_it(tmp_path: Path) -> None:
    with secure(tmp_path, "localhost") as (origin, authority):
        context = ssl.create_default_context(cafile=str(authority))
        address = parse(f"https://localhost:{origin.port}")
        with connected(address, context) as conn:
            assert not conn.dead(), "session tickets are no answer"
            for _ in range(3):
                assert said(conn, b"hello") == b"hello"
            assert not conn.dead()
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(parse(f"https://127.0.0.1:{origin.port}"), soon(), context)
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(address, soon(), ssl.create_default_context())


def test_a_handshake_ends_in_time() -> None:
    with Origin(silent) as origin:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            dial(parse(f"https://127.0.0.1:{origin.port}"), soon(0.2), ssl.create_default_context())
        assert time.monotonic() - begun < 0.5


def test_tls_that_ends_without_a_goodbye_was_cut_off(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(b"the beg")
        socket.socket(fileno=peer.sock.detach()).close()

    with secure(tmp_path, "localhost", script) as (origin, authority):
        context = ssl.create_default_context(cafile=str(authority))
        with connected(parse(f"https://localhost:{origin.port}"), context) as conn:
            assert said(conn, b"hello") == b"the beg"
            with pytest.raises(OSError, match="EOF"):
                conn.receive(soon())


def test_large_pieces_go_through_tls_both_ways(tmp_path: Path) -> None:
    with secure(tmp_path, "localhost") as (origin, authority):
        context = ssl.create_default_context(cafile=str(authority))
        with connected(parse(f"https://localhost:{origin.port}"), context) as conn:
            left, heard = memoryview(bytes(3_000_000)), 0
            while left:
                left = left[conn.send(left[:60_000], soon()) :]
                heard += len(conn.arrived() or b"")
            while heard < 3_000_000:
                heard += len(conn.receive(soon()))


@pytest.mark.parametrize("end", [lambda peer: peer.send(b"stray"), Peer.reset, lambda peer: peer])
def test_an_idle_connection_is_dead_when_something_came(end: object) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        assert callable(end)
        go.wait(5)
        end(peer)

    with Origin(script) as origin, connected(parse(origin.url)) as conn:
        assert not conn.dead()
        go.set()
        time.sleep(0.1)
        assert conn.dead()


def fill(conn: Connection, seconds: float) -> None:
    while conn.send(bytes(1_000_000), soon(seconds)):
        pass


def test_waits_end_in_time() -> None:
    with Origin(silent) as origin, connected(parse(origin.url)) as conn:
        begun = time.monotonic()
        with pytest.raises(LateError):
            conn.receive(soon(0.1))
        with pytest.raises(LateError):
            fill(conn, seconds=0.2)
        assert 0.25 < time.monotonic() - begun < 0.8
        with pytest.raises(LateError):
            conn.receive(soon(-1.0))


def test_who_cannot_send_hears_what_is_said() -> None:
    def script(peer: Peer) -> None:
        time.sleep(0.1)
        peer.send(b"stop")
        peer.over.wait(10)

    with Origin(script) as origin, connected(parse(origin.url)) as conn:
        fill(conn, seconds=2.0)
        assert conn.arrived() == b"stop"


def test_the_wait_for_an_answer_ends_when_its_client_leaves() -> None:
    with Origin(echo) as origin, connected(parse(origin.url)) as conn:
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with server, accepted, client:
            # What it sends is its next request; only its end is its end.
            client.sendall(b"GET /next HTTP/1.1\r\n\r\n")
            conn.send(b"hello", soon())
            assert conn.receive(soon(), accepted.fileno()) == b"hello"
            with pytest.raises(LateError):
                conn.receive(soon(0.1), accepted.fileno())
            threading.Timer(0.1, client.close).start()
            begun = time.monotonic()
            with pytest.raises(ClientLeftError):
                conn.receive(soon(5.0), accepted.fileno())
            assert time.monotonic() - begun < 1.0
