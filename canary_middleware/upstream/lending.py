"""Connections to one upstream for many threads: the book behind a lock, and those who wait for it.

The book says who gets what; here it is opened, closed and waited for, all of that outside the lock.
"""

from __future__ import annotations

import os
import random
import ssl
import threading
import time
from collections.abc import Iterable

from canary_middleware.errors import CanaryError
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.blocking import Connection, dial
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.pool import FULL, Counts, Full, Handed, Open, Pool, Reuse, Wait


class NoConnectionError(CanaryError):
    """There is no connection to be had.

    Attributes:
        status: what to answer: 502 refused, 503 too many at a time, 504 not in time.
        why: one sentence for the log.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


class _Slot:
    """Where a thread waits for its turn."""

    __slots__ = ("grant", "told")

    def __init__(self) -> None:
        self.grant: Reuse[Connection] | Open[Connection] | None = None
        self.told = threading.Event()


class _Desk:
    """The book of one process: sockets and locks are no use to a child that was forked off."""

    __slots__ = ("book", "lock", "pid", "slots")

    def __init__(self, book: Pool[Connection]) -> None:
        self.pid = os.getpid()
        self.book = book
        self.lock = threading.Lock()
        self.slots: dict[int, _Slot] = {}

    def tell(self, handed: Handed[Connection] | None) -> None:
        """Wake whom a freed connection goes to; under the lock."""
        if handed is not None:
            slot = self.slots.pop(handed.ticket)
            slot.grant = handed.grant
            slot.told.set()


class Lender:
    """Lends connections to threads, each to one at a time.

    Args:
        origin: where to.
        connect: seconds until there must be a connection, waiting for a free one included.
        health: stops connects to an upstream that refuses.
        limit: most connections of this process.
        idle: seconds for which an unused one is kept.
        waiting: most threads that wait for one.
        tls: for ``https``.
    """

    def __init__(
        self,
        origin: Origin,
        connect: float,
        health: Health,
        *,
        limit: int,
        idle: float,
        waiting: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._health = health
        self._origin = origin
        self._connect = connect
        self._terms = (limit, idle, waiting)
        self._tls = tls
        self._desk = self._begun()

    def _begun(self) -> _Desk:
        limit, idle, waiting = self._terms
        return _Desk(Pool(limit, idle, waiting))

    def lend(self, until: float) -> Connection:
        """A connection that is open as far as one can know.

        Args:
            until: monotonic seconds; the time for connecting may be over earlier.

        Raises:
            NoConnectionError: refused, not in time, or too many want one.
        """
        desk = self._desk
        if desk.pid != os.getpid():
            desk = self._desk = self._begun()
        now = time.monotonic()
        until = min(until, now + self._connect)
        with desk.lock:
            answer = desk.book.take(now)
            if type(answer) is Wait:
                slot = desk.slots[answer.ticket] = _Slot()
        if type(answer) is Wait:
            answer = _turn(desk, answer.ticket, slot, until)
        if isinstance(answer, Reuse):
            return self._renew(desk, answer.conn, until) if answer.conn.dead() else answer.conn
        if isinstance(answer, Open):
            _close(answer.overdue)
            return self._open(desk, until)
        raise NoConnectionError(503, "every connection is in use, and enough requests wait for one")

    def renew(self, conn: Connection, until: float) -> Connection:
        """A fresh connection in place of a borrowed one that died.

        Args:
            conn: borrowed by the caller, who has it no more.
            until: monotonic seconds; the time for connecting may be over earlier.

        Raises:
            NoConnectionError: refused, or not in time.
        """
        return self._renew(self._desk, conn, min(until, time.monotonic() + self._connect))

    def give(self, conn: Connection, *, reusable: bool) -> None:
        """Give a connection back; it is closed unless it is reusable.

        Args:
            conn: borrowed by the caller.
            reusable: the exchange on it is over and left nothing behind.
        """
        now = time.monotonic()
        desk = self._desk
        conn.reused = True
        with desk.lock:
            reusable = reusable and not desk.book.closed
            desk.tell(desk.book.give(conn, now, reusable))
            overdue = desk.book.expire(now)
        if not reusable:
            conn.close()
        _close(overdue)

    def counts(self) -> Counts:
        """The state of the book in numbers."""
        with self._desk.lock:
            return self._desk.book.counts()

    def close(self) -> None:
        """Close what is idle, and lend no more. What is in use is closed when it is given back."""
        desk = self._desk
        with desk.lock:
            left = desk.book.close()
            waiting = [desk.slots.pop(ticket) for ticket in left.tickets]
        for slot in waiting:
            slot.told.set()
        _close(left.idle)

    def _renew(self, desk: _Desk, conn: Connection, until: float) -> Connection:
        conn.close()
        with desk.lock:
            desk.book.replace(conn)
        return self._open(desk, until)

    def _open(self, desk: _Desk, until: float) -> Connection:
        conn = None
        try:
            conn = self._dialled(until)
        finally:  # also when a worker is told to stop meanwhile: the room must not be lost
            with desk.lock:
                if conn is None:
                    desk.tell(desk.book.failed())
                else:
                    desk.book.opened(conn)
        return conn

    def _dialled(self, until: float) -> Connection:
        if self._health.blocked(time.monotonic()):
            raise NoConnectionError(502, "it refused connections a moment ago")
        try:
            conn = Connection(dial(self._origin, until, self._tls))
        except OSError as error:
            self._health.refused(time.monotonic(), random.random())
            late = isinstance(error, TimeoutError)
            raise NoConnectionError(504 if late else 502, f"no connection: {error}") from error
        self._health.answered()
        return conn


def _turn(
    desk: _Desk, ticket: int, slot: _Slot, until: float
) -> Reuse[Connection] | Open[Connection] | Full:
    """Wait until it is this thread's turn."""
    try:
        slot.told.wait(max(0.0, until - time.monotonic()))
    except BaseException:  # a worker that is told to stop must not take its turn with it
        _leave(desk, ticket, slot)
        raise
    with desk.lock:
        if desk.book.cancel(ticket):
            del desk.slots[ticket]
            raise NoConnectionError(504, "every connection is in use, none became free in time")
    return slot.grant or FULL  # none: closed meanwhile


def _leave(desk: _Desk, ticket: int, slot: _Slot) -> None:
    """Stop waiting, and pass on what came in the last moment."""
    with desk.lock:
        if desk.book.cancel(ticket):
            del desk.slots[ticket]
        elif isinstance(slot.grant, Open):
            desk.tell(desk.book.failed())
        elif slot.grant is not None:
            desk.tell(desk.book.give(slot.grant.conn, time.monotonic(), reusable=True))


def _close(connections: Iterable[Connection]) -> None:
    for conn in connections:
        conn.close()
