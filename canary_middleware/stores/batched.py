"""Claims of concurrent requests of one event loop, asked together; I/O is whoever sends them.

What is asked within one tick of the loop goes in one question, and so does everything that is asked
while the last one is under way: one connection serves a loop, however many requests wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.errors import StoreError, StoreUnavailableError

logger = logging.getLogger("canary_middleware")

MOST: Final = 256
"""Questions in one batch; the server does nothing else while it answers one."""

Send = Callable[[Sequence[Ask]], Awaitable[Sequence[Claim]]]


class Batch:
    """Questions that go together, and who waits for them.

    Attributes:
        asks: in the order of asking.
        waiting: for each request its future and how many of the questions are its own.
        timer: ends the wait of all of them.
        task: sends it.
    """

    __slots__ = ("asks", "task", "timer", "waiting")

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.waiting: list[tuple[asyncio.Future[Sequence[Claim]], int]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None


class Batched:
    """Asks for all requests of one event loop; made inside of it.

    Args:
        send: asks the store; a question that takes too long is cancelled.
        budget: seconds that a request waits, at most.
    """

    def __init__(self, send: Send, budget: float) -> None:
        self._send = send
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._next: Batch | None = None
        self._under_way: Batch | None = None

    async def claim(self, asks: Sequence[Ask]) -> Sequence[Claim]:
        """The winners, in the order of the questions.

        Raises:
            StoreUnavailableError: not in time, or the store does not do what it is asked.
        """
        future: asyncio.Future[Sequence[Claim]] = self._loop.create_future()
        batch = self._next
        if batch is None or len(batch.asks) >= MOST:
            batch = self._opened()
        batch.asks += asks
        batch.waiting.append((future, len(asks)))
        return await future

    def _opened(self) -> Batch:
        # One that is full and not yet sent is sent at once, beside the one that is under way.
        if self._next is not None:
            self._start(self._next)
        batch = self._next = Batch()
        batch.timer = self._loop.call_later(self._budget, self._give_up, batch)
        if self._under_way is None:
            self._loop.call_soon(self._flush)
        return batch

    def _flush(self) -> None:
        batch = self._next
        if batch is not None and self._under_way is None:
            self._next = None
            self._under_way = batch
            self._start(batch)

    def _start(self, batch: Batch) -> None:
        batch.task = self._loop.create_task(self._ask(batch))

    async def _ask(self, batch: Batch) -> None:
        try:
            winners = await self._send(batch.asks)
            self._settle(batch, winners)
        except StoreError as error:
            self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, StoreUnavailableError("the store was not asked to the end"))
            raise
        # Requests wait for this task: whatever it stumbled over must not leave them waiting.
        except Exception as error:
            logger.exception("claims could not be asked for")
            self._fail(batch, StoreUnavailableError(type(error).__name__))
        finally:
            if batch.timer is not None:
                batch.timer.cancel()
            if self._under_way is batch:
                self._under_way = None
                self._flush()

    def _settle(self, batch: Batch, winners: Sequence[Claim]) -> None:
        at = 0
        for future, count in batch.waiting:
            if not future.done():
                future.set_result(winners[at : at + count])
            at += count

    def _fail(self, batch: Batch, error: StoreError) -> None:
        for future, _ in batch.waiting:
            if not future.done():
                future.set_exception(error)

    def _give_up(self, batch: Batch) -> None:
        self._fail(batch, StoreUnavailableError(f"no answer within {self._budget:g} s"))
        if batch is self._next:
            self._next = None
        if batch.task is not None:
            batch.task.cancel()

    async def stop(self) -> None:
        """Give up what is under way."""
        for batch in (self._under_way, self._next):
            if batch is not None:
                self._give_up(batch)
                if batch.task is not None:
                    await asyncio.gather(batch.task, return_exceptions=True)
