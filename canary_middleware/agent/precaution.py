"""The absolute ceiling over both versions: the last seconds of a process, and what breaks it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from canary_middleware.core.guards import Precaution
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import STARTS
from canary_middleware.core.totals import Ledgers, Pulse, Seen
from canary_middleware.core.weight import FULL, parse_weight

MANY: Final = 3
"""Slow answers below which nobody speaks of one in a hundred."""


class _Mark(NamedTuple):
    """The counts of a moment, monotonic seconds."""

    at: float
    n: int
    failures: int
    slow: int


class Pulses:
    """What happened in the last seconds, from counts that only grow."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], tuple[int, deque[_Mark]]] = {}

    def pulse(
        self,
        release: tuple[str, str],
        ledgers: Ledgers,
        precaution: Precaution,
        now: float,
        stall: float,
        overdue: int = 0,
    ) -> Pulse:
        """The pulse of this process; called again and again.

        Args:
            release: whose.
            ledgers: what was counted so far.
            precaution: what is slow, and how long the window is.
            now: monotonic seconds.
            stall: seconds for which an event loop did not turn in the window.
            overdue: requests that wait for their answer for longer than ``precaution.p99`` now. A
                queue that nobody leaves has no answers to count.
        """
        run, marks = self._marks.get(release, (-1, deque[_Mark]()))
        latest = _mark(ledgers.seen, precaution, now)
        if run != ledgers.run or (marks and latest.n < marks[-1].n):
            marks = deque()  # it began at zero
        self._marks[release] = ledgers.run, marks
        marks.append(latest)
        while len(marks) > 1 and marks[1].at <= now - precaution.window:
            marks.popleft()
        first = marks[0]
        return Pulse(
            latest.n - first.n + overdue,
            max(0, latest.failures - first.failures),
            max(0, latest.slow - first.slow) + overdue,
            round(stall, 3),
        )


def _mark(seen: Mapping[Cohort, Seen], precaution: Precaution, now: float) -> _Mark:
    slow = bisect_left(STARTS, precaution.p99) + 1
    both = [*seen.values()]
    return _Mark(
        now,
        sum(one.n for one in both),
        sum(one.failures for one in both),
        sum(sum(one.starts[slow:]) for one in both),
    )


def broken(precaution: Precaution, pulse: Pulse) -> str | None:
    """Which ceiling is broken, in words; ``None`` for none."""
    window, enough = precaution.window, pulse.n >= precaution.least
    if enough and pulse.failures * FULL >= parse_weight(precaution.failures) * pulse.n:
        return f"{pulse.failures} of {pulse.n} answers of both versions failed within {window} s"
    if enough and pulse.slow * 100 > pulse.n and pulse.slow >= MANY:
        slow = f"{pulse.slow} of {pulse.n} answers of both versions"
        return f"{slow} took more than {precaution.p99:g} s within {window} s"
    if pulse.stall > precaution.stall:
        return f"an event loop of the application did not turn for {pulse.stall:.1f} s"
    return None
