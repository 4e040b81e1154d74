"""Points of a chart: what all processes counted of a release up to a moment, and differences.

Counts are cumulative: whoever takes the difference of two points has what happened between them,
whether there are points in between or not, and however often one was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from canary_middleware.core.guards import Metric
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import Entry, Phase
from canary_middleware.core.totals import VALUES, Ledgers, Seen

SLOT: Final = 10
"""Seconds of a slot of time; at most one point of a rollout is in each."""
KILLED: Final = "killed"
"""What a point has for a phase while a kill is in force."""
PHASES: Final = (*(phase.value for phase in Phase), KILLED)

K = TypeVar("K")


class Value(NamedTuple):
    """Whose values are counted, and in what.

    Attributes:
        guard: its name.
        cap: values are in sixteenths of it; 0 for powers of two, while no cap is known.
    """

    guard: str
    cap: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted of one version.

    Attributes:
        requests: all of them, evidence or not.
        failures: 5xx, exceptions, time-outs and rescued answers.
        client_errors: 4xx.
        latency: time until the answer started, by bucket of ``outcomes.STARTS``; the empty ones
            left out.
        observed: by guard on a declared metric, the requests in which it was observed, and those of
            them that were above what is allowed.
        values: by mean, visitors by bucket of their value; the empty ones left out.
    """

    requests: int = 0
    failures: int = 0
    client_errors: int = 0
    latency: Mapping[int, int] = field(default_factory=dict)
    observed: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    values: Mapping[Value, Mapping[int, int]] = field(default_factory=dict)


NOTHING: Final = Counts()


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a point.

    Attributes:
        cohort: see there.
        label: of the version.
        counts: since the run began.
    """

    cohort: Cohort
    label: str
    counts: Counts


class Head(NamedTuple):
    """Of a point, all but what was counted.

    Attributes:
        slot: seconds since the epoch by :data:`SLOT`.
        at: wall-clock seconds, to hundredths, within the slot.
        run: revision of the start that it belongs to.
        weight: in 0.001 %; 0 while a kill is in force.
        phase: one of :data:`PHASES`.
    """

    slot: int
    at: float
    run: int
    weight: int
    phase: str


@dataclass(frozen=True, slots=True)
class Point:
    """What was counted up to a moment.

    Attributes:
        head: see there.
        versions: those that anything was counted of, each cohort once.
    """

    head: Head
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two points of a run.

    Attributes:
        run: see :class:`Head`.
        since: wall-clock seconds of the first one.
        until: of the second one.
        versions: by label; one whose counts have decreased, as of a store that lost its data, is
            left out.
    """

    run: int
    since: float
    until: float
    versions: Mapping[str, Counts]


