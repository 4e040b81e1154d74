"""Row U10 of FAULTS.md: open WebSockets and event streams when a kill or a planned move arrives."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from canary_middleware import verbs
from canary_middleware.core.weight import FULL
from tests.support.servers import LOCALHOST, wait_until
from tests.system.rig import Rig, Worker, seen
from tests.system.site import CANARY, STABLE

GRACE, DRAIN = 0.5, 1.5
"""Seconds that workers give to streams: of a killed canary, and after any other move."""

MARGIN = 2.0
"""Seconds by which an end may be late (FAULTS.md)."""

SOCKET, EVENTS, THREAD = "socket", "events", "thread"
ENDS = {SOCKET: "1012", EVENTS: "last chunk", THREAD: "last chunk"}
"""How each kind ends in order."""

QUIET, TALKATIVE = "events=2&wait=60", "events=1000&wait=0.1"
"""A stream of an event loop may be silent; one of a thread is looked at when it says something."""


class Open:
    """One connection as its client sees it.

    Attributes:
        user: whose it is.
        version: that it said it is of.
        ended: monotonic seconds at which it ended; infinite while it is open.
        end: how.
    """

    def __init__(self, kind: str, port: int, user: str) -> None:
        self.kind = kind
        self.user = user
        self.version = ""
        self.ended = inf
        self.end = "open"
        self.up = asyncio.Event()
        self.task = asyncio.create_task(self._live(port, user))

    async def _live(self, port: int, user: str) -> None:
        try:
            if self.kind == SOCKET:
                await self._socket(port, user)
            else:
                await self._events(port, user, QUIET if self.kind == EVENTS else TALKATIVE)
        finally:
            self.ended = time.monotonic()
            self.up.set()

    async def _socket(self, port: int, user: str) -> None:
        url, who = f"ws://{LOCALHOST}:{port}/shop/socket", {"X-User": user}
        async with connect(url, additional_headers=who, ping_interval=None) as client:
            with suppress(ConnectionClosed):
                while True:
                    self._says(await client.recv())
            self.end = str(client.close_code)

    async def _events(self, port: int, user: str, query: str) -> None:
        reader, writer = await asyncio.open_connection(LOCALHOST, port)
        try:
            head = f"GET /shop/events?{query} HTTP/1.1\r\nHost: shop\r\nX-User: {user}\r\n\r\n"
            writer.write(head.encode())
            await reader.readuntil(b"\r\n\r\n")
            while size := int(await reader.readuntil(b"\r\n"), 16):
                self._says((await reader.readexactly(size + 2)).removeprefix(b"data: "))
            await reader.readexactly(2)
            self.end = "last chunk"
        except asyncio.IncompleteReadError:
            self.end = "cut"
        finally:
            writer.close()

    def _says(self, text: str | bytes) -> None:
        self.version = json.loads(text)["version"]
        self.up.set()


async def opened(workers: Sequence[Worker], each: int, threads: int) -> list[Open]:
    """So many sockets and event streams at ASGI workers, so many streams at WSGI workers."""
    users = (f"user-{number}" for number in count())
    made: list[Open] = []
    for worker in workers:
        plan = {SOCKET: each, EVENTS: each} if worker.kind == "asgi" else {THREAD: threads}
        for kind, number in plan.items():
            made += [Open(kind, worker.port, next(users)) for _ in range(number)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(one.up.wait() for one in made))
    assert {one.ended for one in made} == {inf}, "all of them open"
    return made


async def closed(losing: Sequence[Open], others: Sequence[Open], begun: float, limit: float) -> str:
    """The figures of an end in order: these, and nobody else, between the limit and the margin."""
    await asyncio.wait([one.task for one in losing], timeout=limit + MARGIN)
    late = [one for one in losing if not one.task.done()]
    assert not late, f"{len(late)} of {len(losing)} are not closed in time"
    wrong = {(one.kind, one.end) for one in losing} - ENDS.items()
    assert not wrong, f"ended out of order: {wrong}"
    after = [one.ended - begun for one in losing]
    assert min(after) >= limit, f"ended before its time, after {min(after):.2f} s"
    assert {one.ended for one in others} <= {inf}, "who lost nothing goes on"
    return f"{len(losing)} closed {min(after):.2f} to {max(after):.2f} s after it (limit {limit} s)"


async def left(streams: Sequence[Open]) -> None:
    """Their clients go away."""
    for one in streams:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in streams), return_exceptions=True)


async def struck(rig: Rig, workers: Sequence[Worker], each: int, threads: int) -> str:
    """A kill while all are open on the canary."""
    streams = await opened(workers, each, threads)
    assert {one.version for one in streams} == {CANARY}
    begun = time.monotonic()
    await asyncio.to_thread(verbs.kill, rig.store(), by="test")
    told = await closed(streams, (), begun, GRACE)
    await left(streams)
    return f"U10 kill: {told}"


async def moved(rig: Rig, workers: Sequence[Worker], each: int, threads: int) -> str:
    """A promotion while half of them are open on stable."""
    streams = await opened(workers, each, threads)
    losing = [one for one in streams if one.version == STABLE]
    others = [one for one in streams if one.version == CANARY]
    assert min(len(losing), len(others)) > len(streams) // 4
    begun = time.monotonic()
    await asyncio.to_thread(verbs.promote, rig.store(), "shop", by="test")
    heard = partial(all_give, workers, losing[0].user, CANARY)
    await asyncio.to_thread(wait_until, heard, timeout=DRAIN, what="the promotion is heard")
    late = await opened(workers, 1, 1)
    assert {one.version for one in late} == {CANARY}, "new ones go to the winner at once"
    took = await asyncio.to_thread(reported, rig, len(losing), len(others))
    told = await closed(losing, [*others, *late], begun, DRAIN)
    await left([*streams, *late])
    return f"U10 promote: {told}, reported in {took:.2f} s"


def all_give(workers: Sequence[Worker], user: str, version: str) -> bool:
    """Whether every worker gives this user that version now."""
    return {seen(worker, user=user) for worker in workers} == {version}


def reported(rig: Rig, losing: int, others: int) -> float:
    """Wait until the sum of all processes says what is open; the seconds that it took."""
    store = rig.store()

    def told() -> bool:
        found = {one.version: one for one in verbs.status(store).streams}
        stable, canary = found.get(STABLE), found.get(CANARY)
        if stable is None or canary is None or stable.within is None:
            return False
        assert stable.within <= DRAIN
        return (stable.open, stable.losing, canary.losing) == (losing, losing, 0) and (
            canary.open >= others
        )

    return wait_until(told, timeout=DRAIN, what="status tells what is still open")


def served(rig: Rig, servers: Sequence[str], weight: int, variant: str) -> list[Worker]:
    rig.started(weight)
    workers = rig.serve(*servers, variant=variant, kill_grace=GRACE, drain=DRAIN)
    rig.all_follow(CANARY)  # testers see it at any weight
    return workers


def kill(rig: Rig, servers: Sequence[str], each: int, variant: str = "") -> str:
    """Row U10."""
    workers = served(rig, servers, FULL, variant)
    return asyncio.run(struck(rig, workers, each, 20))


def promotion(rig: Rig, servers: Sequence[str], each: int, variant: str = "") -> str:
    """The same with a planned move."""
    workers = served(rig, servers, FULL // 2, variant)
    return asyncio.run(moved(rig, workers, each, 20))


def both(rig: Rig, servers: Sequence[str], each: int) -> list[str]:
    """One after the other, with the same workers."""
    workers = served(rig, servers, FULL, "")
    killed = asyncio.run(struck(rig, workers, each, 20))
    verbs.revive(rig.store(), by="test")
    verbs.weight(rig.store(), "shop", FULL // 2, by="test")
    wait_until(partial(rig.followed, rig.store()), what="everybody follows")
    return [killed, asyncio.run(moved(rig, workers, each, 20))]
