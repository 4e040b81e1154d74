"""One HTTP POST with one limit of time for all of it, and no more read than was asked for.

No redirect is followed and no proxy is used. An answer that comes byte by byte ends with the limit
like one that never comes, and so does a body that is taken byte by byte: every read and every write
gets only what is left of the time.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from canary_middleware.agent.posting import PostError, Reply
from canary_middleware.core.hook_address import Target, target_of

_ALWAYS: Final = {
    "content-type": "application/json", "user-agent": "canary-middleware", "connection": "close",
}  # fmt: skip


class Exchange:
    """See :class:`~canary_middleware.agent.posting.Poster`."""

    def __init__(self, within: float, clock: Callable[[], float]) -> None:
        self._within = within
        self._clock = clock
        self._tls: ssl.SSLContext | None = None

    def post(self, url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        """Send it, and read so many bytes of what is answered.

        Raises:
            PostError: no answer came in time, or none at all.
        """
        limit = _Limit(self._clock() + self._within, self._clock)
        target = target_of(url)
        try:
            with self._connect(target, limit) as wire:
                return self._exchange(target, _Timed(wire, limit), body, headers, read)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise PostError(self._why(error)) from None

    def _exchange(
        self, target: Target, wire: _Timed, body: bytes, headers: Mapping[str, str], read: int
    ) -> Reply:
        kind = http.client.HTTPSConnection if target.secure else http.client.HTTPConnection
        # The port is left out of Host where it is the usual one of the scheme.
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.default_port = kind.default_port
        connection.sock = cast("socket.socket", wire)
        connection.request("POST", target.path, body, {**_ALWAYS, **headers})
        answer = _answer(connection.sock)
        data = answer.read(read) if read else b""
        return Reply(answer.status, data, _seconds(answer.getheader("retry-after")))

    def _connect(self, target: Target, limit: _Limit) -> socket.socket:
        trouble: OSError = TimeoutError()
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            wire = socket.socket(family, kind, protocol)
            try:
                wire.settimeout(limit.left())
                wire.connect(address)
                if target.secure:
                    wire.settimeout(limit.left())
                    # The time-out of a handshake is for all of it (ssl module).
                    return self._context().wrap_socket(wire, server_hostname=target.host)
            except OSError as error:
                wire.close()
                trouble = error
            else:
                return wire
        raise trouble

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._within:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate: {error.verify_message}"
        if isinstance(error, (socket.gaierror, UnicodeError)):
            return "its name is not known"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        return f"no HTTP answer ({type(error).__name__})"


class _Limit(NamedTuple):
    """The time for everything."""

    until: float
    clock: Callable[[], float]

    def left(self) -> float:
        """Seconds.

        Raises:
            TimeoutError: none.
        """
        left = self.until - self.clock()
        if left <= 0:
            raise TimeoutError
        return left


class _Timed:
    """The part of a socket that ``http.client`` uses, with one limit for all of it."""

    def __init__(self, wire: socket.socket, limit: _Limit) -> None:
        self._wire = wire
        self._limit = limit
        # One for all answers: it may hold the beginning of the next.
        self._file = _File(_Reading(wire, limit))

    def sendall(self, data: bytes) -> None:
        # In pieces, as sent: with TLS the time-out of a socket's own sendall is for each of them.
        rest = memoryview(data)
        while rest:
            self._wire.settimeout(self._limit.left())
            rest = rest[self._wire.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return self._file

    def close(self) -> None:
        """The answer is still to be read when ``http.client`` says this; the owner closes."""


class _Reading(io.RawIOBase):
    def __init__(self, wire: socket.socket, limit: _Limit) -> None:
        self._wire = wire
        self._limit = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._wire.settimeout(self._limit.left())
        return self._wire.recv_into(buffer)


class _File(io.BufferedReader):
    def close(self) -> None:
        """Each answer does this at its end; the owner closes."""


def _answer(wire: socket.socket) -> http.client.HTTPResponse:
    """The answer that counts: before it any number of 1xx may come (RFC 9110, 15.2)."""
    while True:
        answer = http.client.HTTPResponse(wire, method="POST")
        answer.begin()
        if not 100 <= answer.status < 200 or answer.status == http.client.SWITCHING_PROTOCOLS:
            return answer


def _seconds(text: str | None) -> float | None:
    """A number of seconds; a date, which is the other form, is as good as none."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
