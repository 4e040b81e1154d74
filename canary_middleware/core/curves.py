"""Bets on latency: likelihood curves over a histogram, frozen before the canary is compared.

STATS section 1.3 and formula (7). A curve l(b) >= 0 that never falls in the bucket b ("slower is
worse") bets by formula (1) with l of the bucket that a request fell into. A bad baseline costs
power only, never validity. All logarithms are natural; buckets are those of a histogram whose edges
grow by a tenth each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add, mul
from typing import Final, NamedTuple

from canary_middleware.core.evalues import bet, tilted
from canary_middleware.core.mixtures import log_mean, logs_of, summed

GROWTH: Final = 1.1
"""Each bucket's edge is this multiple of the one before."""
SHIFTS: Final = (1.1, 1.2, 1.35, 1.6, 2.0, 3.0, 6.0)
"""Everything slower by a factor."""
LEVELS: Final = (0.5, 0.9, 0.99)
ODDS: Final = (1.6, 4.0)
"""More beyond one of stable's quantiles: odds ratios."""
FAR: Final = (2.0, 5.0, 12.0)
RISKS: Final = (4.0, 60.0)
"""More beyond multiples of stable's p99, where hardly anything was: risk ratios."""
SHIFTED: Final = 0.4
STEPPED: Final = 0.2
TAILED: Final = 0.4
LEAST: Final = 200
"""Stable requests that a baseline needs (STATS 1.3)."""
_SMOOTH: Final = 0.02
"""Part of the smoothed baseline that lies far and wide, so that one surprise cannot ruin a bet."""

_WIDE: Final = 8.0
"""Buckets within which that part falls by e: a factor of about two in latency."""

Counts = Sequence[int]


class Step(NamedTuple):
    """A curve of two values.

    Attributes:
        at: first bucket of the upper value.
        below: l of the buckets before.
        above: l of this bucket and all after.
    """

    at: int
    below: float
    above: float

    def curve(self, size: int) -> tuple[float, ...]:
        """Its value per bucket."""
        return (self.below,) * self.at + (self.above,) * (size - self.at)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Alternatives for one metric with buckets; compared by identity, for they are cached.

    Attributes:
        smooth: curves with a value per bucket.
        steps: curves of two values.
        log_weights: of the smooth ones, then of the steps; their weights sum to 1.
        size: number of buckets.
    """

    smooth: tuple[tuple[float, ...], ...]
    steps: tuple[Step, ...]
    log_weights: tuple[float, ...]
    size: int

    @property
    def all(self) -> tuple[tuple[float, ...], ...]:
        """Every alternative as a curve."""
        return self.smooth + tuple(step.curve(self.size) for step in self.steps)


@lru_cache(maxsize=64)
def latency_curves(baseline: tuple[int, ...], level: float | None = None) -> Curves:
    """The curves of STATS 1.3 from a histogram of stable.

    Args:
        baseline: requests per bucket; at least one.
        level: a quantile to watch alone, 0.5, 0.9 or 0.99, beside the far tail; ``None``: all.
    """
    levels = LEVELS if level is None else (level,)
    smooth = _shifted(baseline) if level is None else ()
    steps = [step for one in levels for step in _odds_steps(baseline, one)]
    far = _far_steps(baseline)
    weights = [SHIFTED / len(SHIFTS)] * len(smooth)
    weights += [STEPPED / len(steps)] * len(steps)
    weights += [TAILED / len(far)] * len(far)
    return Curves(smooth, (*steps, *far), logs_of(weights), len(baseline))


def quantile_bucket(baseline: Counts, level: float) -> int:
    """The first bucket that lies wholly beyond a quantile of the baseline."""
    wanted = level * sum(baseline)
    below = 0
    for index, count in enumerate(baseline):
        below += count
        if count and below >= wanted:
            return min(index + 1, len(baseline) - 1)
    return len(baseline) - 1


def tail_share(baseline: Counts, at: int) -> float:
    """Share of the baseline in bucket ``at`` and beyond; never quite 0 or 1."""
    return (sum(baseline[at:]) + 0.5) / (sum(baseline) + 1)


def _odds_steps(baseline: Counts, level: float) -> list[Step]:
    at = quantile_bucket(baseline, level)
    usual = tail_share(baseline, at)
    return [_step(at, usual, usual * odds / (1 - usual + usual * odds)) for odds in ODDS]


def _far_steps(baseline: Counts) -> list[Step]:
    edge = quantile_bucket(baseline, 0.99)
    beyond = [min(len(baseline) - 1, edge + _buckets(factor)) for factor in FAR]
    shares = [(at, tail_share(baseline, at)) for at in beyond]
    return [_step(at, usual, min(0.9, usual * risk)) for at, usual in shares for risk in RISKS]


def _step(at: int, usual: float, worse: float) -> Step:
    worse = max(worse, usual)
    return Step(at, (1 - worse) / (1 - usual), worse / usual)


def _buckets(factor: float) -> int:
    return round(math.log(factor) / math.log(GROWTH))


def _shifted(baseline: Counts) -> tuple[tuple[float, ...], ...]:
    """l_m(b) = f(b - log m / log 1.1) / f(b) of the smoothed baseline, made nondecreasing."""
    usual = smoothed(baseline)
    curves = []
    for factor in SHIFTS:
        moved = _moved(usual, math.log(factor) / math.log(GROWTH))
        ratios = [a / b for a, b in zip(moved, usual, strict=True)]
        curves.append(_nondecreasing(ratios, usual))
    return tuple(curves)


def smoothed(baseline: Counts) -> list[float]:
    """Density per bucket: Gaussian kernels around what was seen, and a little far and wide."""
    total, size = sum(baseline), len(baseline)
    seen = [(index, count / total) for index, count in enumerate(baseline) if count]
    width = _bandwidth(baseline)
    kernel = _scaled([math.exp(-0.5 * (i / width) ** 2) for i in range(size)])
    wide = _scaled([math.exp(-i / _WIDE) for i in range(size)])
    mixed = [(1 - _SMOOTH) * a + _SMOOTH * b for a, b in zip(kernel, wide, strict=True)]
    return [sum([share * mixed[abs(b - at)] for at, share in seen]) for b in range(size)]


def _scaled(kernel: list[float]) -> list[float]:
    mass = 2 * sum(kernel) - kernel[0]
    return [value / mass for value in kernel]


def _bandwidth(baseline: Counts) -> float:
    """Silverman's rule on the logarithmic scale, from the quartiles, in buckets."""
    spread = quantile_bucket(baseline, 0.75) - quantile_bucket(baseline, 0.25)
    return max(0.8, 0.67 * spread * math.pow(sum(baseline), -0.2))


