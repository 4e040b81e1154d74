"""A forecast as a picture: the weight of a good release over time, and when bad ones are caught."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from canary_middleware.core.weight import FULL
from canary_middleware.simulation.course import End
from canary_middleware.simulation.forecast import Bad, Forecast

WIDTH: Final = 960
HEIGHT: Final = 590
LEFT, RIGHT = 70, 700
TOP: Final = ((80.0, 260.0), (340.0, 550.0))
"""Upper and lower edge of both panels."""
COLORS: Final = ("#c0392b", "#e67e22", "#8e44ad", "#2980b9", "#16a085", "#7f8c2d", "#34495e")
_SHOWN: Final = 40
"""Ways of good releases that are drawn."""
_TICKS: Final = (
    (1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"),
    (6 * 3600.0, "6 h"), (86_400.0, "1 d"), (7 * 86_400.0, "7 d"), (30 * 86_400.0, "30 d"),
)  # fmt: skip

Place = tuple[float, float]


class Axis:
    """Time from left to right, on a logarithmic scale.

    Args:
        first: seconds at the left edge.
        last: seconds at the right edge.
    """

    def __init__(self, first: float, last: float) -> None:
        self.first = max(1.0, first)
        self.last = max(2 * self.first, last)

    def x(self, seconds: float) -> float:
        """Pixels."""
        at = math.log(min(max(seconds, self.first), self.last) / self.first)
        return LEFT + (RIGHT - LEFT) * at / math.log(self.last / self.first)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Moments with a label."""
        return [(at, label) for at, label in _TICKS if self.first <= at <= self.last]


def svg(forecast: Forecast, title: str) -> str:
    """A whole file, without anything from elsewhere."""
    axis = _axis(forecast)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    font = 'font-family="sans-serif" font-size="13" fill="#222"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>',
        _text(LEFT, 28, title, size=17),
        *_panel(axis, *TOP[0], "weight of a good release"),
        *_ways(forecast, axis),
        *_promotion(forecast, axis),
        *_panel(axis, *TOP[1], "share of bad releases rolled back"),
        *_curves(forecast.bad, axis),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axis(forecast: Forecast) -> Axis:
    ends = [*forecast.good.ends, *(end for bad in forecast.bad for end in bad.caught)]
    times = [end.time for end in ends] or [3600.0]
    return Axis(min(60.0, max(1.0, min(times) / 2)), max(times) * 1.1)


def _panel(axis: Axis, top: float, bottom: float, name: str) -> Iterator[str]:
    yield _text(LEFT, top - 10, name, size=14)
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        yield _line((LEFT, y), (RIGHT, y), "#ddd")
        yield _text(LEFT - 8, y + 4, f"{share:.0%}", anchor="end")
    for at, label in axis.ticks:
        yield _line((axis.x(at), top), (axis.x(at), bottom), "#eee")
        yield _text(axis.x(at), bottom + 18, label, anchor="middle")


def _ways(forecast: Forecast, axis: Axis) -> Iterator[str]:
    top, bottom = TOP[0]
    shown = forecast.good.ends[:_SHOWN]
    for end in shown:
        way = [(axis.x(p.time), bottom - p.weight / FULL * (bottom - top)) for p in end.way]
        yield _polyline(way, "#2e7d32", width=1.6, opacity=max(0.25, 3 / (len(shown) + 3)))


def _promotion(forecast: Forecast, axis: Axis) -> Iterator[str]:
    top, bottom = TOP[0]
    good, x = forecast.good, RIGHT + 16
    half = good.time(0.5)
    if half is not None:
        yield _line((axis.x(half), top), (axis.x(half), bottom), "#2e7d32", dash="4 3")
    words = [
        f"promoted: {good.promoted:.0%}",
        f"half of them after {about(half)}" if half is not None else "",
        f"rolled back by mistake: {good.false_rollbacks:.1%}",
        f"holding: {good.under_way:.0%}",
    ]
    for index, word in enumerate(filter(None, words)):
        yield _text(x, top + 16 + 20 * index, word)


def _curves(bads: Sequence[Bad], axis: Axis) -> Iterator[str]:
    top, bottom = TOP[1]
    for index, bad in enumerate(bads):
        color = COLORS[index % len(COLORS)]
        yield _polyline(_climb(bad, axis, top, bottom), color, width=2.2)
        y = top + 10 + 30 * index
        yield _line((RIGHT + 16, y), (RIGHT + 40, y), color, width=3)
        yield _text(RIGHT + 48, y + 4, bad.harm.name)
        yield _text(RIGHT + 48, y + 18, _cost(bad), size=11, fill="#666")


def _cost(bad: Bad) -> str:
    if not bad.ends:
        return "no guard watches for this"
    visitors = bad.expected(_visitors)
    if visitors is None:
        return "never rolled back"
    late = "" if bad.chance == 1 else f", {bad.chance:.0%} in time"
    return f"after {visitors:,.0f} canary visitors{late}"


def _visitors(end: End) -> float:
    return float(end.toll.visitors)


def _climb(bad: Bad, axis: Axis, top: float, bottom: float) -> list[Place]:
    """Steps upwards at every rollback."""
    level = bottom
    way: list[Place] = [(axis.x(axis.first), level)]
    for number, time in enumerate(sorted(end.time for end in bad.caught), start=1):
        x = axis.x(time)
        way.append((x, level))
        level = bottom - number / len(bad.ends) * (bottom - top)
        way.append((x, level))
    return [*way, (RIGHT, level)]


def about(seconds: float) -> str:
    """Two digits in the unit that fits: ``"3.2 h"``."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else _whole(seconds, size)
    return f"{seconds:.2g} s"


def _whole(seconds: float, size: float) -> str:
    return f"{seconds / size:,.0f} {'d' if size == 86_400.0 else 'h'}"


# --- elements ------------------------------------------------------------------------------------


def _text(
    x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", fill: str = "#222"
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(a: Place, b: Place, color: str, *, width: float = 1.0, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width}"{dashes}/>'


def _polyline(way: Sequence[Place], color: str, *, width: float = 1.0, opacity: float = 1.0) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in way)
    look = f'stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity:.2f}"'
    return f'<polyline points="{points}" fill="none" {look} stroke-linejoin="round"/>'
