"""Charts of a rollout: which there are, and what is put into each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry
from canary_middleware.core.weight import FULL
from canary_middleware.overview.scene import View
from canary_middleware.panel.charts import units
from canary_middleware.panel.charts.drawing import draw
from canary_middleware.panel.charts.telling import latest, rows
from canary_middleware.panel.charts.values import Kind, Level, Line, Mark, Picture, Reading
from canary_middleware.panel.pages.looking import Look
from canary_middleware.panel.pages.trail import marks
from canary_middleware.stores import StateStore


class Span(NamedTuple):
    """How much time charts show."""

    key: str
    word: str
    seconds: int


SPANS: Final = (
    Span("15m", "15 min", 900),
    Span("1h", "1 hour", 3_600),
    Span("6h", "6 hours", 21_600),
    Span("1d", "1 day", 86_400),
)
NORMAL: Final = SPANS[1]


class Key(NamedTuple):
    """One line in a legend, with its last value."""

    kind: str
    label: str
    latest: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart as a template has it.

    Attributes:
        ident: unique in a page.
        title: what is shown.
        keys: the legend.
        svg: the drawing.
        narrow: the same for phones, where a wide one could not be read; ``""`` for the others.
        rows: a few moments in numbers.
        wide: it takes the whole width.
        empty: there is nothing to see.
    """

    ident: str
    title: str
    keys: tuple[Key, ...]
    svg: Markup
    narrow: Markup
    rows: tuple[tuple[str, ...], ...]
    wide: bool = False
    empty: bool = False


def span_of(key: str) -> Span:
    """The one that was chosen, an hour by default."""
    return next((one for one in SPANS if one.key == key), NORMAL)


def charts(
    store: StateStore, look: Look, view: View, past: Sequence[Audit], key: str
) -> dict[str, Any]:
    """What the part of a page needs: the charts, and why some of them cannot be drawn.

    Raises:
        StoreError: the store does not answer.
    """
    span = span_of(key)
    time = look.at - span.seconds, look.at
    seen = tuple(marks(past))
    found = [_weight(view.entry, bool(view.killed), seen, time)] if view.entry else []
    return {"charts": found, "trouble": ""}


def plot(picture: Picture, *, wide: bool = False) -> Plot:
    """A picture as a template has it; both drawings of a wide one say the same."""
    narrow = replace(picture, ident=f"{picture.ident}-narrow")
    broad = replace(picture, width=1200, height=190) if wide else picture
    return Plot(
        ident=picture.ident,
        title=picture.title,
        keys=tuple(
            Key(one.kind.value, one.label, latest(one, picture.unit)) for one in picture.lines
        ),
        svg=Markup(draw(broad)),  # noqa: S704 # every text in it is escaped where it is drawn
        narrow=Markup(draw(narrow)) if wide else Markup(),  # noqa: S704 # likewise
        rows=tuple(rows(picture)),
        wide=wide,
        empty=all(value is None for line in picture.lines for _, value in line.readings),
    )


def _weight(entry: Entry, killed: bool, seen: Sequence[Mark], time: tuple[float, float]) -> Plot:
    since, until = time
    readings = list(_periods(entry, since, until, killed=killed))
    line = Line(entry.release, Kind.CANARY, readings, stepped=True)
    levels = [Level(one, "") for one in entry.plan.steps if one < FULL]
    picture = Picture(
        "chart-weight", "Weight: share of visitors on canary", units.WEIGHT, [line],
        since, until, seen, levels,
    )  # fmt: skip
    return plot(picture, wide=True)


def _periods(entry: Entry, since: float, until: float, *, killed: bool) -> Iterator[Reading]:
    """The weight of the run: what it was at the left edge, each change, and what it is now."""
    before = [one for one in entry.periods if one.at <= since]
    if before:
        yield since, float(before[-1].weight)
    for one in entry.periods:
        if since < one.at <= until:
            yield one.at, float(one.weight)
    yield until, 0.0 if killed else float(entry.weight)
