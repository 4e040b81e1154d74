"""Whether the event loops of the application turn: one that does not hurts both versions."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

MOST: Final = 8
"""Loops that are watched; an application has one per process."""
BLIND: Final = 1.5
"""Seconds between two looks from which on the process as a whole did not run, or was kept from
looking by its store; what happened meanwhile says nothing about a loop.
"""
KEPT: Final = 256
"""Stalls remembered."""


class _Watched:
    """One loop, and the question that it has not answered yet."""

    def __init__(self, loop: AbstractEventLoop, clock: Callable[[], float]) -> None:
        self.loop = weakref.ref(loop)
        self._clock = clock
        self.asked_at: float | None = None
        self._answered_at: float | None = None

    def _answer(self) -> None:
        """Called by the loop, in its thread."""
        self._answered_at = self._clock()

    def ask(self, loop: AbstractEventLoop, now: float) -> None:
        """Unless a question is under way."""
        if self.asked_at is None and loop.is_running():
            self._answered_at, self.asked_at = None, now
            loop.call_soon_threadsafe(self._answer)

    def waited(self, now: float) -> float:
        """Seconds that the last question waited, or waits."""
        asked_at, answered_at = self.asked_at, self._answered_at
        if asked_at is None:
            return 0.0
        if answered_at is None:
            return now - asked_at
        self.asked_at = None
        return answered_at - asked_at

    def forget(self) -> None:
        """Nothing can be said about the last question."""
        self.asked_at = None


class Loops:
    """The event loops of this process; empty under WSGI.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._watched: tuple[_Watched, ...] = ()
        # By loop and question: seen when, and how long until then.
        self._stalls: dict[tuple[int, float], tuple[float, float]] = {}
        self._looked_at = self._clock()

    def watch(self, loop: AbstractEventLoop) -> None:
        """This loop serves requests; it is not kept alive by it. Cheap when it is known."""
        if self._pid != os.getpid():
            self._begin()  # those of the parent turn in the parent
        known = [one for one in self._watched if _alive(one)]
        if len(known) < MOST and all(one.loop() is not loop for one in known):
            self._watched = (*known, _Watched(loop, self._clock))

    def look(self) -> None:
        """Ask each loop for a turn, and note how long it took the last time; never blocks."""
        if self._pid != os.getpid():
            self._begin()
        now = self._clock()
        blind, self._looked_at = now - self._looked_at > BLIND, now
        for one in self._watched:
            loop = one.loop()
            if loop is None or blind or not loop.is_running():
                one.forget()
            asked_at, waited = one.asked_at, one.waited(now)
            if asked_at is not None and waited > 0:
                self._stalls[id(one), asked_at] = now, waited
            if loop is not None:
                self._ask(one, loop, now)
        while len(self._stalls) > KEPT:
            del self._stalls[next(iter(self._stalls))]

    def _ask(self, one: _Watched, loop: AbstractEventLoop, now: float) -> None:
        try:
            one.ask(loop, now)
        except RuntimeError:  # it was closed meanwhile
            one.forget()

    def stall(self, window: float) -> float:
        """The longest that a loop did not turn, of what was seen in the last ``window`` seconds."""
        return max(self._lately(window), default=0.0)

    def stalls(self, window: float) -> float:
        """The same of what happened twice: once may be a pause of the machine.

        A stall as long as the ``window`` counts by itself.
        """
        lately = sorted(self._lately(window), reverse=True)
        if lately and lately[0] >= window:
            return lately[0]
        return lately[1] if len(lately) > 1 else 0.0

    def _lately(self, window: float) -> list[float]:
        since = self._clock() - window
        return [seconds for at, seconds in self._stalls.values() if at >= since]


def _alive(one: _Watched) -> bool:
    loop = one.loop()
    return loop is not None and not loop.is_closed()