def slot_of(wall: float) -> int:
    """The slot of a moment."""
    return int(wall // SLOT)


def point(entry: Entry, ledgers: Ledgers, wall: float, *, killed: bool = False) -> Point:
    """What all processes together have counted of a release.

    Args:
        entry: the release.
        ledgers: their sum, of this run.
        wall: wall-clock seconds.
        killed: a kill is in force.
    """
    slot = slot_of(wall)
    at = slot * SLOT + int((wall - slot * SLOT) * 100) / 100
    head = Head(
        slot, at, entry.run, 0 if killed else entry.weight, KILLED if killed else entry.phase.value
    )
    labels = {Cohort.CANARY: entry.release, Cohort.STABLE: entry.stable}
    values = {cohort: _values(entry, ledgers, cohort) for cohort in labels}
    return Point(head, tuple(
        Version(cohort, label, _counts(ledgers.seen.get(cohort) or Seen(), values[cohort]))
        for cohort, label in labels.items()
        if cohort in ledgers.seen or values[cohort]
    ))  # fmt: skip


def intervals(points: Iterable[Point]) -> Iterator[Interval]:
    """Between each point and the next one of the same run, in their order; however far apart."""
    for before, after in pairwise(points):
        found = between(before, after)
        if found is not None:
            yield found


def between(before: Point, after: Point) -> Interval | None:
    """What happened between two points; ``None`` for those of different runs, or out of order."""
    if before.head.run != after.head.run or not before.head.at < after.head.at:
        return None
    known = {one.label: one.counts for one in before.versions}
    found = {
        one.label: difference(known.get(one.label, NOTHING), one.counts) for one in after.versions
    }
    return Interval(
        run=after.head.run,
        since=before.head.at,
        until=after.head.at,
        versions={label: counts for label, counts in found.items() if counts is not None},
    )


def difference(before: Counts, after: Counts) -> Counts | None:
    """What was counted in between; ``None`` where less was counted than before.

    A metric of which less was counted is left out alone.
    """
    latency = _less(before.latency, after.latency)
    requests = after.requests - before.requests
    failures = after.failures - before.failures
    client_errors = after.client_errors - before.client_errors
    if latency is None or min(requests, failures, client_errors) < 0:
        return None
    observed = {}
    for name, (times, bad) in after.observed.items():
        past = before.observed.get(name, (0, 0))
        if times >= past[0] and bad >= past[1]:
            observed[name] = times - past[0], bad - past[1]
    values = {
        value: less
        for value, counts in after.values.items()
        if (less := _less(before.values.get(value, {}), counts)) is not None
    }
    return Counts(requests, failures, client_errors, latency, observed, values)


def total(one: Counts, other: Counts) -> Counts:
    """Both together."""
    observed = dict(one.observed)
    for name, (times, bad) in other.observed.items():
        past = observed.get(name, (0, 0))
        observed[name] = past[0] + times, past[1] + bad
    return Counts(
        one.requests + other.requests,
        one.failures + other.failures,
        one.client_errors + other.client_errors,
        _more(one.latency, other.latency),
        observed,
        {
            value: _more(one.values.get(value, {}), other.values.get(value, {}))
            for value in (
                *one.values,
                *(value for value in other.values if value not in one.values),
            )
        },
    )


def merged(one: Interval, other: Interval) -> Interval:
    """Two intervals of which the second begins where the first ends, as one."""
    labels = (*one.versions, *(label for label in other.versions if label not in one.versions))
    return Interval(
        run=other.run,
        since=one.since,
        until=other.until,
        versions={
            label: total(one.versions.get(label, NOTHING), other.versions.get(label, NOTHING))
            for label in labels
        },
    )


def mean(value: Value, counts: Mapping[int, int]) -> float | None:
    """Mean of the values of visitors who have one, taken from the middles of their buckets.

    Display only: exact to a thirty-second of the cap, where that is known. ``None`` without any.
    """
    visitors = sum(counts.values())
    if not visitors:
        return None
    shares = ((bucket, count / visitors) for bucket, count in counts.items())
    return sum(_middle(value.cap, bucket) * share for bucket, share in shares)


def _middle(cap: float, bucket: int) -> float:
    if cap > 0:
        return (bucket + 0.5) / VALUES * cap
    return 0.75 * 2.0**bucket if bucket else 0.5


def _counts(seen: Seen, values: Mapping[Value, Mapping[int, int]]) -> Counts:
    return Counts(
        requests=seen.n,
        failures=seen.failures,
        client_errors=seen.kinds[OutcomeClass.CLIENT_ERROR],
        latency={bucket: count for bucket, count in enumerate(seen.starts) if count},
        observed={name: (times, bad) for name, (times, bad) in seen.observed.items()},
        values=values,
    )


def _values(entry: Entry, ledgers: Ledgers, cohort: Cohort) -> Mapping[Value, Mapping[int, int]]:
    """Of periods in which they were counted in parts of the cap that holds now."""
    since = {one.guard: one.since for one in entry.caps}
    found: dict[Value, dict[int, int]] = {}
    for guard in entry.guards:
        if guard.metric is not Metric.MEAN:
            continue
        counts = found.setdefault(Value(guard.name, guard.cap), {})
        for slot, matured in ledgers.slots.items():
            if slot.cohort is cohort and slot.cell.period >= since.get(guard.name, 0):
                for bucket, count in enumerate(matured.hits.get(guard.name, ())):
                    if count:
                        counts[bucket] = counts.get(bucket, 0) + count
    return {value: counts for value, counts in found.items() if counts}


def _less(before: Mapping[K, int], after: Mapping[K, int]) -> dict[K, int] | None:
    if any(after.get(key, 0) < count for key, count in before.items()):
        return None
    found = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: count for key, count in found.items() if count}


def _more(one: Mapping[K, int], other: Mapping[K, int]) -> dict[K, int]:
    found = dict(one)
    for key, count in other.items():
        found[key] = found.get(key, 0) + count
    return found
