"""What a finding shows beside its evidence: counts, quantiles, and what could have been seen."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import Final

from canary_middleware.core.caps import values
from canary_middleware.core.curves import GROWTH, VALUE_MIDDLES
from canary_middleware.core.evalues import bet
from canary_middleware.core.guards import Guard, Metric, Worse
from canary_middleware.core.mixtures import Table
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import STARTS
from canary_middleware.core.sums import FAILED, SLOW, Sums, total
from canary_middleware.core.totals import VALUES
from canary_middleware.core.verdict import Share

DOUBLING: Final = (0.0, 0.5, *(0.75 * 2**index for index in range(1, VALUES)))
"""About what a bucket of values stands for where no cap is known; see ``gauge.value_bucket``."""
LEVELS: Final = (0.5, 0.9, 0.99)
"""Of the quantiles shown."""
RISES: Final = tuple(1.05 * math.pow(1.13, index) for index in range(80))
DROPS: Final = tuple(0.98 * math.pow(0.92, index) for index in range(80))
"""Risk ratios among which the smallest that would have been seen is looked for."""


def sides(guard: Guard, sums: Sums) -> tuple[Share, Share]:
    """What both versions did, canary first."""
    if guard.metric is Metric.LATENCY:
        return _latency(sums)
    if guard.metric is Metric.NEVER:
        return _never(guard, sums)
    if guard.metric is Metric.FAILURES:
        return _failures(sums)
    if guard.metric is Metric.CLIENT_ERRORS:
        table = total(sums.client_errors)
    elif guard.metric is Metric.MEAN:
        return _mean(guard, sums, 0), _mean(guard, sums, 1)
    else:
        table = total(sums.hits(guard.name))
    return Share(table[0], table[0] + table[2]), Share(table[1], table[1] + table[3])


def _failures(sums: Sums) -> tuple[Share, Share]:
    """Visitors who failed at any time, of all; without a cookie only those who failed are known."""
    if sums.per_request:
        table = total(sums.failures)
        return Share(table[0], table[0] + table[2]), Share(table[1], table[1] + table[3])
    # Totals and first events come in two writes: at least as many as the one that was first says.
    first, entered = total(sums.firsts(FAILED)), total(sums.failures)
    return _of_all(Table(max(first[0], entered[0]), max(first[1], entered[1])), sums)


def _of_all(table: Table, sums: Sums) -> tuple[Share, Share]:
    canary, stable = sums.visitors
    return (
        Share(table[0], canary if canary >= table[0] else 0),
        Share(table[1], stable if stable >= table[1] else 0),
    )


def _never(guard: Guard, sums: Sums) -> tuple[Share, Share]:
    """Requests that observed too much, of those that observed anything."""
    seen = sums.evidence.seen
    arms = [seen[one] for one in (Cohort.CANARY, Cohort.STABLE) if one in seen]
    if len(arms) < 2 or not any(guard.name in arm.observed for arm in arms):
        table = total(sums.firsts(guard.name))
        return Share(table[0]), Share(table[1])
    counts = [arm.observed.get(guard.name, (0, 0)) for arm in arms]
    canary, stable = (Share(bad, times) for times, bad in counts)
    return canary, stable


def _latency(sums: Sums) -> tuple[Share, Share]:
    slow = total(sums.firsts(SLOW))
    canary, stable = (_merged([arms[arm] for _, arms in sums.below]) for arm in (0, 1))
    return _quantiles(slow[0], canary), _quantiles(slow[1], stable)


def _merged(histograms: Sequence[Sequence[int]]) -> list[int]:
    merged = list(histograms[0]) if histograms else []
    for one in histograms[1:]:
        merged = list(map(add, merged, one))
    return merged


def _quantiles(slow: int, below: Sequence[int]) -> Share:
    """p50, p90 and p99 in seconds as ``totals.quantile`` has them."""
    n = below[-1] if below else 0
    if not n:
        return Share(slow, 0, (None,) * len(LEVELS))
    return Share(slow, n, tuple([_at(below, level * n) for level in LEVELS]))


def _at(below: Sequence[int], wanted: float) -> float:
    index = bisect_left(below, wanted)
    if index >= len(STARTS):
        return math.inf
    if not index:
        return STARTS[0]
    inside = below[index] - below[index - 1]
    missing = (below[index] - wanted) / inside
    return STARTS[index] * math.pow(GROWTH, -missing)


def _mean(guard: Guard, sums: Sums, arm: int) -> Share:
    counts = _merged([arms[arm] for _, arms in values(guard, sums)])
    total = sum(counts)
    if not total:
        return Share(mean=None)
    middles = [guard.cap * part for part in VALUE_MIDDLES] if guard.cap else DOUBLING
    mean = sum(count * value for count, value in zip(counts, middles, strict=True)) / total
    return Share(total - counts[0], total, mean=mean)


def detectable(guard: Guard, canary: Share, stable: Share, needed: float) -> float | None:
    """The smallest risk ratio that the visitors so far would have shown (STATS 1.8).

    For latency it is that of answers slower than stable's p99. ``None`` where none would have been.

    Args:
        guard: with the direction that is worse.
        canary: its side.
        stable: the other.
        needed: nats; threshold of the strongest ledger.
    """
    if not canary.of or not stable.of or guard.metric is Metric.MEAN:
        return None
    rate = 1 - LEVELS[-1] if guard.metric is Metric.LATENCY else stable.rate
    falling = guard.worse is Worse.LOWER
    per_event = needed / (canary.of * rate)
    index = bisect_left(_information(_coarse(canary.of, stable.of), falling), per_event)
    ratios = DROPS if falling else RISES
    if index == len(ratios) or ratios[index] * rate > 1:
        return None
    return ratios[index]


def _coarse(canary: int, stable: int) -> float:
    """The canary's part in percent: for display, and one table serves many looks."""
    return min(99, max(1, round(100 * canary / (canary + stable)))) / 100


@lru_cache(maxsize=256)
def _information(rho: float, falling: bool) -> tuple[float, ...]:
    """Nats that events alone tell per canary request and unit of stable's rate, by risk ratio."""
    ratios = DROPS if falling else RISES
    bets = [(ratio, *bet(ratio, rho)) for ratio in ratios]
    return tuple(
        ratio * math.log(canary) + (1 - rho) / rho * math.log(stable)
        for ratio, canary, stable in bets
    )
