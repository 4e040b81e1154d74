"""One connection to an upstream on a socket, for threads: whoever waits here waits alone.

The socket itself never blocks. What can be done at once costs one system call, and only what cannot
is waited for, in both directions if need be; ``socket.settimeout`` costs one or two more per call,
and waits for one direction.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import time
from typing import Final

from canary_middleware.errors import CanaryError
from canary_middleware.upstream.address import Origin

PIECE: Final = 64 * 1024
"""Most bytes taken from a socket, or from a client, at a time."""
_SLICE: Final = 0.4
"""Most seconds for one address while there are others."""
_READ: Final = 1
_WRITE: Final = 4


class LateError(CanaryError):
    """A wait for an upstream that ran out of time."""


class ClientLeftError(CanaryError):
    """Nobody waits for the answer any more."""


class Connection:
    """An open connection; used by one thread at a time.

    Args:
        sock: connected, TLS included.

    Attributes:
        reused: whether an exchange was made on it before.
    """

    __slots__ = ("_sock", "reused")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.reused = False

    def send(self, data: bytes | memoryview, until: float) -> int:
        """Send what goes at once, or wait until something does.

        Args:
            data: not empty.
            until: monotonic seconds.

        Returns:
            Bytes sent. 0 when the upstream takes nothing but says something: ``arrived`` has it.

        Raises:
            LateError: neither happened in time.
            OSError: the connection is broken. What came before that can still be received.
        """
        while True:
            try:
                return self._sock.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                wanted = _READ | _WRITE
            except ssl.SSLWantReadError:
                wanted = _READ
            if _ready(self._sock, wanted, until) == _READ:
                return 0

    def receive(self, until: float, client: int | None = None) -> bytes:
        """The next bytes, as soon as there are some; none at the end.

        Args:
            until: monotonic seconds.
            client: descriptor of the connection of who waits for them.

        Raises:
            LateError: nothing came in time.
            ClientLeftError: the client closed its connection meanwhile.
            OSError: the connection is broken, or TLS was cut off without a goodbye.
        """
        while True:
            try:
                return self._sock.recv(PIECE)
            except (BlockingIOError, ssl.SSLWantReadError):
                wanted = _READ
            except ssl.SSLWantWriteError:
                wanted = _WRITE
            _ready(self._sock, wanted, until, client)

    def arrived(self) -> bytes | None:
        """What has come until now; empty at the end, ``None`` if nothing has.

        Raises:
            OSError: the connection is broken.
        """
        try:
            return self._sock.recv(PIECE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def dead(self) -> bool:
        """Whether an idle connection is of no use: it has ended, or says what nobody asked for."""
        try:
            return self.arrived() is not None
        except OSError:
            return True

    def close(self) -> None:
        """End it in both directions; what was not read is dropped."""
        self._sock.close()


def dial(origin: Origin, until: float, tls: ssl.SSLContext | None) -> socket.socket:
    """Connect, to the first address that takes us.

    Names are looked up each time, so that the resolver decides how long it remembers; how long
    that takes is its own affair too.

    Args:
        origin: where to.
        until: monotonic seconds.
        tls: for ``https``.

    Raises:
        OSError: refused, no way, no such name, or a certificate that is not valid.
        TimeoutError: not in time.
    """
    sock = _unix(origin.unix, until) if origin.unix is not None else _tcp(origin, until)
    if tls is None:
        return sock
    try:
        # A body that ends with the connection ends with a goodbye; without one it was cut off.
        # The handshake has a time-out as a whole.
        sock.settimeout(_left(until))
        return tls.wrap_socket(sock, server_hostname=origin.host, suppress_ragged_eofs=False)
    except BaseException:  # an interrupt, too, leaves no open socket behind
        sock.close()
        raise


def _unix(path: str, until: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(until))
        sock.connect(path)
    except BaseException:  # as in dial()
        sock.close()
        raise
    return sock


def _tcp(origin: Origin, until: float) -> socket.socket:
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    # A set would lose their order, which the resolver chose.
    hosts = list(dict.fromkeys(str(address[0]) for *_, address in found))
    sock = dial_first(hosts, origin.port, until)
    with contextlib.suppress(OSError):  # gone already: the next call says so
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dial_first(hosts: list[str], port: int, until: float) -> socket.socket:
    """Try addresses in their order, each for a while, the last one for all the time left.

    Args:
        hosts: addresses.
        port: of all of them.
        until: monotonic seconds.

    Raises:
        OSError: what the last one said.
    """
    trouble = OSError("the name has no address")
    for left, host in zip(range(len(hosts), 0, -1), hosts, strict=True):
        seconds = _left(until) if left == 1 else min(_SLICE, _left(until) / 2)
        try:
            return socket.create_connection((host, port), seconds)
        except OSError as error:
            trouble = error
    raise trouble


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _ready(sock: socket.socket, wanted: int, until: float, client: int | None = None) -> int:
    """Wait for a direction; which ones are free, ``_WRITE`` also for an error.

    Raises:
        LateError: none is in time.
        ClientLeftError: the client closed its connection.
    """
    seconds = until - time.monotonic()
    found = _polled(sock, wanted, seconds, client) if seconds > 0 else 0
    if not found:
        raise LateError("the upstream kept us waiting")
    return found


if sys.platform == "win32":

    def _polled(sock: socket.socket, wanted: int, seconds: float, client: int | None) -> int:
        asked = [sock] if wanted & _WRITE else []
        reading, writing, failing = select.select(
            [sock] if wanted & _READ else [], asked, asked, seconds
        )
        return (_READ if reading else 0) | (_WRITE if writing or failing else 0)

else:
    _LEFT: Final = getattr(select, "POLLRDHUP", 0)  # of Linux; others tell of a reset only

    def _polled(sock: socket.socket, wanted: int, seconds: float, client: int | None) -> int:
        # Not `select.select`, which knows no socket with a number above 1023.
        poller = select.poll()
        poller.register(sock, wanted)
        if client is not None:
            poller.register(client, _LEFT)
        found = poller.poll(seconds * 1000)
        for number, events in found:
            if number != client:
                return events & (_READ | _WRITE) or _WRITE
        if found:
            raise ClientLeftError("the client closed its connection")
        return 0
