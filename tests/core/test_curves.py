from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.curves import (
    Curves,
    latency_curves,
    latency_factors,
    log_e_curves,
    quantile_bucket,
    smoothed,
    tail_share,
    value_curves,
)
from canary_middleware.core.mixtures import log_mean
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.totals import bucket_of

Histogram = tuple[int, ...]

histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 10**6), min_size=1).map(
    lambda found: tuple(found.get(bucket, 0) for bucket in range(BUCKETS))
)


def _drawn(seed: int, n: int, factor: float = 1.0, slow: float = 0.0) -> Histogram:
    chance = random.Random(seed)
    counts = [0] * BUCKETS
    for _ in range(n):
        seconds = factor * math.exp(chance.gauss(math.log(0.08), 0.5))
        counts[bucket_of(seconds + (5 if chance.random() < slow else 0))] += 1
    return tuple(counts)


BASELINE = _drawn(1, 1500)


@given(histograms)
def test_slower_is_never_a_lower_curve(baseline: Histogram) -> None:
    curves = latency_curves(baseline)
    for curve in curves.curves:
        assert len(curve) == BUCKETS
        assert all(0 <= a <= b for a, b in pairwise(curve))
    assert len(curves.log_weights) == len(curves.curves)
    assert sum(map(math.exp, curves.log_weights)) == pytest.approx(1)


@given(histograms)
def test_what_was_seen_is_smoothed_into_a_density(baseline: Histogram) -> None:
    density = smoothed(baseline)
    assert min(density) > 0
    assert sum(density) <= 1 + 1e-9


@pytest.mark.parametrize("rho", [0.01, 0.05, 4 / 19, 0.5])
def test_without_a_difference_nobody_wins(rho: float) -> None:
    canary, stable = latency_factors(latency_curves(BASELINE), rho)
    total = sum(BASELINE)
    for one, other in zip(canary, stable, strict=True):
        for a, b in zip(one, other, strict=True):
            assert rho * math.exp(a) + (1 - rho) * math.exp(b) == pytest.approx(1)
        # A mean of 1 in every bucket is one for every distribution that both versions share.
        mean = sum(n * (rho * math.exp(a) + (1 - rho) * math.exp(b)) for n, a, b in zip(
            BASELINE, one, other, strict=True)) / total  # fmt: skip
        assert mean == pytest.approx(1)


def test_a_faster_canary_loses_every_bet() -> None:
    rho = 0.2
    canary, stable = latency_factors(latency_curves(BASELINE), rho)
    faster, usual = _drawn(2, 1000, 0.7), _drawn(3, 1000)
    for a, b in zip(canary, stable, strict=True):
        mean = rho * _mean(a, faster) + (1 - rho) * _mean(b, usual)
        assert mean <= 1.001


def _mean(factors: tuple[float, ...], counts: Histogram) -> float:
    return sum(n * math.exp(f) for n, f in zip(counts, factors, strict=True)) / sum(counts)


@given(histograms, histograms, st.floats(0.001, 0.999))
def test_sums_are_those_of_the_factors(canary: Histogram, stable: Histogram, rho: float) -> None:
    """Empty buckets are left out; the tables are what the harness watches."""
    curves = latency_curves(BASELINE)
    tables = latency_factors(curves, rho)
    plain = [
        sum(n * f for n, f in zip(canary, a, strict=True))
        + sum(n * f for n, f in zip(stable, b, strict=True))
        for a, b in zip(*tables, strict=True)
    ]
    expected = log_mean(plain, curves.log_weights)
    assert log_e_curves([(rho, (canary, stable))], curves) == pytest.approx(expected, rel=1e-9)


def test_nothing_says_nothing_and_huge_counts_stay_finite() -> None:
    curves = latency_curves(BASELINE)
    empty = (0,) * BUCKETS
    assert log_e_curves([], curves) == 0
    assert log_e_curves([(0.05, (empty, empty))], curves) == 0
    huge = tuple(10**9 * n for n in BASELINE)
    assert math.isfinite(log_e_curves([(0.05, (huge, huge)), (0.5, (huge, empty))], curves))


