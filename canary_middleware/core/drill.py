"""A rehearsal: faults injected into the canary, for a bounded share of its requests and time."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 3600
"""Seconds that a drill lasts at most."""


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
