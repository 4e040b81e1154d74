"""A picture as SVG: axes with round ticks, lines with gaps, marks and levels.

Colours are classes of the style sheet, so that both themes and our own policy hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.panel.charts import ticks
from canary_middleware.panel.charts.svg import element, number, words
from canary_middleware.panel.charts.telling import described
from canary_middleware.panel.charts.values import (
    LARGEST,
    Event,
    Level,
    Line,
    Mark,
    Picture,
    Reading,
)

LEFT: Final = 48.0
RIGHT: Final = 12.0
TOP: Final = 16.0
BOTTOM: Final = 24.0
_APART: Final = 58.0
"""Room of one label of the time axis."""

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Where values are drawn: time to the right, values upwards."""

    left: float
    top: float
    right: float
    bottom: float
    since: float
    until: float
    most: float

    def x(self, at: float) -> float:
        """A moment; one outside is at an edge."""
        share = (at - self.since) / (self.until - self.since)
        return self.left + (self.right - self.left) * _inside(share)

    def y(self, value: float) -> float:
        """A value; one outside is at an edge."""
        return self.bottom - (self.bottom - self.top) * _inside(value / self.most)


def draw(picture: Picture) -> str:
    """The whole element, with a title and a description in words."""
    box, step = _box(picture)
    ident = picture.ident
    parts = [
        words("title", picture.title, id=f"{ident}-title"),
        words("desc", described(picture), id=f"{ident}-desc"),
        *_values(box, step, picture),
        *_times(box),
        *(part for level in picture.levels for part in _level(level, box)),
        *(part for mark in picture.marks for part in _mark(mark, box)),
        # Stable first: where both are the same the canary is seen.
        *(part for line in reversed(picture.lines) for part in _line(line, box)),
    ]
    return element(
        "svg", "".join(parts), xmlns="http://www.w3.org/2000/svg", class_="chart",
        viewBox=f"0 0 {picture.width} {picture.height}", role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
    )  # fmt: skip


def _inside(share: float) -> float:
    # A comparison with what is no number is false, and leads to 0.
    return min(share, 1.0) if share > 0 else 0.0


def _box(picture: Picture) -> tuple[Box, float]:
    found = [
        min(value, LARGEST)
        for line in picture.lines
        for _, value in line.readings
        if value is not None and 0 < value < math.inf
    ]
    largest = max([*found, picture.unit.least])
    most = picture.unit.most
    top, step = ticks.upper(largest if most is None else min(largest, most))
    box = Box(
        LEFT, TOP, picture.width - RIGHT, picture.height - BOTTOM, picture.since,
        max(picture.until, picture.since + 1.0), top,
    )  # fmt: skip
    return box, step


def _values(box: Box, step: float, picture: Picture) -> Iterator[str]:
    for value in ticks.values(box.most, step):
        y = box.y(value)
        yield element("line", x1=box.left, y1=y, x2=box.right, y2=y, class_="grid")
        told = picture.unit.told(value)
        yield words("text", told, x=box.left - 6, y=y + 4, class_="tick", text_anchor="end")


def _times(box: Box) -> Iterator[str]:
    most = max(1, int((box.right - box.left) / _APART))
    for at, told in ticks.times(box.since, box.until, most):
        x = box.x(at)
        yield element("line", x1=x, y1=box.bottom, x2=x, y2=box.bottom + 4, class_="axis")
        near = "end" if box.right - x < 18 else "middle"
        yield words("text", told, x=x, y=box.bottom + 17, class_="tick", text_anchor=near)
    y = box.bottom
    yield element("line", x1=box.left, y1=y, x2=box.right, y2=y, class_="axis")


def _level(level: Level, box: Box) -> Iterator[str]:
    if not 0 <= level.value <= box.most:
        return
    y = box.y(level.value)
    yield element("line", x1=box.left, y1=y, x2=box.right, y2=y, class_="level")
    yield words(
        "text", level.label, x=box.right - 2, y=y - 4, class_="level-word", text_anchor="end"
    )


_SHAPES: Final = {
    Event.STEP: "M{x} 4l5 8h-10z",
    Event.BACK: "M{x} 12l5 -8h-10z",
    Event.HELD: "M{w} 4h3v8h-3zM{e} 4h3v8h-3z",
    Event.OTHER: "M{x} 3l5 5l-5 5l-5 -5z",
}


def _mark(mark: Mark, box: Box) -> Iterator[str]:
    if not box.since <= mark.at <= box.until:
        return
    x = box.x(mark.at)
    kind = f"mark {mark.event.value}"
    line = element("line", x1=x, y1=TOP - 2, x2=x, y2=box.bottom, class_="mark-line")
    shape = _SHAPES[mark.event].format(x=number(x), w=number(x - 4), e=number(x + 1))
    yield element("g", words("title", mark.label) + line + element("path", d=shape), class_=kind)


def _line(line: Line, box: Box) -> Iterator[str]:
    kind = f"line {line.kind.value}"
    for places in _stretches(line, box):
        if len(places) == 1:
            yield element("circle", cx=places[0][0], cy=places[0][1], r=2.5, class_=f"dot {kind}")
        else:
            way = "L".join(f"{number(x)} {number(y)}" for x, y in places)
            yield element("path", d=f"M{way}", class_=kind)


def _stretches(line: Line, box: Box) -> Iterator[list[Place]]:
    """What is drawn without lifting the pen."""
    places: list[Place] = []
    for at, value in _within(line.readings, box):
        if value is None or math.isnan(value):
            if places:
                yield places
            places = []
            continue
        x, y = box.x(at), box.y(value)
        if line.stepped and places:
            places.append((x, places[-1][1]))
        places.append((x, y))
    if places:
        yield places


def _within(readings: Sequence[Reading], box: Box) -> Iterator[Reading]:
    """Those of the time that is shown."""
    return ((at, value) for at, value in readings if box.since <= at <= box.until)