def _moved(density: Sequence[float], by: float) -> list[float]:
    """The density of latencies that are longer by a factor, log-linear between buckets."""
    logs = [math.log(value) for value in density]
    whole = math.floor(by)
    part = by - whole
    moved = []
    for index in range(len(logs)):
        near, far = max(0, index - whole), max(0, index - whole - 1)
        moved.append(math.exp((1 - part) * logs[near] + part * logs[far]))
    return moved


def _nondecreasing(values: list[float], weights: list[float]) -> tuple[float, ...]:
    """Pool adjacent violators: the nearest nondecreasing curve, weighted means of blocks."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            block = _pooled(blocks.pop(), block)
        blocks.append(block)
    return tuple(value for value, _, length in blocks for _ in range(length))


def _pooled(
    left: tuple[float, float, int], right: tuple[float, float, int]
) -> tuple[float, float, int]:
    weight = left[1] + right[1]
    mean = (left[0] * left[1] + right[0] * right[1]) / weight
    return mean, weight, left[2] + right[2]


class CurveFactors(NamedTuple):
    """What one throw adds to log E of each alternative, per bucket of the outcome, in nats."""

    canary: tuple[tuple[float, ...], ...]
    stable: tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def latency_factors(curves: Curves, rho: float, tolerance: float = 0.0) -> CurveFactors:
    """Log factors by alternative and bucket, formula (1) with the curve's value.

    With a tolerance, a curve bets only where it is above 1, see :func:`evalues.tilted`.
    """
    rows = [[_logs(value, rho, tolerance) for value in curve] for curve in curves.all]
    return CurveFactors(
        tuple(tuple(canary for canary, _ in row) for row in rows),
        tuple(tuple(stable for _, stable in row) for row in rows),
    )


def _logs(value: float, rho: float, tolerance: float) -> tuple[float, float]:
    if tolerance:
        rho, value = tilted(rho, tolerance), max(1.0, value)
    canary, stable = bet(value, rho)
    return math.log(canary), math.log(stable)


def log_e_curves(
    cells: Mapping[float, tuple[Counts, Counts]], curves: Curves, tolerance: float = 0.0
) -> float:
    """(7): log sum_g w_g exp(sum over cells and buckets of the log factors).

    Args:
        cells: histograms of canary and stable by the canary's probability.
        curves: what is bet on, frozen before the first of them.
        tolerance: see :func:`latency_factors`.
    """
    rows = [
        _curve_row(latency_factors(curves, rho, tolerance), curves, canary, stable)
        for rho, (canary, stable) in cells.items()
        if any(canary) or any(stable)
    ]
    return log_mean(summed(rows), curves.log_weights) if rows else 0.0


def _curve_row(
    factors: CurveFactors, curves: Curves, canary: Counts, stable: Counts
) -> list[float]:
    arms = ((canary, factors.canary), (stable, factors.stable))
    smooth, steps = zip(*(_arm_row(counts, rows, curves) for counts, rows in arms), strict=True)
    return [*map(add, *smooth), *map(add, *steps)]


def _arm_row(
    counts: Counts, rows: tuple[tuple[float, ...], ...], curves: Curves
) -> tuple[list[float], list[float]]:
    """What one arm adds, without touching buckets that are empty: curves, then steps."""
    first, last = _extent(counts)
    held = counts[first:last]
    split = len(curves.smooth)
    smooth = [sum(map(mul, held, row[first:last])) for row in rows[:split]]
    total = sum(held)
    steps = []
    for step, row in zip(curves.steps, rows[split:], strict=True):
        above: int = sum(counts[max(first, step.at) : last])
        steps.append(above * row[-1] + (total - above) * row[0])
    return smooth, steps


def _extent(counts: Counts) -> tuple[int, int]:
    """The range of buckets that are not empty."""
    used = [index for index, count in enumerate(counts) if count]
    return (used[0], used[-1] + 1) if used else (0, 0)
