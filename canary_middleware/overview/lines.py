"""One version over time: what is drawn of the counts of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, TypeVar

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.series import Counts, mean
from canary_middleware.core.totals import quantile
from canary_middleware.overview.pace import unhurried

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
AT_ONCE: Final = 50
"""Steps whose quantiles take less than a millisecond."""

T = TypeVar("T")
Values = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """A declared metric over time.

    Attributes:
        share: of the requests, those in which it was observed.
        above: of those, the ones that were above what is allowed (never).
        value: mean of the values of visitors who had one; from buckets, see ``core.series.mean``.
    """

    share: Values
    above: Values
    value: Values


@dataclass(frozen=True, slots=True)
class Line:
    """One version over time, a value per step; ``None`` where nothing was measured.

    Attributes:
        version: its label; as stable of one release and canary of another it is one line.
        cohort: the side on which it is now; ``None``: neither.
        rate: requests per second.
        errors: share of the requests that failed.
        client_errors: share of the requests that the client made a mistake with.
        latency: by name in :data:`QUANTILES`, seconds until the answer started; infinite beyond
            what is measured.
        observed: by guard.
    """

    version: str
    cohort: Cohort | None
    rate: Values
    errors: Values
    client_errors: Values
    latency: Mapping[str, Values]
    observed: Mapping[str, Observed]


class Step(NamedTuple):
    """What one version did in a step.

    Attributes:
        seconds: for which it was counted.
        counts: see there.
    """

    seconds: float
    counts: Counts


def line(version: str, cohort: Cohort | None, steps: Sequence[Step | None]) -> Line:
    """All that is drawn of a version."""
    counts = [None if one is None else one.counts for one in steps]
    guards = dict.fromkeys(
        name
        for one in counts
        if one is not None
        for name in (*one.observed, *(value.guard for value in one.values))
    )
    histograms = [
        None if one is None else _histogram(one.latency) for one in unhurried(counts, AT_ONCE)
    ]
    return Line(
        version=version,
        cohort=cohort,
        rate=_each(steps, lambda one: one.counts.requests / one.seconds),
        errors=_each(counts, lambda one: _share(one.failures, one.requests)),
        client_errors=_each(counts, lambda one: _share(one.client_errors, one.requests)),
        latency={
            name: _each(histograms, partial(quantile, share=share))
            for name, share in QUANTILES.items()
        },
        observed={name: _observed(name, counts) for name in guards},
    )


def _each(found: Iterable[T | None], tell: Callable[[T], float | None]) -> Values:
    return tuple(None if one is None else tell(one) for one in unhurried(found, AT_ONCE))


def _histogram(latency: Mapping[int, int]) -> list[int]:
    counts = [0] * BUCKETS
    for bucket, count in latency.items():
        counts[bucket] = count
    return counts


def _observed(name: str, steps: Sequence[Counts | None]) -> Observed:
    def times(one: Counts) -> float | None:
        return _share(one.observed[name][0], one.requests) if name in one.observed else None

    def bad(one: Counts) -> float | None:
        return _share(*one.observed[name][::-1]) if name in one.observed else None

    return Observed(
        share=_each(steps, times),
        above=_each(steps, bad),
        value=_each(steps, partial(_value, name)),
    )


def _value(name: str, counts: Counts) -> float | None:
    """By the latest cap, of which there is one alone in all but the step that changes it."""
    found = [mean(of, buckets) for of, buckets in counts.values.items() if of.guard == name]
    return next((one for one in reversed(found) if one is not None), None)


def _share(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole else None
