"""What an upstream that cannot be reached costs: hardly anything; and when to ask one; pure.

Clock and chance are passed in.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

_MOST_DOUBLINGS = 64  # of a finite float, without an overflow


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double up to a cap, spread so that processes do not come back together.

    Attributes:
        base: seconds of the first, before they are spread.
        cap: most seconds.
    """

    base: float
    cap: float

    def after(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row, at least one.

        Args:
            failures: in a row.
            chance: evenly in [0, 1); the wait is between half of the whole and the whole.
        """
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        return min(self.cap, self.base * 2.0**doublings) * (0.5 + chance / 2)


class Health:
    """Passive: learns from connects what requests did anyway.

    After a connect that failed, nobody tries until the back-off is over; then one trial passes
    and decides for all. A trial of which nothing is heard counts for nothing after a while: its
    request may have been cancelled.

    Safe in threads: the usual case reads one attribute, everything else holds a lock.

    Args:
        base: seconds of the first back-off.
        cap: seconds of the longest.
        trial: seconds after which a silent trial is given up; longer than a connect may take.
    """

    __slots__ = ("_backoff", "_failures", "_lock", "_trial", "_trying", "_until")

    def __init__(self, base: float = 0.5, cap: float = 30.0, trial: float = 5.0) -> None:
        self._backoff = Backoff(base, cap)
        self._trial = trial
        self._failures = 0
        self._until = -math.inf
        self._trying = False
        self._lock = threading.Lock()

    def blocked(self, now: float) -> bool:
        """Whether not to connect now. Who hears no says ``refused``, ``answered`` or ``forgone``.

        Args:
            now: monotonic seconds.
        """
        if not self._failures:
            return False
        with self._lock:
            if not self._failures:
                return False
            if now < self._until:
                return True
            self._trying = True
            self._until = now + self._trial
            return False

    def refused(self, now: float, chance: float) -> bool:
        """A connect was refused, timed out or found no way.

        Of connects that were under way together, the first to fail speaks for all.

        Args:
            now: monotonic seconds.
            chance: evenly in [0, 1).

        Returns:
            Whether this was the first failure after a success: worth a line in a log.
        """
        with self._lock:
            if now < self._until and not self._trying:
                return False
            self._failures += 1
            self._trying = False
            self._until = now + self._backoff.after(self._failures, chance)
            return self._failures == 1

    def forgone(self) -> None:
        """A connect was broken off: nothing is known of it, and if it was the trial, another is.

        Otherwise clients that leave at once could keep everybody from an upstream that is back.
        """
        if self._trying:
            with self._lock:
                if self._trying:
                    self._trying, self._until = False, -math.inf

    def answered(self) -> bool:
        """A connect succeeded; whether that ended a time of failures."""
        if not self._failures:
            return False
        with self._lock:
            ended = self._failures > 0
            self._failures, self._trying, self._until = 0, False, -math.inf
            return ended


class Probe:
    """Readiness: when the next probe of one upstream is due. For one prober.

    Args:
        base: seconds until the second probe of an upstream that does not answer.
        cap: most seconds between two probes; also those after one that was answered, as what is
            known of an upstream is that old when everybody is sent there.
    """

    __slots__ = ("_backoff", "_due", "_failures")

    def __init__(self, base: float = 0.5, cap: float = 3.0) -> None:
        self._backoff = Backoff(base, cap)
        self._failures = 0
        self._due = -math.inf

    def due(self, now: float) -> float:
        """Seconds until the next probe; 0 when it is due.

        Args:
            now: monotonic seconds.
        """
        return max(0.0, self._due - now)

    def probed(self, ok: bool, now: float, chance: float) -> None:
        """A probe is over.

        Args:
            ok: whether it was answered well.
            now: monotonic seconds at its end, so that probes that hang are spaced too.
            chance: evenly in [0, 1).
        """
        self._failures = 0 if ok else self._failures + 1
        wait = self._backoff.cap if ok else self._backoff.after(self._failures, chance)
        self._due = now + wait
