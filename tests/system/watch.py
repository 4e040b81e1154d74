"""Eyes on some workers all the time: what they answer, how fast, and whether they fail."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.clients import NO_METADATA, AsyncVisitor, Pool
from tests.system.site import CANARY, TESTER

PLAIN = "/plain"
"""Belongs to no rollout: what it takes is the machine's and the server's own time."""
COVERED = "/shop/"


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        port: of the worker.
        visitor: number of the visitor, 0 for the tester.
        path: what was asked for.
        sent: monotonic time.
        seconds: until the answer was complete.
        status: 0 where there was none.
        version: from the body, ``""`` if it has none.
        reason: likewise.
    """

    port: int
    visitor: int
    path: str
    sent: float
    seconds: float
    status: int
    version: str = ""
    reason: str = ""


class Watch:
    """Asks each worker in turns as a tester, as one of some visitors, and for the plain page.

    Args:
        ports: of the workers to begin with.
        every: seconds between two requests to one worker.
        visitors: how many anonymous visitors each worker sees; they keep their cookies.
    """

    def __init__(self, ports: Iterable[int], *, every: float = 0.01, visitors: int = 10) -> None:
        self.answers: list[Answer] = []
        self._every = every
        self._visitors = visitors
        self._first = list(ports)
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        for port in self._first:
            self.add(port)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def add(self, port: int) -> None:
        """Watch one more worker from now on."""

        def begin() -> None:
            self._tasks.append(self._loop.create_task(self._look(port)))

        self._loop.call_soon_threadsafe(begin)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._over.wait())
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # lets closed connections end

    async def _look(self, port: int) -> None:
        async with Pool(port, 1) as pool:
            tester = AsyncVisitor(pool, {"X-User": TESTER})
            others = [AsyncVisitor(pool) for _ in range(self._visitors)]
            for turn in range(10**9):
                number = turn % self._visitors
                await self._ask(port, 0, tester, COVERED)
                await self._ask(port, number + 1, others[number], COVERED)
                await self._ask(port, number + 1, others[number], PLAIN)

    async def _ask(self, port: int, number: int, visitor: AsyncVisitor, path: str) -> None:
        sent = time.monotonic()
        try:
            response = await visitor.get(path, NO_METADATA)
        except OSError:
            self.answers.append(Answer(port, number, path, sent, time.monotonic() - sent, 0))
        else:
            seconds = time.monotonic() - sent
            body = json.loads(response.body) if response.status == 200 else {}
            said = body.get("version", ""), body.get("reason", "")
            status = response.status
            self.answers.append(Answer(port, number, path, sent, seconds, status, *said))
        await asyncio.sleep(self._every)

    # --- verdicts -------------------------------------------------------------------------------

    def between(self, since: float, until: float = float("inf")) -> list[Answer]:
        """Answers to what was sent in this time."""
        return [answer for answer in list(self.answers) if since <= answer.sent < until]


def canaries(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.version == CANARY]


def failures(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status != 200]


def p99(answers: Iterable[Answer], path: str = COVERED) -> float:
    """Seconds within which 99 of 100 were answered; 0 where nobody asked."""
    times = sorted(answer.seconds for answer in answers if answer.path == path)
    return times[math.ceil(0.99 * len(times)) - 1] if times else 0.0
