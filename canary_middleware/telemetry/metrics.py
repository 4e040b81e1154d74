"""Instruments: cells that exist anyway are published whenever somebody collects.

Points are by rollout, version and cohort. None of the three comes from a request, so the number of
series is fixed by the configuration.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Any, Final, Protocol
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from canary_middleware.core.model import Cohort, Reason
from canary_middleware.core.outcomes import EDGES, Cell, OutcomeClass
from canary_middleware.core.snapshot import Snapshot
from canary_middleware.core.state import Phase
from canary_middleware.core.verdict import Finding, Verdict
from canary_middleware.telemetry import names

UNITS_PER_CENT: Final = 1000
"""Weights are whole numbers of 0.001 %."""


class SeriesLike(Protocol):
    """What the recorder counts by."""

    @property
    def rollout(self) -> str:
        """Name."""

    @property
    def version(self) -> str:
        """Label."""

    @property
    def cohort(self) -> Cohort:
        """Side."""


class RecorderLike(Protocol):
    """See :class:`canary_middleware.engine.recorder.Recorder`."""

    @property
    def events(self) -> Counter[str]:
        """Rare things by name."""

    def count(self, event: str, times: int = 1) -> None:
        """Count one."""

    def cells(self) -> Mapping[Any, Cell]:
        """Outcomes by something that is :class:`SeriesLike`."""

    def in_flight(self) -> Mapping[Any, int]:
        """Exposures that have not ended, by the same."""


class MeasuringLike(Protocol):
    """See :class:`canary_middleware.engine.measuring.Measuring`."""

    @property
    def verdicts(self) -> Mapping[tuple[str, str], Verdict]:
        """By rollout and release."""


class WatchedEngine(Protocol):
    """See :class:`canary_middleware.engine.engine.Engine`.

    ``recorder`` is asked for at every look: a forked child gets a new one.
    """

    @property
    def namespace(self) -> str:
        """Of the control state."""

    @property
    def recorder(self) -> RecorderLike:
        """Of this process."""

    @property
    def measuring(self) -> MeasuringLike:
        """Of this process; likewise."""

    @property
    def snapshot(self) -> Snapshot:
        """The control state in force."""

    @property
    def confirmed_at(self) -> float:
        """Seconds of ``clock``."""

    @property
    def clock(self) -> Callable[[], float]:
        """Monotonic seconds."""


Point = tuple[tuple[str, ...], float]
"""The values of a metric's labels, in their order, and the number."""

Look = Callable[[WatchedEngine], Iterable[Point]]


def duration_histogram(provider: MeterProvider) -> Histogram:
    """The one synchronous instrument."""
    metric = names.DURATION
    return provider.get_meter(names.SCOPE).create_histogram(
        metric.name,
        metric.unit,
        metric.meaning,
        explicit_bucket_boundaries_advisory=EDGES,
    )


class Published:
    """The observable instruments, and the engines that they look at.

    Engines are held weakly: a meter keeps its callbacks forever. Each namespace has a meter of its
    own, told apart by an attribute of the scope, because a meter ignores the callbacks of an
    instrument that it has already. Two engines of one namespace in one process have to share a
    :class:`Telemetry`.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider
        self._lock = Lock()
        self._engines: dict[str, WeakSet[WatchedEngine]] = {}

    def watch(self, engine: WatchedEngine) -> None:
        """Publish an engine for as long as it lives."""
        with self._lock:
            engines = self._engines.get(engine.namespace)
            if engines is None:
                engines = self._engines[engine.namespace] = WeakSet()
                attributes = {names.NAMESPACE: engine.namespace}
                publish(self._provider.get_meter(names.SCOPE, attributes=attributes), engines)
            engines.add(engine)


def publish(meter: Meter, engines: Iterable[WatchedEngine]) -> None:
    """Create the observable instruments of one namespace."""
    create = {
        "counter": meter.create_observable_counter,
        "up-down counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for metric, look in LOOKS:
        callback = _callback(metric, look, engines)
        create[metric.kind](metric.name, [callback], metric.unit, metric.meaning)


def _callback(
    metric: names.Metric, look: Look, engines: Iterable[WatchedEngine]
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    merge: Callable[[float, float], float] = max if metric.kind == "gauge" else operator.add

    def observe(options: CallbackOptions) -> Iterator[Observation]:
        points: dict[tuple[str, ...], float] = {}
        for engine in engines:
            for values, number in look(engine):
                points[values] = merge(points[values], number) if values in points else number
        for values, number in points.items():
            yield Observation(number, dict(zip(metric.labels, values, strict=True)))

    return observe


def _requests(engine: WatchedEngine) -> Iterator[Point]:
    for series, cell in engine.recorder.cells().items():
        for kind in OutcomeClass:
            if count := cell.counts[kind]:
                yield (*_values(series), kind.label), count


def _in_flight(engine: WatchedEngine) -> Iterator[Point]:
    recorder = engine.recorder
    running = recorder.in_flight()
    for series in {**recorder.cells(), **running}:  # who has ended goes back to 0, not away
        yield _values(series), running.get(series, 0)


def _values(series: SeriesLike) -> tuple[str, ...]:
    return series.rollout, series.version, series.cohort.value


def _weight(engine: WatchedEngine) -> Iterator[Point]:
    for lane in engine.snapshot.lanes:
        assignment = lane.canary[Reason.WEIGHT]
        labels = (lane.name, assignment.version, assignment.cohort.value)
        yield labels, assignment.weight / UNITS_PER_CENT


def _phase(engine: WatchedEngine) -> Iterator[Point]:
    for lane in engine.snapshot.lanes:
        present = lane.entry.phase if lane.entry is not None else Phase.IDLE
        for phase in Phase:
            yield (lane.name, phase.value), int(phase is present)


def _kill(engine: WatchedEngine) -> Iterator[Point]:
    for lane in engine.snapshot.lanes:
        yield (lane.name,), int(lane.kill is not None)


def _staleness(engine: WatchedEngine) -> Iterator[Point]:
    if math.isfinite(engine.confirmed_at):
        yield (), engine.clock() - engine.confirmed_at


def _revision(engine: WatchedEngine) -> Iterator[Point]:
    yield (), engine.snapshot.revision


def _events(engine: WatchedEngine) -> Iterator[Point]:
    for event, count in dict(engine.recorder.events).items():
        yield (event,), count


def _evidence(engine: WatchedEngine) -> Iterator[Point]:
    for labels, finding in _findings(engine):
        yield labels, finding.log_e / finding.threshold


def _proof(engine: WatchedEngine) -> Iterator[Point]:
    for labels, finding in _findings(engine):
        if finding.proof is not None and finding.needed:
            yield labels, finding.proof / finding.needed


def _findings(engine: WatchedEngine) -> Iterator[tuple[tuple[str, ...], Finding]]:
    verdicts = engine.measuring.verdicts
    for lane in engine.snapshot.lanes:
        release = lane.track.rollout.canary
        verdict = verdicts.get((lane.name, release)) if lane.active else None
        for finding in verdict.findings if verdict is not None else ():
            yield (lane.name, release, finding.guard), finding


LOOKS: Final[tuple[tuple[names.Metric, Look], ...]] = (
    (names.REQUESTS, _requests),
    (names.IN_FLIGHT, _in_flight),
    (names.WEIGHT, _weight),
    (names.PHASES, _phase),
    (names.KILL, _kill),
    (names.STALENESS, _staleness),
    (names.REVISION, _revision),
    (names.EVENTS, _events),
    (names.EVIDENCE, _evidence),
    (names.PROOF, _proof),
)
