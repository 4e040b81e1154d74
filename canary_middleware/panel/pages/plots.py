"""Charts of a rollout: which there are, and what is put into each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Verb
from canary_middleware.core.weight import FULL
from canary_middleware.overview import series
from canary_middleware.overview.lines import QUANTILES, Observed, Values
from canary_middleware.overview.lines import Line as Version
from canary_middleware.overview.scene import View
from canary_middleware.overview.wording import number
from canary_middleware.panel.charts import units
from canary_middleware.panel.charts.drawing import draw
from canary_middleware.panel.charts.telling import latest, rows
from canary_middleware.panel.charts.values import Kind, Level, Line, Picture, Reading, Unit
from canary_middleware.panel.pages.trail import marks
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import SeriesStore


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
POINTS: Final = 72
"""Values of a line: as many as a small chart can show calmly."""
_EARLIER: Final = 2
"""Versions of earlier releases in one chart."""
_BEFORE: Final = 10.0
"""Seconds that are shown before the first point."""
_LEAST: Final = 120.0
"""Seconds that are shown at least."""
_NONE: Final = "This store keeps no charts; see docs/stores.md."


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


class Charts:
    """Reads what charts show; what did not change is not read again.

    Args:
        store: where points are.
    """

    def __init__(self, store: StateStore) -> None:
        self._reader = series.Reader(store) if isinstance(store, SeriesStore) else None

    def of(
        self, view: View, past: Sequence[Audit], chosen: Span | None, now: float
    ) -> dict[str, Any]:
        """What the part of a page needs: the charts, and why some cannot be drawn.

        Args:
            view: the rollout.
            past: its history, for marks.
            chosen: the time to show; ``None`` for what there is of this run, an hour at most.
            now: wall-clock seconds.

        Raises:
            StoreError: the store does not answer.
        """
        begun = view.entry.begun if view.entry else now
        span = chosen or (NORMAL if now - begun >= SPANS[0].seconds else SPANS[0])
        if self._reader is None:
            return {"charts": [], "trouble": _NONE, "span": span.key}
        found = _read(self._reader, view.name, begun, chosen, now)
        refused = number(found.refused, "point", "points")
        trouble = f"{refused} cannot be read and are left out." if found.refused else ""
        charts = list(_plots(view, found, past))
        return {"charts": charts, "trouble": trouble, "span": span.key}


def _read(
    reader: series.Reader, name: str, begun: float, chosen: Span | None, now: float
) -> series.Chart:
    def since(first: float) -> series.Chart:
        return reader.read(name, min(first - _BEFORE, now - _LEAST), now, POINTS)

    edge = now - (chosen or NORMAL).seconds
    if chosen is None and edge < begun < now:
        return since(begun)
    found = reader.read(name, edge, now, POINTS)
    first = min([*(one.since for one in found.stretches), begun])
    # What began a minute ago is not to be looked for at the edge of an hour.
    late = edge < first < now and now - first < (now - edge) / 2
    return since(first) if late else found


def span_of(key: str) -> Span | None:
    """The one that was chosen, if any."""
    return next((one for one in SPANS if one.key == key), None)


def _plots(view: View, found: series.Chart, past: Sequence[Audit]) -> Iterator[Plot]:
    frame = Picture("chart", "", units.RATE, (), found.since, found.until, marks(past))
    yield _weight(view, found, past, frame)
    given = _Lines(found, frame)
    yield given.plot("rate", "Requests", units.RATE, lambda one: one.rate)
    yield given.plot("errors", "Errors, share of requests", units.SHARE, lambda one: one.errors)
    yield given.plot(
        "client-errors", "4xx, share of requests", units.SHARE, lambda one: one.client_errors
    )
    for name in QUANTILES:
        yield given.plot(
            name, f"Time until an answer starts, {name}", units.LATENCY, _quantile(name)
        )
    for guard in view.entry.guards if view.entry else ():
        if guard.of:
            yield _observed(given, guard)


def _quantile(name: str) -> Callable[[Version], Values]:
    return lambda one: one.latency[name]


class _Lines:
    """All versions of a chart, one picture after another."""

    def __init__(self, found: series.Chart, frame: Picture) -> None:
        self._times, self._frame = found.times, frame
        now = [one for one in found.lines if one.cohort is not None]
        earlier = (one for one in found.lines if one.cohort is None)
        self._lines = [*now, *islice(earlier, _EARLIER)]

    def plot(self, ident: str, title: str, unit: Unit, of: Callable[[Version], Values]) -> Plot:
        """One number of every version."""
        lines = [
            Line(_label(one), _kind(one), list(zip(self._times, of(one), strict=True)))
            for one in self._lines
        ]
        return _plot(
            replace(self._frame, ident=f"chart-{ident}", title=title, unit=unit, lines=lines)
        )


_OBSERVED: Final[Mapping[Metric, tuple[str, Unit, str]]] = {
    Metric.SHARE: ("{of}, share of requests", units.SHARE, "share"),
    Metric.MEAN: ("{of}, mean per visitor who has any", units.COUNT, "value"),
    Metric.NEVER: ("{of} above {above:g}, share of those observed", units.SHARE, "above"),
}


def _observed(given: _Lines, guard: Guard) -> Plot:
    title, unit, name = _OBSERVED[guard.metric]

    def values(one: Version) -> Values:
        found = one.observed.get(guard.name)
        return _part(found, name) if found else (None,) * len(one.rate)

    words = title.format(of=guard.of, above=guard.above)
    return given.plot(f"of-{guard.name}", words[:1].upper() + words[1:], unit, values)


def _part(found: Observed, name: str) -> Values:
    return {"share": found.share, "value": found.value, "above": found.above}[name]


def _label(one: Version) -> str:
    return f"{one.version} {one.cohort.value if one.cohort else 'earlier'}"


def _kind(one: Version) -> Kind:
    return Kind(one.cohort.value) if one.cohort else Kind.EARLIER


def _plot(picture: Picture, *, wide: bool = False) -> Plot:
    """A picture as a template has it; both drawings of a wide one say the same."""
    broad = replace(picture, width=1200, height=190) if wide else picture
    narrow = replace(picture, ident=f"{picture.ident}-narrow")
    return Plot(
        ident=picture.ident,
        title=picture.title,
        keys=tuple(
            Key(one.kind.value, one.label, latest(one, picture.unit)) for one in picture.lines
        ),
        svg=_drawn(broad),
        narrow=_drawn(narrow) if wide else Markup(),
        rows=tuple(rows(picture)),
        wide=wide,
        empty=all(value is None for line in picture.lines for _, value in line.readings),
    )


def _drawn(picture: Picture) -> Markup:
    return Markup(draw(picture))  # noqa: S704 # every text in it is escaped where it is drawn


def _weight(view: View, found: series.Chart, past: Sequence[Audit], frame: Picture) -> Plot:
    entry, readings = view.entry, list(_weights(view, found, past))
    label = f"{entry.release} canary" if entry else "canary"
    steps = {one for one in entry.plan.steps if one < FULL} if entry else set()
    return _plot(
        replace(
            frame, ident="chart-weight", title="Weight, share of visitors on canary",
            unit=units.WEIGHT, lines=[Line(label, Kind.CANARY, readings, stepped=True)],
            levels=[Level(one, "") for one in sorted(steps)],
        ),
        wide=True,
    )  # fmt: skip


def _weights(view: View, found: series.Chart, past: Sequence[Audit]) -> Iterator[Reading]:
    """Of earlier runs as it was recorded; of this one as the state itself says, to the second."""
    run = view.entry.run if view.entry else 0
    for one in found.stretches:
        if one.run != run and one.until > found.since:
            yield max(one.since, found.since), float(one.weight)
            yield one.until, float(one.weight)
            yield one.until, None
    if view.entry is None:
        return
    changes = list(_changes(view, view.entry, past))
    before = [weight for at, weight in changes if at <= found.since]
    if before:
        yield found.since, before[-1]
    yield from ((at, weight) for at, weight in changes if found.since < at <= found.until)
    yield found.until, 0.0 if view.killed else float(view.entry.weight)


def _changes(view: View, entry: Entry, past: Sequence[Audit]) -> Iterator[tuple[float, float]]:
    """Every change of the weight in this run, kills and their ends too, in the order of time."""
    moves = [(one.at, float(one.weight)) for one in entry.periods]
    for since, until in _kills(past):
        held = [weight for at, weight in moves if at <= until]
        moves = [move for move in moves if not since <= move[0] < until]
        moves += [(since, 0.0), (until, held[-1])] if held and since >= entry.begun else []
    if view.killed:
        moves = [move for move in moves if move[0] < view.killed.at] + [(view.killed.at, 0.0)]
    yield from sorted(moves)


def _kills(past: Sequence[Audit]) -> Iterator[tuple[float, float]]:
    """From when to when it was killed, of kills that were lifted; it has part in those of all."""
    scopes: set[str] = set()
    since = 0.0
    for line in sorted(past, key=lambda line: line.at):
        if line.action == "kill":
            since = since if scopes else line.at
            scopes.add(line.scope)
        elif line.action == Verb.REVIVE.value and line.scope in scopes:
            scopes.remove(line.scope)
            if not scopes:
                yield since, line.at
