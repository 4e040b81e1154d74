"""A rehearsal: faults injected into the canary, for a bounded share of its requests and time."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from canary_middleware.core.guards import Guard, Metric, Worse
from canary_middleware.core.weight import format_weight

LONGEST: Final = 3600
"""Seconds that a drill lasts at most."""
LONGEST_DELAY: Final = 60.0
"""Seconds that a drill adds to an answer at most."""
_DELAY: Final = re.compile(r"\s*(\d{1,6}(?:\.\d{1,3})?)(ms|s)\s*", re.ASCII)
DRILLED: Final = "_drill"
"""Under which requests and first events of visitors that a drill hit are counted; no guard's name
begins like this."""


class Fault(enum.StrEnum):
    """What goes wrong."""

    ERROR = "error"
    """The answer is a 503."""
    EXCEPTION = "exception"
    """The application raises."""
    LATENCY = "latency"
    """The answer starts later."""
    HANG = "hang"
    """The answer does not start before the time-out."""
    EVENTS = "events"
    """A declared metric is observed once more than it happened."""


@dataclass(frozen=True, slots=True)
class Drill:
    """One rehearsal, as it stands in the control state. It reaches canary requests only.

    Attributes:
        fault: what is injected.
        share: of canary requests, in 0.001 %.
        begun: wall-clock seconds of its beginning.
        seconds: after which every process ends it by itself.
        delay: seconds added (latency).
        of: the declared metric (events).
        value: what is observed in addition (events).
        by: who started it.
    """

    fault: Fault
    share: int
    begun: float
    seconds: int
    delay: float = 0.0
    of: str = ""
    value: float = 1.0
    by: str = ""

    @property
    def until(self) -> float:
        """Wall-clock seconds of its end."""
        return self.begun + self.seconds

    def __str__(self) -> str:
        return f"{self.fault} in {format_weight(self.share)} of canary requests"

    def seen_by(self, guards: Iterable[Guard], gate: float) -> tuple[Guard, ...]:
        """Those that would roll back for it.

        Args:
            guards: of the release.
            gate: seconds after which an answer that has not started counts as failed.
        """
        return tuple(one for one in guards if one.breaches and self._worsens(one, gate))

    def _worsens(self, guard: Guard, gate: float) -> bool:
        if self.fault is Fault.EVENTS:
            # More is no regression where more is better.
            higher = guard.metric is Metric.NEVER or guard.worse is Worse.HIGHER
            return guard.of == self.of and higher
        late = self.fault is Fault.HANG or (self.fault is Fault.LATENCY and self.delay > gate)
        if guard.metric is Metric.FAILURES:
            return late or self.fault in (Fault.ERROR, Fault.EXCEPTION)
        return guard.metric is Metric.LATENCY and self.fault in (Fault.LATENCY, Fault.HANG)


def parse_delay(text: str) -> float:
    """``"500ms"`` → 0.5 (seconds).

    Raises:
        ValueError: no delay, or none that a drill may add; it says so.
    """
    found = _DELAY.fullmatch(text)
    seconds = float(found[1]) * (0.001 if found[2] == "ms" else 1) if found else 0.0
    if not 0 < seconds <= LONGEST_DELAY:
        hint = f'write "500ms" or "2s", at most {LONGEST_DELAY:g}s'
        raise ValueError(f"{text!r} is no delay; {hint}")
    return seconds