def test_cells_add_before_they_are_mixed() -> None:
    curves = latency_curves(BASELINE)
    one, two = (_drawn(4, 20), _drawn(5, 300)), (_drawn(6, 40), _drawn(7, 90))
    both = log_e_curves([(0.05, one), (0.3, two)], curves)
    rows = [
        [sum(n * f for n, f in zip(counts, row, strict=True)) for row in table]
        for rho, arms in ((0.05, one), (0.3, two))
        for counts, table in zip(arms, latency_factors(curves, rho), strict=True)
    ]
    assert both == pytest.approx(
        log_mean([sum(column) for column in zip(*rows, strict=True)], curves.log_weights)
    )


@pytest.mark.parametrize(("factor", "slow"), [(1.5, 0.0), (1.0, 0.05)])
def test_a_slower_canary_is_seen(factor: float, slow: float) -> None:
    cells = [(0.05, (_drawn(8, 100, factor, slow), _drawn(9, 1900)))]
    assert log_e_curves(cells, latency_curves(BASELINE)) > math.log(100)


def test_a_guard_at_a_quantile_watches_that_and_the_tail() -> None:
    edge = quantile_bucket(BASELINE, 0.9)
    watched = latency_curves(BASELINE, 0.9).curves
    assert [len(set(curve)) for curve in watched[:2]] == [2, 2]
    assert all(curve[edge - 1] < 1 < curve[edge] for curve in watched[:2])
    assert watched[2:] == latency_curves(BASELINE).curves[-len(watched[2:]) :]


def test_tolerated_is_a_tail_that_is_somewhat_heavier() -> None:
    rho, tolerance = 0.3, 0.2
    canary, stable = latency_factors(latency_curves(BASELINE), rho, tolerance)
    usual = [n / sum(BASELINE) for n in BASELINE]
    worst = _heavier(usual, 1 + tolerance)
    for a, b in zip(canary, stable, strict=True):
        mean = sum(
            rho * w * math.exp(x) + (1 - rho) * u * math.exp(y)
            for w, u, x, y in zip(worst, usual, a, b, strict=True)
        )
        assert mean <= 1 + 1e-9


def _heavier(usual: list[float], by: float) -> list[float]:
    """Every tail ``by`` times as heavy, as far as there is anything to take from."""
    tails = [min(1.0, by * sum(usual[index:])) for index in range(BUCKETS)]
    return [a - b for a, b in zip(tails, [*tails[1:], 0.0], strict=True)]


@given(histograms, st.sampled_from([0.5, 0.9, 0.99]))
def test_a_share_lies_beyond_a_quantile(baseline: Histogram, level: float) -> None:
    at = quantile_bucket(baseline, level)
    assert sum(baseline[:at]) >= level * sum(baseline) * (1 - 1e-9) or at == BUCKETS - 1
    assert 0 < tail_share(baseline, at) < 1


def test_the_same_baseline_is_the_same_curves() -> None:
    again: Curves = latency_curves(tuple(BASELINE))
    assert again is latency_curves(BASELINE)


@pytest.mark.parametrize("rising", [True, False])
def test_values_rise_or_fall_and_bet_on_that_side(rising: bool) -> None:
    curves = value_curves(rising=rising)
    for curve in curves.curves:
        assert all((a <= b) if rising else (a >= b) for a, b in pairwise(curve))
    usual, less = [900] + [10] * 16, [950] + [10] * 8 + [0] * 8
    many = [20 * count for count in usual]
    fewer = [20 * count for count in less]
    worse, better = [(0.05, (less, many))], [(0.05, (usual, fewer))]
    if rising:
        worse, better = better, worse
    assert log_e_curves(worse, curves) > math.log(100)
    assert log_e_curves(better, curves) < 0
