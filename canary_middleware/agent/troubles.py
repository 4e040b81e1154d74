"""What fails now and then: told once, and not tried again at once."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from typing import Final

from canary_middleware.errors import StoreError

logger = logging.getLogger("canary_middleware")

BACK_OFF: Final = 1.0
"""Least seconds between two tries of what fails."""
TOLD_EVERY: Final = 600.0
"""Seconds between two tracebacks of one kind of error."""


class Troubles:
    """One log line when something breaks and one when it works again, never one per attempt."""

    def __init__(self) -> None:
        self._present: set[str] = set()

    @property
    def present(self) -> tuple[str, ...]:
        """What fails now; asked by the thread that tells."""
        return tuple(sorted(self._present))

    def begin(self, what: str, error: object) -> None:
        """It fails; told once."""
        if what not in self._present:
            self._present.add(what)
            logger.warning("%s: degraded: %s", what, error)

    def end(self, what: str) -> None:
        """It works; told if it did not before."""
        if what in self._present:
            self._present.remove(what)
            logger.warning("%s: recovered", what)


class Surprises:
    """Errors that nobody foresaw: of each kind one traceback, and then one in ten minutes.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at: dict[type[Exception], float] = {}
        self._left_out = 0

    def tell(self, what: str, error: Exception) -> None:
        """It has happened; told now, or counted for the next time."""
        now = self._clock()
        if now - self._told_at.get(type(error), -math.inf) < TOLD_EVERY:
            self._left_out += 1
            return
        more = f" ({self._left_out} more since the last time)" if self._left_out else ""
        self._told_at[type(error)], self._left_out = now, 0
        logger.error("%s%s", what, more, exc_info=error)


class Attempts:
    """Something that is asked of the store, with a back-off of its own.

    Args:
        what: for the log.
        troubles: tells of it.
        count: counts a rare event; see docs/telemetry.md.
        clock: monotonic seconds.

    Attributes:
        failed_at: monotonic seconds of the last failure, minus infinity without one.
    """

    def __init__(
        self,
        what: str,
        troubles: Troubles,
        count: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._what = what
        self._troubles = troubles
        self._count = count
        self._clock = clock
        self._not_before = self.failed_at = -float("inf")

    @property
    def allowed(self) -> bool:
        """Whether it may be tried now."""
        return self._clock() >= self._not_before

    def make(self, action: Callable[[], object]) -> bool:
        """Try it, unless it failed just now.

        Returns:
            Whether it succeeded.
        """
        if not self.allowed:
            return False
        try:
            action()
        except StoreError as error:
            self.failed_at = self._clock()
            # Spread, so that the processes of a site do not come back in step.
            self._not_before = self.failed_at + BACK_OFF * random.uniform(1.0, 1.7)
            self._count("store_error")
            self._troubles.begin(self._what, error)
            return False
        self._troubles.end(self._what)
        return True
