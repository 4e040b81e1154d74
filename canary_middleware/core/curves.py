"""Bets on latency: likelihood curves over a histogram, frozen before the canary is compared.

STATS section 1.3 and formula (7). A curve l(b) >= 0 that never falls in the bucket b ("slower is
worse") bets by formula (1) with l of the bucket that a request fell into. A bad baseline costs
power only, never validity. All logarithms are natural; buckets are those of a histogram whose edges
grow by a tenth each.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from operator import add, mul
from typing import Final, NamedTuple

from canary_middleware.core.evalues import HIGHER, LOWER, bet, tilted
from canary_middleware.core.mixtures import log_mean, logs_of, summed
from canary_middleware.core.totals import VALUES

GROWTH: Final = 1.1
"""Each bucket's edge is this multiple of the one before."""
SHIFTS: Final = {1.3: 0.36, 1.7: 0.43}
"""Everything slower by a factor, and what is bet on it: few, for each costs what it weighs, and
even a factor of three, far beyond them, shows within ten canary requests at 5 %."""
TAILS: Final = {(0.95, 12, 0.06): 0.04, (2.0, 45, 0.015): 0.17}
"""Some requests much slower: from a quantile (below 1) or a multiple of p99 on, so many buckets
beyond p99, this share of the requests; and what is bet on it."""
ODDS: Final = {1.6: 0.3, 4.0: 0.3}
"""More requests beyond one quantile: odds ratios, for a guard of that quantile."""
TILTS: Final = (0.6, 2.0, 6.0)
"""How strongly larger values are rarer, for means."""
VALUE_MIDDLES: Final = (0.0, *((index + 0.5) / VALUES for index in range(VALUES)))
"""What a visitor without a value counts for, and one in each bucket, in parts of the cap."""
LEAST: Final = 200
"""Stable requests that a baseline needs (STATS 1.3)."""
_SURPRISE: Final = 0.02
"""Part of the smoothed baseline that lies far and wide, so that one surprise cannot ruin a bet."""
_WIDE: Final = 8.0
"""Buckets within which that part falls by e: a factor of about two in latency."""

Counts = Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Alternatives for one metric with buckets; compared by identity, for they are cached.

    Attributes:
        curves: l per bucket, of each alternative; all rise, or all fall.
        log_weights: of the alternatives; the weights sum to 1.
    """

    curves: tuple[tuple[float, ...], ...]
    log_weights: tuple[float, ...]

    @classmethod
    def of(cls, weighted: Iterable[tuple[Sequence[float], float]]) -> Curves:
        """From curves and their weights."""
        curves, weights = zip(*weighted, strict=True)
        return cls(tuple(map(tuple, curves)), logs_of(weights))


class CurveFactors(NamedTuple):
    """What one throw adds to log E of each alternative, per bucket of the outcome, in nats."""

    canary: tuple[tuple[float, ...], ...]
    stable: tuple[tuple[float, ...], ...]


@lru_cache(maxsize=64)
def latency_curves(baseline: tuple[int, ...], level: float | None = None) -> Curves:
    """The alternatives for latency from a histogram of stable.

    Args:
        baseline: requests per bucket; at least one.
        level: a quantile to watch alone, such as 0.99, beside the far tail; ``None``: all.
    """
    usual = smoothed(baseline)
    if level is None:
        watched = [(_shifted(usual, factor), weight) for factor, weight in SHIFTS.items()]
    else:
        watched = [(_beyond(baseline, level, odds), weight) for odds, weight in ODDS.items()]
    tails = [(_tail(baseline, usual, *where), weight) for where, weight in TAILS.items()]
    return Curves.of(watched + tails)


@lru_cache(maxsize=64)
def latency_factors(curves: Curves, rho: float, tolerance: float = 0.0) -> CurveFactors:
    """Log factors by alternative and bucket, formula (1) with the curve's value.

    Args:
        curves: what is bet on.
        rho: probability that the throw gave the canary.
        tolerance: what is still no regression, relatively: negative where lower is worse. A curve
            then bets on its bad side only, see :func:`canary_middleware.core.evalues.tilted`.
    """
    shapes = curves.curves
    if tolerance:
        rho = tilted(rho, tolerance)
        side = max if tolerance > 0 else min
        shapes = tuple(tuple([side(1.0, value) for value in curve]) for curve in shapes)
    tables = [_logs(curve, rho) for curve in shapes]
    return CurveFactors(*zip(*tables, strict=True))


def _logs(curve: tuple[float, ...], rho: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Log bets by bucket, of canary and stable; computed once for buckets of equal value."""
    bets = {value: bet(value, rho) for value in set(curve)}
    canary = {value: math.log(one) for value, (one, _) in bets.items()}
    stable = {value: math.log(other) for value, (_, other) in bets.items()}
    return tuple(map(canary.__getitem__, curve)), tuple(map(stable.__getitem__, curve))


def log_e_curves(
    cells: Sequence[tuple[float, tuple[Counts, Counts]]], curves: Curves, tolerance: float = 0.0
) -> float:
    """(7): log sum_g w_g exp(sum over cells and buckets of the log factors).

    Args:
        cells: histograms of canary and stable by the canary's probability.
        curves: what is bet on, frozen before the first of them.
        tolerance: see :func:`latency_factors`.
    """
    rows = [
        _row(curves, rho, tolerance, _bytes(canary), _bytes(stable))
        for rho, (canary, stable) in cells
        if any(canary) or any(stable)
    ]
    return log_mean(summed(rows), curves.log_weights) if rows else 0.0


