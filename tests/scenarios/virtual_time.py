"""An event loop in which waiting takes no time: its clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
SPIN = 10_000
"""Turns of a loop within one moment; no scene has as many."""


class JumpingSelector(selectors.DefaultSelector):
    """Never blocks; adds up the seconds for which it would have."""

    skipped = 0.0
    turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("everybody waits, and nothing will ever happen")
        if timeout > 0:
            # A nanosecond at least: less may be lost in a float, and then time stands still.
            self.skipped += max(timeout, 1e-9)
            self.turns = 0
        self.turns += 1
        if self.turns > SPIN:
            raise AssertionError("the loop spins: turn after turn, and no time passes")
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For coroutines that use neither threads nor sockets."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped

    def stand_still(self, seconds: float) -> None:
        """As if a callback had taken so long."""
        self._jumping.skipped += seconds


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
