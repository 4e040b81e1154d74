"""Round numbers and round times for axes."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TIMES: Final = (
    5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
    14_400.0, 21_600.0, 43_200.0, 86_400.0,
)  # fmt: skip
_DAY: Final = 86_400.0


def upper(largest: float, parts: int = 4) -> tuple[float, float]:
    """The round upper edge of an axis that begins at 0, and the step of its ticks.

    Args:
        largest: value to hold, above 0.
        parts: how many steps there may be.
    """
    rough = largest / parts
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in _STEPS if one * power >= rough * (1 - 1e-9))
    return step * math.ceil(largest / step * (1 - 1e-9)), step


def values(top: float, step: float) -> list[float]:
    """From 0 to the upper edge."""
    return [step * at for at in range(round(top / step) + 1)]


def times(since: float, until: float, most: int = 6) -> list[tuple[float, str]]:
    """Round moments in UTC with their words, at most so many."""
    span = until - since
    fitting = (one for one in _TIMES if span / one <= most)
    step = next(fitting, _DAY * math.ceil(span / _DAY / most))
    first = math.ceil(since / step) * step
    moments = (first + step * at for at in range(int(span // step) + 2))
    return [(at, clock(at, step)) for at in moments if since <= at <= until]


def clock(at: float, step: float = 60.0) -> str:
    """A moment as an axis has it: seconds where they differ, the day where only that does."""
    moment = datetime.fromtimestamp(at, UTC)
    if step >= _DAY:
        return moment.strftime("%d %b")
    return moment.strftime("%H:%M:%S" if step < 60 else "%H:%M")
