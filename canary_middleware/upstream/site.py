"""The connections to one upstream in one event loop: the book of the pool, and who acts on it."""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import Final

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.link import ROOM, Link
from canary_middleware.upstream.looks import Looks
from canary_middleware.upstream.pool import Full, Handed, Open, Pool, Reuse, Wait
from canary_middleware.upstream.racing import race

LOOK: Final = 0.1
"""Seconds between two looks at the exchanges that are not over yet."""


class UnreachableError(Exception):
    """No connection, so nothing of the request was sent.

    Attributes:
        status: what to answer.
        why: a few words for the log.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


class Site:
    """See the module.

    Args:
        origin: the upstream.
        health: of the upstream, shared by all loops.
        tls: for https.
        connections: most at a time.
        waiting: most requests that wait for one.
        idle: seconds that a connection is kept without use.
        connect: seconds until a connection stands, or becomes free.

    Attributes:
        loop: that this belongs to.
        looks: at exchanges that last.
    """

    def __init__(
        self, origin: Origin, health: Health, tls: ssl.SSLContext | None, *,
        connections: int, waiting: int, idle: float, connect: float,
    ) -> None:  # fmt: skip
        self.loop = asyncio.get_running_loop()
        self.looks = Looks(self.loop.call_later, LOOK)
        self._origin = origin
        self._health = health
        self._tls = tls
        self._connect_within = connect
        self._idle = idle
        self._race = race(self.loop, origin.host)
        self._pool: Pool[Link] = Pool(connections, idle, waiting)
        self._tickets: dict[int, asyncio.Future[Reuse[Link] | Open[Link]]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._room = memoryview(bytearray(ROOM))

    async def take(self) -> Link:
        """A connection for one exchange; give it back with :meth:`release`.

        Raises:
            UnreachableError: there is none, nor will there be in time.
        """
        while True:
            granted = self._pool.take(self.loop.time())
            if isinstance(granted, Full):
                raise UnreachableError(503, "all connections are in use")
            if isinstance(granted, Wait):
                granted = await self._turn(granted.ticket)
            if isinstance(granted, Open):
                self._close(*granted.overdue)
                return await self._open()
            if granted.conn.alive:  # else it died on its way to us, which the book knows
                return granted.conn

    async def again(self, dead: Link) -> Link:
        """Another connection in place of one that died before it said anything."""
        self._pool.replace(dead)
        return await self._open()

    def release(self, link: Link, *, reusable: bool) -> None:
        """The exchange is over."""
        reusable = reusable and link.alive and not self._pool.closed
        if not reusable and link.alive:
            link.abort()
        link.end()
        self._hand(self._pool.give(link, self.loop.time(), reusable))
        if reusable and self._sweep is None:
            self._sweep = self.loop.call_later(self._idle, self._swept)

    def close(self) -> None:
        """Close what is idle, and let nobody in any more."""
        left = self._pool.close()
        self._close(*left.idle)
        for ticket in left.tickets:
            closed = UnreachableError(503, "the pool was closed")
            self._tickets.pop(ticket).set_exception(closed)
        if self._sweep is not None:
            self._sweep.cancel()

    # --- private ---------------------------------------------------------------------------------

    async def _turn(self, ticket: int) -> Reuse[Link] | Open[Link]:
        turn: asyncio.Future[Reuse[Link] | Open[Link]] = self.loop.create_future()
        self._tickets[ticket] = turn
        try:
            async with asyncio.timeout(self._connect_within):
                return await turn
        except BaseException as error:  # however it ends, cancelled too, the place is given up
            self._tickets.pop(ticket, None)
            handed = not self._pool.cancel(ticket) and turn.done() and not turn.cancelled()
            if handed and turn.exception() is None:  # at the very moment at which we left
                self._return(turn.result())
            if isinstance(error, TimeoutError):
                raise UnreachableError(503, "no connection became free") from None
            raise

    def _return(self, grant: Reuse[Link] | Open[Link]) -> None:
        """What was handed to somebody who does not wait any more."""
        if isinstance(grant, Reuse):
            self._hand(self._pool.give(grant.conn, self.loop.time(), grant.conn.alive))
        else:
            self._hand(self._pool.failed())

    async def _open(self) -> Link:
        if self._health.blocked(self.loop.time()):
            self._hand(self._pool.failed())
            raise UnreachableError(502, "it refused connections just now")
        try:
            async with asyncio.timeout(self._connect_within):
                link = await self._connected()
        except BaseException as error:  # a cancelled one holds its place in the pool as well
            self._hand(self._pool.failed())
            if not isinstance(error, (OSError, TimeoutError)):
                self._health.forgone()
                raise
            self._health.refused(self.loop.time(), random.random())
            status = 504 if isinstance(error, TimeoutError) else 502
            raise UnreachableError(status, f"no connection: {error!r}") from error
        self._health.answered()
        self._pool.opened(link)
        return link

    async def _connected(self) -> Link:
        origin, loop = self._origin, self.loop

        def made() -> Link:
            return Link(loop, self._room, self._lost)

        name = origin.host if self._tls is not None else None
        if origin.unix is not None:
            _, link = await loop.create_unix_connection(made, origin.unix)
        else:
            _, link = await loop.create_connection(
                made, origin.host, origin.port, ssl=self._tls, server_hostname=name,
                **self._race,
            )  # fmt: skip
        return link

    def _lost(self, link: Link) -> None:
        self._hand(self._pool.lost(link))

    def _hand(self, handed: Handed[Link] | None) -> None:
        """Tell whoever waited longest what is theirs now."""
        if handed is None:
            return
        turn = self._tickets.pop(handed.ticket, None)
        if turn is None or turn.done():
            self._return(handed.grant)
        else:
            turn.set_result(handed.grant)

    def _close(self, *links: Link) -> None:
        for link in links:
            link.abort()

    def _swept(self) -> None:
        self._sweep = None
        self._close(*self._pool.expire(self.loop.time()))
        if self._pool.counts().idle:
            self._sweep = self.loop.call_later(self._idle, self._swept)
