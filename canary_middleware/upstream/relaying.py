"""One request on its way to an upstream, and its answer on its way back, in one thread."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import Self

from canary_middleware.errors import CanaryError
from canary_middleware.upstream.blocking import ClientLeftError, Connection, LateError
from canary_middleware.upstream.events import (
    BrokenRequestError,
    BrokenUpstreamError,
    Data,
    Event,
    Interim,
    Start,
)
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.headers import incoming
from canary_middleware.upstream.lending import Lender
from canary_middleware.upstream.patience import tried
from canary_middleware.upstream.settings import Timeouts

Hint = Callable[[list[tuple[str, str]]], object]
_NOTHING = memoryview(b"")


class Relay:
    """The body of a WSGI answer, and before that all that leads to it.

    The upload goes on while the answer comes, so that an upstream may answer early, or pass on what
    it gets. The connection is given back or closed once, as soon as nothing more can come.

    Args:
        lender: of connections.
        timeouts: for each wait.
        exchange: with the upstream.
        body: of the request, in pieces; ``None`` if it has none.
        repeatable: whether the upstream may see the request twice.
        hint: sends a 103 to the client (``wsgi.early_hints``).
        client: descriptor of its connection.

    Attributes:
        whole: the body, if all of it came with the head; else iterate.
    """

    __slots__ = (
        "_body", "_client", "_conn", "_data", "_end", "_exchange", "_fresh", "_gave", "_hint",
        "_lender", "_repeatable", "_since", "_start", "_timeouts", "_torn", "_unsent", "_until",
        "_waited", "whole",
    )  # fmt: skip

    def __init__(
        self,
        lender: Lender,
        timeouts: Timeouts,
        exchange: Exchange,
        body: Iterator[bytes] | None,
        *,
        repeatable: bool,
        hint: Hint | None,
        client: int | None,
    ) -> None:
        self._lender = lender
        self._timeouts = timeouts
        self._exchange = exchange
        self._body = body
        self._repeatable = repeatable
        self._hint = hint
        self._client = client
        self._conn: Connection | None = None
        self._start: Start | None = None
        self._data: list[bytes] = []
        self._fresh = True
        self._unsent = _NOTHING
        self._torn = False
        self._until = 0.0
        self._since = time.monotonic()
        self._waited = self._gave = 0.0  # for the client; when it was given something
        self._end = self._since + timeouts.total
        self.whole: list[bytes] | None = None

    def begin(self) -> Start:
        """Ask, and wait for the head of the answer.

        Raises:
            NoConnectionError: there was none to be had; nothing of the body was read.
            LateError: the upstream did not go on in time.
            ClientLeftError: nobody waits for it any more.
            BrokenUpstreamError: it gave no answer.
            BrokenRequestError: the client's body broke off, or came so slowly that the upstream
                gave up.
        """
        try:
            start = self._asked()
        except BaseException as error:  # a server's own, such as its exit, leaves no socket open
            self.close()
            if self._tried() and isinstance(error, (BrokenUpstreamError, LateError)):
                raise BrokenRequestError("the client sent so slowly") from error
            raise
        if self._exchange.done:
            self.whole = self._data
        return start

    def _asked(self) -> Start:
        conn = self._conn = self._lender.lend(self._end)
        first = b""
        if self._body is not None:
            first = self._piece(self._body) or b""
            if conn.reused and conn.dead():  # while the client took its time
                conn = self._renewed(conn)
        asked = self._exchange.head + self._exchange.frame(first)
        try:
            return self._answered(conn, asked)
        except BrokenUpstreamError:
            if not (self._repeatable and conn.reused and self._exchange.silent):
                raise
        return self._answered(self._renewed(conn), asked)

    def _renewed(self, died: Connection) -> Connection:
        self._conn = None  # whatever comes, it is closed
        self._conn = conn = self._lender.renew(died, self._end)
        return conn

    def _answered(self, conn: Connection, asked: bytes) -> Start:
        self._unsent, self._torn = memoryview(asked), False
        while self._start is None:
            self._step(conn)
        return self._start

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """The next bytes as they come. First none, if there are none yet: many servers send the
        head of an answer with what they get first, and no client should wait for both.

        Raises:
            LateError: the upstream did not go on in time. As for any other exception after the
                start of an answer, the server has to cut the connection to the client.
            BrokenUpstreamError: it broke off.
            BrokenPipeError: the client left, took so slowly that the upstream gave up, or its body
                broke off.
        """
        if self._gave:
            self._waited += time.monotonic() - self._gave
        if self._fresh:
            self._fresh = False
            if not self._data and self._conn is not None:
                return b""
        while not self._data:
            if self._conn is None:
                raise StopIteration
            try:
                self._step(self._conn)
            except BaseException as error:  # as above
                self.close()
                # Its client's doing, in words that every server knows.
                its = isinstance(error, (ClientLeftError, BrokenRequestError))
                if its or (isinstance(error, CanaryError) and self._tried()):
                    raise BrokenPipeError(errno.EPIPE, str(error)) from error
                raise
        data, self._data = b"".join(self._data), []
        self._gave = time.monotonic()
        return data

    def close(self) -> None:
        """End here. An answer that was not read to its end takes its connection with it."""
        conn, self._conn = self._conn, None
        if conn is not None:
            self._lender.give(conn, reusable=self._exchange.reusable)

    def _step(self, conn: Connection) -> None:
        """One wait, for the client or for the upstream."""
        if self._unsent:
            self._send(conn)
        elif self._body is not None:
            self._read_on(conn, self._body)
        else:
            if self._start is not None:
                self._until = self._by(self._timeouts.idle)
            self._hear(conn, self._until)

    def _send(self, conn: Connection) -> None:
        try:
            sent = conn.send(self._unsent, self._by(self._timeouts.idle))
        except OSError:  # closed, but maybe not without a word: that is read next
            self._torn = True
            self._stop_uploading()
        else:
            self._unsent = self._unsent[sent:]
            if not sent:
                self._overhear(conn)
        self._until = self._by(self._timeouts.start)

    def _read_on(self, conn: Connection, body: Iterator[bytes]) -> None:
        """Take the next piece from the client, which may be slow, and see what came meanwhile."""
        piece = self._piece(body)
        if piece is None:
            self._body = None
            # What was waited for until now excuses nothing after it.
            self._waited, self._since = 0.0, time.monotonic()
            self._unsent = memoryview(self._exchange.finish())
        else:
            self._unsent = memoryview(self._exchange.frame(piece))
            self._overhear(conn)

    def _piece(self, body: Iterator[bytes]) -> bytes | None:
        asked = time.monotonic()
        try:
            return next(body, None)
        finally:
            self._waited += time.monotonic() - asked

    def _tried(self) -> bool:
        return tried(self._waited, time.monotonic() - self._since)

    def _overhear(self, conn: Connection) -> None:
        self._hear(conn)
        if self._start is not None and self._start.status >= 400:
            self._stop_uploading()  # nobody wants the rest

    def _stop_uploading(self) -> None:
        self._body, self._unsent = None, _NOTHING

    def _hear(self, conn: Connection, until: float | None = None) -> None:
        """Take what the upstream says until then; by default, what it has said already."""
        try:
            data = conn.arrived() if until is None else conn.receive(until, self._client)
        except OSError as error:
            raise BrokenUpstreamError(f"it broke off: {error}") from error
        if data is not None:
            self._heard(data)

    def _heard(self, data: bytes) -> None:
        exchange = self._exchange
        if not data and self._torn:  # the failed write took the reset with it: no proof of an end
            raise BrokenUpstreamError("it broke off")
        for event in exchange.feed(data) if data else exchange.close():
            self._take(event)
        if exchange.done:
            self.close()

    def _take(self, event: Event) -> None:
        if isinstance(event, Data):
            self._data.append(event.data)
        elif isinstance(event, Start):
            self._start = event
        elif isinstance(event, Interim) and event.status == 103 and self._hint is not None:
            self._hint(
                [
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in incoming(event.headers)
                ]
            )

    def _by(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self._end)
