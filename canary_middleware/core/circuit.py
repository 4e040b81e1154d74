"""The circuit breaker between requests and the store of shared affinity; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FAILURES: Final = 3
"""Failures in a row that open it."""
OPEN: Final = 1.0
"""Least seconds for which it stays open."""
ANYWAY: Final = 15.0
"""Seconds after which one request tries whatever the agent says: a process can be so busy that no
look of its agent is quick, and one wait in so many seconds is no burden."""


@dataclass(slots=True)
class Circuit:
    """Closed while the store answers; who asks passes in the time.

    Hardly a request is spent on trying whether the store is back: an agent looks at it anyway, and
    a look that succeeded after the circuit opened closes it.

    Attributes:
        failures: in a row.
        opened: monotonic seconds; ``None`` while it is closed.
    """

    failures: int = 0
    opened: float | None = None

    def allows(self, now: float, looked: float) -> bool:
        """Whether to ask.

        Args:
            now: monotonic seconds.
            looked: when a look at the store that succeeded was begun; minus infinity for never.
        """
        if self.opened is None:
            return True
        open_for = now - self.opened
        if open_for < OPEN or (looked <= self.opened and open_for < ANYWAY):
            return False
        # One more failure opens it again.
        self.opened, self.failures = None, FAILURES - 1
        return True

    def failed(self, now: float) -> bool:
        """The store did not answer in time; whether that opened the circuit."""
        self.failures += 1
        if self.opened is None and self.failures >= FAILURES:
            self.opened = now
            return True
        return False

    def succeeded(self) -> None:
        """The store answered."""
        self.failures = 0
