"""Claims of concurrent requests of one event loop, asked together; I/O is whoever sends them.

What is asked within one tick of the loop goes in one question, and so does everything that is asked
while the last one is under way: one connection serves a loop, however many requests wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.errors import StoreError, StoreUnavailableError

logger = logging.getLogger("canary_middleware")

MOST: Final = 256
"""Requests in one batch; the server does nothing else while it answers one."""

Send = Callable[[Sequence[Ask]], Awaitable[Sequence[Claim]]]
Answer = asyncio.Future["Sequence[Claim] | str"]
"""The winners, or why there are none."""


class Waiting:
    """One request that waits.

    Attributes:
        asks: its questions.
        answer: ends its wait.
        until: time of the loop at which it waits no longer.
    """

    __slots__ = ("answer", "asks", "until")

    def __init__(self, asks: Sequence[Ask], answer: Answer, until: float) -> None:
        self.asks = asks
        self.answer = answer
        self.until = until


class Alone:
    """A request that asks by itself.

    Attributes:
        task: which it is.
        until: time of the loop at which it waits no longer.
        cancelling: how often it had been cancelled before, by others.
        late: it was cancelled because it waited for too long.
    """

    __slots__ = ("cancelling", "late", "task", "until")

    def __init__(self, task: asyncio.Task[Any], until: float) -> None:
        self.task = task
        self.until = until
        self.cancelling = task.cancelling()
        self.late = False

    def cancel(self) -> None:
        """It has waited for long enough."""
        self.late = True
        self.task.cancel()

    def withdrawn(self) -> bool:
        """Whether :meth:`cancel` was called; the task is no longer being cancelled by it."""
        late, self.late = self.late, False
        if late:
            self.task.uncancel()
        return late


class Batched:
    """Asks for all requests of one event loop; made inside of it.

    Whoever finds nothing under way asks at once and by itself, which is the short way for most.
    What comes meanwhile goes together, sent by a task, so that a request that goes away takes none
    of the others with it.

    Args:
        send: asks the store, one question at a time. It is cancelled when nobody waits for its
            answer any more.
        budget: seconds that a request waits, at most.
    """

    def __init__(self, send: Send, budget: float) -> None:
        self._send = send
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._alone: Alone | None = None
        self._next: list[Waiting] = []
        self._sent: list[Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    async def claim(self, asks: Sequence[Ask]) -> Sequence[Claim]:
        """The winners, in the order of the questions.

        Raises:
            StoreUnavailableError: not in time, or the store does not do what it is asked.
        """
        until = self._loop.time() + self._budget
        if self._timer is None:
            # One for all: a timer for each request costs more than what is asked.
            self._timer = self._loop.call_at(until, self._tick)
        if self._task is None and self._alone is None:
            return await self._at_once(asks, until)
        answer: Answer = self._loop.create_future()
        self._next.append(Waiting(asks, answer, until))
        found = await answer
        if isinstance(found, str):
            raise StoreUnavailableError(found)
        return found

    async def _at_once(self, asks: Sequence[Ask], until: float) -> Sequence[Claim]:
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101  # narrows: a coroutine runs in a task
        alone = self._alone = Alone(task, until)
        try:
            return await self._send(asks)
        except asyncio.CancelledError:
            # As asyncio.timeout tells its own cancellation from that of others.
            if alone.withdrawn() and task.cancelling() <= alone.cancelling:
                raise StoreUnavailableError(self._late) from None
            raise
        except StoreError:
            raise
        except Exception as error:  # the request goes on whatever was stumbled over
            raise StoreUnavailableError(stumbled(error)) from error
        finally:
            alone.withdrawn()
            self._alone = None
            if self._next:
                self._task = self._loop.create_task(self._run())

    @property
    def _late(self) -> str:
        return f"no answer within {self._budget:g} s"

    async def _run(self) -> None:
        while self._next:
            await self._round()
        self._task = None

    async def _round(self) -> None:
        sent, self._next = self._next[:MOST], self._next[MOST:]
        self._sent = sent
        asks = [ask for one in sent for ask in one.asks]
        try:
            winners = await self._send(asks)
        except StoreError as error:
            fail(sent, str(error))
        except asyncio.CancelledError:
            fail(sent, "the store was not asked to the end")
            raise
        except Exception as error:  # noqa: BLE001  # whatever it was, requests wait for this task
            fail(sent, stumbled(error))
        else:
            at = 0
            for one in sent:
                if not one.answer.done():
                    one.answer.set_result(winners[at : at + len(one.asks)])
                at += len(one.asks)
        if self._sent is sent:  # not of the round that took its place when it was too late
            self._sent = []

    def _tick(self) -> None:
        """Who has waited for long enough waits no more."""
        now = self._loop.time()
        self._timer = None
        alone = self._alone
        if alone is not None and alone.until <= now and not alone.late:
            alone.cancel()
        late = [one for one in (*self._sent, *self._next) if one.until <= now]
        fail(late, self._late)
        self._next = [one for one in self._next if one.until > now]
        if self._sent and all(one.answer.done() for one in self._sent) and self._task is not None:
            # Nobody needs this answer; the next batch begins with a fresh question.
            self._task.cancel()
            self._sent = []
            self._task = self._loop.create_task(self._run()) if self._next else None
        left = [one.until for one in (*self._sent, *self._next) if not one.answer.done()]
        if alone is not None and not alone.late:
            left.append(alone.until)
        if left:
            self._timer = self._loop.call_at(min(left), self._tick)

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._alone is not None and not self._alone.late:
            self._alone.cancel()
        fail((*self._sent, *self._next), "the event loop ends")
        self._next = []
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def stumbled(error: Exception) -> str:
    """What to say of a failure that nobody foresaw; who opens the circuit tells it once."""
    logger.debug("claims could not be asked for", exc_info=error)
    return f"{type(error).__name__} (at level DEBUG the log has more)"


def fail(waiting: Sequence[Waiting], why: str) -> None:
    """End these waits."""
    for one in waiting:
        if not one.answer.done():
            one.answer.set_result(why)
