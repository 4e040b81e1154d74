from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.bands import distribution_radius, quantile_radius, quantile_range
from canary_middleware.core.ratio import MISMATCH, log_mismatch, log_ratio


@pytest.mark.parametrize(
    ("n", "known"), [(100, 0.269176), (1000, 0.086569), (10_000, 0.027711), (100_000, 0.008846)]
)
def test_known_radius_of_the_whole_distribution(n: int, known: float) -> None:
    assert distribution_radius(n, 0.05) == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize(
    ("p", "t", "known"),
    [
        (0.5, 1000, 0.074212),
        (0.05, 1000, 0.036025),
        (0.01, 1000, 0.019989),
        (0.01, 10_000, 0.005036),
    ],
)
def test_known_radius_of_a_quantile(p: float, t: int, known: float) -> None:
    assert quantile_radius(p, t, 0.05) == pytest.approx(known, abs=1e-5)


@given(st.floats(0.01, 0.99), st.integers(0, 10**9))
def test_a_range_surrounds_its_quantile(p: float, t: int) -> None:
    lower, upper = quantile_range(p, t, 0.05)
    assert 0 <= lower <= p <= upper <= 1


def test_the_range_of_the_median_hardly_ever_misses() -> None:
    chance = random.Random(3)
    missed = 0
    for _ in range(200):
        below = 0
        for t in range(2, 301):
            below += chance.random() < 0.5
            lower, upper = quantile_range(0.5, t, 0.05)
            if not lower <= below / t <= upper:
                missed += 1
                break
    assert missed / 200 <= 0.05


@pytest.mark.parametrize(
    ("canary", "stable", "rho", "known"),
    [(8, 12, 0.05, 8.007142), (10, 180, 0.05, -2.799310), (30, 80, 4 / 19, -1.105299)],
)
def test_known_sample_ratios(canary: int, stable: int, rho: float, known: float) -> None:
    assert log_ratio(canary, stable, rho) == pytest.approx(known, abs=1e-5)


def test_cells_add_and_nothing_says_nothing() -> None:
    cells = [(0.05, (10, 180)), (4 / 19, (30, 80))]
    assert log_mismatch(cells) == pytest.approx(-2.799310 - 1.105299, abs=1e-5)
    assert log_mismatch([]) == 0
    assert log_mismatch([(0.3, (0, 0))]) == pytest.approx(0, abs=1e-12)


def test_a_broken_draw_is_noticed_and_a_fair_one_is_not() -> None:
    assert log_mismatch([(0.05, (10**9, 19 * 10**9))]) < 0
    assert log_mismatch([(0.5, (600, 400))]) > MISMATCH
