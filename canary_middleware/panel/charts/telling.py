"""A picture in words and as a table, for who does not see it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from canary_middleware.panel.charts import ticks
from canary_middleware.panel.charts.values import LARGEST, Line, Picture, Unit

ROWS: Final = 12
"""Moments in a table."""
_RECENT: Final = 3
_NO_VALUE: Final = "-"
NOTHING: Final = "nothing was measured"


def described(picture: Picture) -> str:
    """What can be seen, in a few sentences."""
    span = f"From {ticks.clock(picture.since)} to {ticks.clock(picture.until)} UTC."
    lines = " ".join(f"{line.label}: {_course(line, picture)}." for line in picture.lines)
    seen = [mark for mark in picture.marks if picture.since <= mark.at <= picture.until]
    marks = "; ".join(f"{ticks.clock(mark.at)} {mark.label}" for mark in seen)
    return f"{span} {lines}{f' Marked: {marks}.' if marks else ''}"


def _course(line: Line, picture: Picture) -> str:
    found = [
        value
        for at, value in line.readings
        if value is not None and not math.isnan(value) and picture.since <= at <= picture.until
    ]
    if not found:
        return NOTHING
    last, least, most = (_told(one, picture.unit) for one in (found[-1], min(found), max(found)))
    return f"{last} at the end" + (f", between {least} and {most}" if least != most else "")


def latest(line: Line, unit: Unit) -> str:
    """The last value, for a legend; none where nothing was measured for some moments."""
    found = [_cell(value, unit) for _, value in line.readings[-_RECENT:]]
    return next((told for told in reversed(found) if told != _NO_VALUE), _NO_VALUE)


def rows(picture: Picture) -> list[tuple[str, ...]]:
    """A few moments, evenly spread, with the value of each line."""
    moments = sorted({at for line in picture.lines for at, _ in line.readings})
    chosen = list(_spread(moments))
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 60.0
    known = [dict(line.readings) for line in picture.lines]
    return [
        (ticks.clock(at, step), *(_cell(values.get(at), picture.unit) for values in known))
        for at in chosen
    ]


def _spread(moments: Sequence[float]) -> Iterator[float]:
    if len(moments) <= ROWS:
        return iter(moments)
    last = len(moments) - 1
    return (moments[round(at * last / (ROWS - 1))] for at in range(ROWS))


def _cell(value: float | None, unit: Unit) -> str:
    return _NO_VALUE if value is None or math.isnan(value) else _told(value, unit)


def _told(value: float, unit: Unit) -> str:
    return unit.told(max(0.0, min(value, LARGEST)))
