"""One HTTP POST with one limit of time for all of it, and no more read than was asked for.

No redirect is followed and no proxy is used. An answer that comes byte by byte ends with the limit
like one that never comes: every read gets only what is left of the time.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from canary_middleware.core.hook_address import Target, target_of

WITHIN: Final = 10.0
"""Seconds that a post may take. Looking up the name is the system's and comes on top."""
_ALWAYS: Final = {
    "content-type": "application/json", "user-agent": "canary-middleware", "connection": "close",
}  # fmt: skip


class PostError(Exception):
    """There is no answer; the text says why, and never shows more of the address than the host."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP.
        body: its beginning.
        retry_after: seconds that it asks to wait, if it does so with a number.
    """

    status: int
    body: bytes = b""
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the message has arrived."""
        return 200 <= self.status < 300


Post = Callable[[str, bytes, Mapping[str, str], int], Reply]
"""Address, body, headers, bytes of the answer to read. Raises :class:`PostError`."""


class Poster:
    """Posts, each on a connection of its own.

    Args:
        within: seconds, see :data:`WITHIN`.
        clock: monotonic seconds.
    """

    def __init__(self, within: float = WITHIN, clock: Callable[[], float] = time.monotonic) -> None:
        self._within = within
        self._clock = clock
        self._tls: ssl.SSLContext | None = None

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
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
        with connection.getresponse() as answer:
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

    def sendall(self, data: bytes) -> None:
        self._wire.settimeout(self._limit.left())
        self._wire.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self._wire, self._limit))

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


def _seconds(text: str | None) -> float | None:
    """A number of seconds; a date, which is the other form, is as good as none."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