def _bytes(counts: Counts) -> bytes:
    return array("q", counts).tobytes()


@lru_cache(maxsize=128)
def _row(
    curves: Curves, rho: float, tolerance: float, canary: bytes, stable: bytes
) -> tuple[float, ...]:
    """What one cell adds; remembered, for only those of the present period change."""
    factors = latency_factors(curves, rho, tolerance)
    return tuple(map(add, _arm(canary, factors.canary), _arm(stable, factors.stable)))


def _arm(packed: bytes, rows: tuple[tuple[float, ...], ...]) -> list[float]:
    """What one arm adds, without touching the buckets that are empty."""
    counts = array("q", packed).tolist()
    held = list(filter(None, counts))
    return [sum(map(mul, held, compress(row, counts))) for row in rows]


@lru_cache(maxsize=2)
def value_curves(*, rising: bool) -> Curves:
    """The alternatives for a mean per visitor, over :data:`VALUE_MIDDLES`.

    Half is bet on how many have a value at all, half on l(v) = exp(k (v - m)): larger values are
    rarer, or more common, around a usual mean m.
    """
    prior, sign = (HIGHER, 1) if rising else (LOWER, -1)
    shares = list(map(math.exp, prior.log_weights))
    having = [
        ([other, *[event] * (len(VALUE_MIDDLES) - 1)], share / 2)
        for (event, other), share in zip(prior.likelihoods, shares, strict=True)
    ]
    tilts = [(sign * slope, usual) for slope in TILTS for usual in (0.02, 0.2)]
    sized = [
        ([math.exp(slope * (value - usual)) for value in VALUE_MIDDLES], 0.5 / len(tilts))
        for slope, usual in tilts
    ]
    return Curves.of(having + sized)


# --- the shapes --------------------------------------------------------------------------------


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


def smoothed(baseline: Counts) -> list[float]:
    """Density per bucket: Gaussian kernels around what was seen, and a little far and wide."""
    total, size = sum(baseline), len(baseline)
    seen = [(index, count / total) for index, count in enumerate(baseline) if count]
    width = _bandwidth(baseline)
    kernel = _scaled([math.exp(-0.5 * (i / width) ** 2) for i in range(size)])
    wide = _scaled([math.exp(-i / _WIDE) for i in range(size)])
    mixed = [(1 - _SURPRISE) * a + _SURPRISE * b for a, b in zip(kernel, wide, strict=True)]
    return [sum([share * mixed[abs(b - at)] for at, share in seen]) for b in range(size)]


def _scaled(kernel: list[float]) -> list[float]:
    mass = 2 * sum(kernel) - kernel[0]
    return [value / mass for value in kernel]


def _bandwidth(baseline: Counts) -> float:
    """Silverman's rule on the logarithmic scale, from the quartiles, in buckets."""
    spread = quantile_bucket(baseline, 0.75) - quantile_bucket(baseline, 0.25)
    return max(0.8, 0.67 * spread * math.pow(sum(baseline), -0.2))


def _buckets(factor: float) -> float:
    return math.log(factor) / math.log(GROWTH)


def _shifted(usual: list[float], factor: float) -> list[float]:
    """l(b) = f(b - log m / log 1.1) / f(b): all is slower by the factor m."""
    moved = _moved(usual, _buckets(factor))
    return _nondecreasing([a / b for a, b in zip(moved, usual, strict=True)], usual)


def _moved(density: list[float], by: float) -> list[float]:
    """The density of latencies that are longer by a factor, log-linear between buckets."""
    logs = [math.log(value) for value in density]
    whole = math.floor(by)
    part = by - whole
    moved = []
    for index in range(len(logs)):
        near, far = max(0, index - whole), max(0, index - whole - 1)
        moved.append(math.exp((1 - part) * logs[near] + part * logs[far]))
    return moved


def _tail(
    baseline: Counts, usual: list[float], start: float, reach: int, share: float
) -> list[float]:
    """l(b) = 1 - share + share h(b) / f(b): a share of the requests is spread over h instead."""
    edge = quantile_bucket(baseline, 0.99)
    first = quantile_bucket(baseline, start) if start < 1 else edge + round(_buckets(start))
    first = min(first, len(usual) - 1)
    last = max(first, min(edge + reach, len(usual) - 1))
    height = share / (last - first + 1)
    curve = [
        1 - share + height / f if first <= b <= last else 1 - share for b, f in enumerate(usual)
    ]
    curve[last + 1 :] = [curve[last]] * (len(usual) - last - 1)
    return _nondecreasing(curve, usual)


def _beyond(baseline: Counts, level: float, odds: float) -> list[float]:
    """Two values: more requests than usual lie beyond a quantile, by an odds ratio."""
    at = quantile_bucket(baseline, level)
    usual = tail_share(baseline, at)
    worse = usual * odds / (1 - usual + usual * odds)
    return [(1 - worse) / (1 - usual)] * at + [worse / usual] * (len(baseline) - at)


def _nondecreasing(values: list[float], weights: list[float]) -> list[float]:
    """Pool adjacent violators: the nearest nondecreasing curve, weighted means of blocks."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        block = (value, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            block = _pooled(blocks.pop(), block)
        blocks.append(block)
    return [value for value, _, length in blocks for _ in range(length)]


def _pooled(
    left: tuple[float, float, int], right: tuple[float, float, int]
) -> tuple[float, float, int]:
    weight = left[1] + right[1]
    mean = (left[0] * left[1] + right[0] * right[1]) / weight
    return mean, weight, left[2] + right[2]
