"""The chart of a rollout: numbers per version and time, from the points in a store.

A value is of all that happened within a step of time. Quantiles are those of the merged histograms,
never means of quantiles; and where nothing was measured there is no value.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from canary_middleware.core.series import SLOT, Interval, merged, slot_of
from canary_middleware.core.telling import LONGEST
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.lines import Line, Step, Values, line
from canary_middleware.overview.pace import unhurried
from canary_middleware.overview.remembering import AT_ONCE, Known, Remembered
from canary_middleware.stores.protocol import SeriesStore

POINTS: Final = 300
"""Steps of a chart, unless others are wanted."""
MOST_POINTS: Final = 8_640
_END_OF_TIME: Final = 1e11


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which weight and phase were the same.

    Attributes:
        since: wall-clock seconds.
        until: likewise; that of the next stretch, or of the last point before a gap.
        run: revision of the start of the release.
        weight: in 0.001 %.
        phase: see ``core.series.PHASES``.
    """

    since: float
    until: float
    run: int
    weight: int
    phase: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One rollout over time.

    Attributes:
        rollout: its name.
        since: wall-clock seconds.
        until: likewise.
        step: seconds of a step.
        times: the end of each step, wall-clock seconds.
        lines: by version; that of the canary first, then stable, then earlier ones.
        stretches: weight and phase.
        refused: points that are left out because they cannot be read.
    """

    rollout: str
    since: float
    until: float
    step: float
    times: tuple[float, ...] = ()
    lines: tuple[Line, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    refused: int = 0


def read(
    store: SeriesStore, rollout: str, since: float, until: float, points: int = POINTS
) -> Chart:
    """A chart, once; a :class:`Reader` draws the next one at a fraction of the cost.

    Args:
        store: where the points are.
        rollout: its name.
        since: wall-clock seconds.
        until: likewise.
        points: steps of the chart; there may be one more.

    Raises:
        StoreError: the store does not answer.
    """
    return Reader(store).read(rollout, since, until, points)


class Reader:
    """Reads again and again, and asks only for what is new; for any number of threads.

    It remembers the points of at most 16 rollouts, those that were read last, some 6 MB of each.

    Args:
        store: where the points are.
    """

    def __init__(self, store: SeriesStore) -> None:
        self._remembered = Remembered(store)

    def read(self, rollout: str, since: float, until: float, points: int = POINTS) -> Chart:
        """As :func:`read`."""
        since, until = _bounded(since), _bounded(until)
        points = max(1, min(points, MOST_POINTS))
        # Steps begin at multiples of their length: the next chart has the same ones.
        step = SLOT * max(1, math.ceil((until - since) / SLOT / points))
        steps = range(int(since // step), int(until // step) + 1)
        with self._remembered.known(rollout, until) as known:
            # A step takes some tenths of a millisecond.
            found = [_within(known, step // SLOT, one) for one in unhurried(steps, 3)]
            chart = Chart(
                rollout=rollout,
                since=since,
                until=until,
                step=step,
                times=tuple(float((one + 1) * step) for one in steps),
                lines=tuple(_lines(known, found)),
                stretches=tuple(_stretches(known, since, until)),
                refused=known.refused,
            )
            known.prune(2 * min(points, POINTS) + 2)
        return chart


def _bounded(wall: float) -> float:
    """A time that has a slot."""
    return min(max(0.0, wall), _END_OF_TIME) if math.isfinite(wall) else 0.0


def _within(known: Known, slots: int, number: int) -> Interval | None:
    """What happened in a step of so many slots, as far as there are points."""
    begin = bisect_left(known.slots, number * slots)
    end = bisect_left(known.slots, (number + 1) * slots)
    if begin == end:
        # Points may lie further apart than steps: then it is what happened between them.
        return known.between(begin - 1, begin) if known.follows(begin) else None
    found: Interval | None = None
    first = begin - 1 if known.follows(begin) else begin
    for after in [*known.breaks(begin + 1, end), end]:
        part = known.between(first, after - 1)
        if part is not None:
            found = part if found is None else _joined(found, part)
        first = after
    return found


def _joined(one: Interval, other: Interval) -> Interval:
    """Two intervals as if nothing was between them: what counts is how long both are."""
    return merged(replace(one, since=one.since + other.since - one.until), other)


def _lines(known: Known, found: Sequence[Interval | None]) -> Iterator[Line]:
    steps: dict[str, list[Step | None]] = {}
    for number, interval in enumerate(found):
        for version, counts in (interval.versions if interval is not None else {}).items():
            seconds = interval.until - interval.since if interval is not None else 0.0
            steps.setdefault(version, [None] * len(found))[number] = Step(seconds, counts)
    now = known.cohorts()
    for version in [*now, *(one for one in reversed(steps) if one not in now)]:
        if version in steps:
            yield line(version, now.get(version), steps[version])


def _stretches(known: Known, since: float, until: float) -> Iterator[Stretch]:
    begin = max(0, bisect_left(known.slots, slot_of(since)) - 1)
    end = bisect_left(known.slots, slot_of(until) + 1)
    heads = known.heads
    changes = [
        at
        for at in unhurried(range(begin, end), AT_ONCE)
        if at == begin or not known.follows(at) or heads[at - 1][2:] != heads[at][2:]
    ]
    for at, after in pairwise([*changes, end]):
        head = heads[at]
        ends = heads[after if after < end and known.follows(after) else after - 1].at
        if ends >= since:
            yield Stretch(head.at, ends, head.run, head.weight, head.phase)


# --- JSON ---------------------------------------------------------------------------------------


def shape(chart: Chart) -> Mapping[str, Any]:
    """As JSON has it. Shares are from 0 to 1, times and latencies in seconds."""
    return {
        "rollout": chart.rollout,
        "since": chart.since,
        "until": chart.until,
        "step": chart.step,
        "times": list(chart.times),
        "versions": [_line_shape(line) for line in chart.lines],
        "weights": [
            {
                "since": one.since,
                "until": one.until,
                "run": one.run,
                "weight": format_weight(one.weight),
                "phase": one.phase,
            }
            for one in chart.stretches
        ],
        "refused": chart.refused,
    }


def _line_shape(line: Line) -> Mapping[str, Any]:
    return {
        "version": line.version,
        "cohort": line.cohort.value if line.cohort is not None else None,
        "rate": _rounded(line.rate),
        "errors": _rounded(line.errors),
        "client_errors": _rounded(line.client_errors),
        **{
            name: _rounded(tuple(one and min(one, LONGEST) for one in values))
            for name, values in line.latency.items()
        },
        "observed": {
            name: {
                "share": _rounded(one.share),
                "above": _rounded(one.above),
                "value": _rounded(one.value),
            }
            for name, one in line.observed.items()
        },
    }


def _rounded(values: Values) -> list[float | None]:
    """To six digits."""
    return [one if one is None else float(f"{one:.6g}") for one in values]
