from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.mixtures import Table
from canary_middleware.core.noninferiority import (
    EQUAL,
    log_margin,
    log_mean_margin,
    margin_factors,
    visitors_needed,
)

STEPPED = 4 / 19
odds = st.floats(0.001, 0.999)
shares = st.floats(0.0, 1.0)
margins = st.floats(0.001, 0.3)


def test_known_factors_of_the_largest_bet() -> None:
    """(11), the bet that takes nine tenths of what is allowed."""
    factors = margin_factors(0.05, 0.01, stakes=EQUAL)
    at = EQUAL.fractions.index(0.9)
    assert (factors.canary_other[at], factors.canary_event[at], factors.stable_event[at]) == (
        pytest.approx((0.000450124, -2.302585, 0.046733), abs=1e-6)
    )
    canary = math.log(1 / 0.05) / factors.canary_other[at] * 0.05
    assert canary == pytest.approx(332.77, abs=0.01)


@pytest.mark.parametrize(
    ("centre", "delta", "cells", "known"),
    [
        (0.0, 0.01, {0.05: (3, 60, 150, 2800)}, -0.050723),
        (0.0, 0.01, {0.05: (3, 60, 150, 2800), STEPPED: (4, 15, 420, 1561)}, 0.637495),
        (0.5, 0.05, {0.05: (70, 1250, 80, 1600)}, -0.745652),
        (0.5, 0.05, {STEPPED: (40, 150, 60, 250)}, -0.818180),
    ],
)
def test_known_proofs(
    centre: float, delta: float, cells: dict[float, tuple[int, ...]], known: float
) -> None:
    tables = [(rho, Table(*table)) for rho, table in cells.items()]
    assert log_margin(tables, delta, centre, EQUAL) == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize(("rho", "visitors"), [(0.05, 9823), (STEPPED, 2331), (0.5, 980)])
def test_nobody_can_promote_earlier_without_a_single_event(rho: float, visitors: int) -> None:
    wanted = math.log(1 / 0.05)
    assert log_margin([(rho, Table(0, 0, visitors, 0))], 0.01, stakes=EQUAL) >= wanted
    assert log_margin([(rho, Table(0, 0, visitors - 1, 0))], 0.01, stakes=EQUAL) < wanted
    assert round(visitors * rho) in {490, 491}


def test_how_many_are_needed_is_about_how_many_prove_it() -> None:
    needed = visitors_needed(0.05, 0.01, 0.0, 0.0, 0.05)
    enough = next(
        number for number in range(5_000, 20_000, 50)
        if log_margin([(0.05, Table(0, 0, number, 0))], 0.01) >= math.log(20)
    )  # fmt: skip
    assert enough == pytest.approx(needed, rel=0.25)


@given(odds, margins, shares, shares)
def test_at_the_margin_nobody_wins(rho: float, delta: float, centre: float, rate: float) -> None:
    stable = rate * (1 - delta)
    canary = stable + delta
    factors = margin_factors(rho, delta, centre)
    for a, b, c, d in zip(*(map(math.exp, column) for column in factors), strict=True):
        mean = rho * (canary * a + (1 - canary) * c) + (1 - rho) * (stable * b + (1 - stable) * d)
        assert mean == pytest.approx(1, abs=1e-9)


@given(odds, margins, shares, st.builds(Table, *[st.integers(0, 10**9)] * 4))
def test_huge_counts_stay_finite(rho: float, delta: float, centre: float, table: Table) -> None:
    assert math.isfinite(log_margin([(rho, table)], delta, centre))


def test_nothing_proves_nothing() -> None:
    assert log_margin([], 0.01) == 0
    assert log_margin([(0.05, Table())], 0.01) == 0
    assert log_mean_margin([(0.05, ((0, 0), (0, 0)))], (0.0, 1.0), 0.01, 1.0) == 0


def test_a_canary_at_the_margin_is_rarely_proven() -> None:
    chance = random.Random(11)
    proven = sum(_ever_proven(chance, 0.5, 0.05, 0.02, 0.03) for _ in range(400))
    assert proven / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def _ever_proven(
    chance: random.Random, rho: float, delta: float, stable: float, more: float
) -> bool:
    """Whether it was ever proven, watched at every twentieth visitor."""
    table = [0, 0, 0, 0]
    for number in range(1, 1201):
        canary = chance.random() < rho
        event = chance.random() < (stable + delta if canary else stable)
        table[(0 if event else 2) + (0 if canary else 1)] += 1
        if number % 20 == 0 and log_margin([(rho, Table(*table))], delta) >= math.log(20):
            return True
    return False


@given(odds, margins, shares, st.tuples(*[st.integers(0, 1000)] * 4))
def test_means_of_nothing_and_all_are_shares(
    rho: float, delta: float, centre: float, counts: tuple[int, ...]
) -> None:
    """No value at all is the event that is worse."""
    table = Table(*counts)
    arms = (
        (table.canary_events, table.canary_others),
        (table.stable_events, table.stable_others),
    )
    as_share = log_margin([(rho, table)], delta, centre)
    as_mean = log_mean_margin([(rho, arms)], (0.0, 1.0), delta, centre)
    assert as_mean == pytest.approx(as_share, rel=1e-6, abs=1e-6)


def test_equal_revenue_is_proven_in_the_end_and_half_of_it_never() -> None:
    values = (0.0, *((index + 0.5) / 16 for index in range(16)))
    usual = [700] + [20] * 16
    half = [840] + [20] * 8 + [0] * 8
    many = [50 * count for count in usual]
    assert log_mean_margin([(0.5, (usual, usual))], values, 0.02, 1.0) < math.log(20)
    assert log_mean_margin([(0.5, (many, many))], values, 0.02, 1.0) > math.log(20)
    few = [50 * count for count in half]
    assert log_mean_margin([(0.5, (few, many))], values, 0.02, 1.0) < 0


def test_what_cannot_be_proven_needs_for_ever() -> None:
    assert visitors_needed(0.05, 0.0001, 0.0, 0.6, 0.05) == math.inf
