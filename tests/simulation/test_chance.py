"""Counts drawn at once are distributed as if they were drawn one by one."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean, pvariance

import pytest

from canary_middleware.simulation.chance import binomial, poisson, spread

DRAWS = 4000


@pytest.mark.parametrize(
    ("count", "share"), [(1, 0.3), (10, 0.5), (40, 0.02), (300, 0.9), (5000, 0.01), (10**6, 0.25)]
)
def test_binomial_has_its_mean_and_variance(count: int, share: float) -> None:
    random = Random(1)
    drawn = [binomial(random, count, share) for _ in range(DRAWS)]
    mean, variance = count * share, count * share * (1 - share)
    assert all(0 <= one <= count for one in drawn)
    assert fmean(drawn) == pytest.approx(mean, abs=4 * math.sqrt(variance / DRAWS))
    assert pvariance(drawn) == pytest.approx(variance, rel=0.15)


def test_binomial_has_its_distribution() -> None:
    random = Random(2)
    drawn = [binomial(random, 40, 0.1) for _ in range(20_000)]
    for value in range(10):
        expected = math.comb(40, value) * 0.1**value * 0.9 ** (40 - value)
        assert drawn.count(value) / len(drawn) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (-0.1, 0), (1.0, 70), (1.1, 70)])
def test_certain_shares_need_no_luck(share: float, expected: int) -> None:
    assert binomial(Random(3), 70, share) == expected


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 60.0, 12_345.6])
def test_poisson_has_its_mean_and_variance(mean: float) -> None:
    random = Random(4)
    drawn = [poisson(random, mean) for _ in range(DRAWS)]
    assert fmean(drawn) == pytest.approx(mean, abs=4 * math.sqrt(mean / DRAWS))
    assert pvariance(drawn) == pytest.approx(mean, rel=0.15, abs=1e-9)


@pytest.mark.parametrize("count", [30, 5000])
def test_spread_loses_nobody(count: int) -> None:
    random = Random(5)
    total = [0, 0, 0, 0]
    for _ in range(200):
        table = spread(random, count, (0.5, 0.5, 0.9, 1.0))
        assert sum(table) == count
        total = [a + b for a, b in zip(total, table, strict=True)]
    assert total[1] == 0
    assert [one / sum(total) for one in total] == pytest.approx([0.5, 0.0, 0.4, 0.1], abs=0.02)
