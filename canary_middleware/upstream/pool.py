"""The book of the connections to one upstream: who holds which, who waits; pure.

It opens and closes nothing and calls nobody: what a link has to do is returned as a value. So one
book serves an event loop, which needs no lock, and a link of threads, which wraps it in one. Each
operation takes constant amortised time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

C = TypeVar("C", bound=Hashable)


class Reuse(NamedTuple, Generic[C]):
    """Use this connection; nobody else holds it."""

    conn: C


class Open(NamedTuple, Generic[C]):
    """Open a connection, then say ``opened`` or ``failed``; the room for it is yours.

    Attributes:
        overdue: idle for too long, to be closed; the book has forgotten them.
    """

    overdue: tuple[C, ...] = ()


class Wait(NamedTuple):
    """All are in use. A later operation hands something over to this ticket, or ``cancel`` it."""

    ticket: int


class Full(NamedTuple):
    """All are in use and as many wait as may, or the book is closed."""


class Handed(NamedTuple, Generic[C]):
    """What an operation freed and who waited longest for it: tell that ticket.

    Attributes:
        ticket: no longer waits.
        grant: belongs to it.
    """

    ticket: int
    grant: Reuse[C] | Open[C]


class Closed(NamedTuple, Generic[C]):
    """What was left when a book was closed.

    Attributes:
        idle: connections to close.
        tickets: they wait for nothing.
    """

    idle: tuple[C, ...]
    tickets: tuple[int, ...]


class Counts(NamedTuple):
    """How many connections there are and how many requests wait; the first three share a limit."""

    busy: int
    opening: int
    idle: int
    waiting: int


FULL: Final = Full()


class Pool(Generic[C]):
    """The last one given back is used first, so that the others grow idle; waiters queue.

    A connection belongs to its holder until that one says ``give`` or ``lost``, or exchanges it by
    ``replace``. The second word about a connection, and any about one that the book has forgotten,
    changes nothing: the end of a request and the end of its connection may come in any order.

    Args:
        limit: most connections at a time, those that are being opened included.
        idle: seconds after which an idle connection is not used any more.
        waiting: most tickets at a time.

    Attributes:
        closed: whether ``close`` was called. Whoever gives a connection back afterwards closes it.
    """

    __slots__ = ("_busy", "_idle", "_lasts", "_limit", "_most", "_opening", "_queue", "_tickets",
                 "closed")  # fmt: skip

    def __init__(self, limit: int, idle: float, waiting: int) -> None:
        self._limit = limit
        self._lasts = idle
        self._most = waiting
        self._busy: set[C] = set()
        # With since when (monotonic seconds). Both are ordered dictionaries and no plain ones,
        # which pass by all that was ever taken off their front when they look for their first.
        self._idle: OrderedDict[C, float] = OrderedDict()
        self._queue: OrderedDict[int, None] = OrderedDict()
        self._opening = 0
        self._tickets = 0
        self.closed = False

    def counts(self) -> Counts:
        """The state of the book in numbers."""
        return Counts(len(self._busy), self._opening, len(self._idle), len(self._queue))

    def take(self, now: float) -> Reuse[C] | Open[C] | Wait | Full:
        """Ask for a connection.

        Args:
            now: monotonic seconds.
        """
        overdue: tuple[C, ...] = ()
        if self._idle:
            conn, since = self._idle.popitem()
            if now - since < self._lasts:
                self._busy.add(conn)
                return Reuse(conn)
            # It was the youngest.
            overdue = (*self._idle, conn)
            self._idle.clear()
        if self.closed:
            return FULL
        if len(self._busy) + self._opening < self._limit:
            self._opening += 1
            return Open(overdue)
        return self._queued()

    def _queued(self) -> Wait | Full:
        if len(self._queue) >= self._most:
            return FULL
        self._tickets += 1
        self._queue[self._tickets] = None
        return Wait(self._tickets)

    def opened(self, conn: C) -> None:
        """The connection that an ``Open`` asked for stands, and the holder of that one has it."""
        self._opening -= 1
        self._busy.add(conn)

    def failed(self) -> Handed[C] | None:
        """The connection that an ``Open`` asked for could not be opened, or is not wanted now."""
        self._opening -= 1
        return self._room()

    def give(self, conn: C, now: float, reusable: bool) -> Handed[C] | None:
        """Give a connection back.

        Args:
            conn: held by the caller.
            now: monotonic seconds.
            reusable: the exchange on it is over and left nothing behind. If not, the caller closes
                the connection.
        """
        if conn not in self._busy:
            return None
        if not reusable or self.closed:
            self._busy.remove(conn)
            return self._room()
        if self._queue:
            return Handed(self._queue.popitem(last=False)[0], Reuse(conn))
        self._busy.remove(conn)
        self._idle[conn] = now
        return None

    def lost(self, conn: C) -> Handed[C] | None:
        """A connection died, idle or in the hands of the caller."""
        if conn in self._busy:
            self._busy.remove(conn)
            return self._room()
        self._idle.pop(conn, None)  # nobody waits while there is an idle one
        return None

    def replace(self, conn: C) -> Open[C]:
        """Exchange a held connection that died for the room to open another one, without a queue.

        Raises:
            KeyError: nobody holds this connection.
        """
        self._busy.remove(conn)
        self._opening += 1
        return Open()

    def cancel(self, ticket: int) -> bool:
        """Stop waiting.

        Returns:
            Whether the ticket waited. If not, something was handed over to it at the same time:
            the caller has to use that, or to give it back.
        """
        if ticket not in self._queue:
            return False
        del self._queue[ticket]
        return True

    def expire(self, now: float) -> list[C]:
        """The connections that were idle for too long, to be closed; forgotten here.

        Args:
            now: monotonic seconds.
        """
        overdue: list[C] = []
        idle = self._idle
        while idle:
            conn = next(iter(idle))
            if now - idle[conn] < self._lasts:
                break
            del idle[conn]
            overdue.append(conn)
        return overdue

    def close(self) -> Closed[C]:
        """Let nobody in any more. Connections in use end with what they are used for."""
        self.closed = True
        left = Closed(tuple(self._idle), tuple(self._queue))
        self._idle.clear()
        self._queue.clear()
        return left

    def _room(self) -> Handed[C] | None:
        """One connection fewer: who waited longest may open another one."""
        if not self._queue:
            return None
        self._opening += 1
        return Handed(self._queue.popitem(last=False)[0], Open())
