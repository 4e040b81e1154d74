"""Origins that misbehave on purpose: a socket, and for each connection a script in a thread."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Script = Callable[["Peer"], object]
RESET = struct.pack("ii", 1, 0)


class Peer:
    """One connection as the origin sees it.

    Attributes:
        number: of the connection, from 1.
        heads: of the requests read on it.
        over: set when the test is, so that nobody sleeps longer.
    """

    def __init__(self, sock: socket.socket, number: int, over: threading.Event) -> None:
        self.sock = sock
        self.number = number
        self.over = over
        self.heads: list[bytes] = []
        self._held = b""

    def head(self) -> bytes:
        """The next request up to its empty line; nothing at the end."""
        while b"\r\n\r\n" not in self._held:
            data = self.receive()
            if not data:
                return b""
            self._held += data
        head, self._held = self._held.split(b"\r\n\r\n", 1)
        self.heads.append(head)
        return head

    def body(self, length: int) -> bytes:
        while len(self._held) < length:
            data = self.receive()
            if not data:
                break
            self._held += data
        body, self._held = self._held[:length], self._held[length:]
        return body

    def until(self, end: bytes) -> bytes:
        """What comes up to this end, or until nothing comes any more."""
        while end not in self._held:
            data = self.receive()
            if not data:
                break
            self._held += data
        body, _, self._held = self._held.partition(end)
        return body

    def receive(self) -> bytes:
        """Some bytes; nothing at the end, however it comes."""
        try:
            return self.sock.recv(65536)
        except OSError:
            return b""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Origin:
    """Runs a script for each connection, and ends all of them on exit.

    Args:
        script: gets the connection, which is closed afterwards.
        server: listens; by default on a port of this host.
        wrap: makes another socket of an accepted one, such as one of TLS.
    """

    def __init__(
        self,
        script: Script,
        server: socket.socket | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self._script = script
        self._server = server or socket.create_server(("127.0.0.1", 0))
        self._wrap = wrap
        self._threads = [threading.Thread(target=self._accept)]
        self._over = threading.Event()
        self.peers: list[Peer] = []
        self.port = 0 if server is not None else self._server.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def heads(self) -> list[bytes]:
        """Of all requests on all connections."""
        return [head for peer in self.peers for head in peer.heads]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            peer = Peer(sock, len(self.peers) + 1, self._over)
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            if self._wrap is not None:
                peer.sock = self._wrap(peer.sock)
            self._script(peer)
        except OSError:
            pass
        finally:
            peer.sock.close()

    def stop(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def cut(self) -> None:
        """End every connection."""
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.stop()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads), "an origin goes on"


def answering(*answers: bytes) -> Script:
    """Answers each request of a connection with these, in turn, then closes."""

    def script(peer: Peer) -> None:
        for answer in answers:
            if not peer.head():
                return
            peer.send(answer)
        peer.head()  # until the other side has had enough

    return script


def silent(peer: Peer) -> None:
    """Takes connections and nothing else."""
    peer.over.wait(10)


def text(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])
