from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.evalues import (
    FEWER,
    FIRST,
    HIGHER,
    LATE,
    LOWER,
    MORE,
    SELDOM,
    UNHEARD,
    Prior,
    bet,
    first_event_factors,
    log_e,
    proportion_factors,
    tilted,
)
from canary_middleware.core.mixtures import Factors, Table, log_mean, log_sum, logs_of, row

PAIRS = ((0.10, 0.002), (0.30, 0.002), (0.60, 0.01), (0.97, 0.01), (0.97, 0.10), (0.5, 0.2))
RATIOS = tuple(1.15 * (2000 / 1.15) ** (index / 19) for index in range(20))
# The priors that the known answers were computed with.
PUBLISHED = Prior.of(dict.fromkeys(RATIOS, 0.75 / 20) | dict.fromkeys(PAIRS, 0.25 / 6))
TWENTY = Prior.of(dict.fromkeys(RATIOS, 1.0))
STEPPED = 4 / 19  # seen on stable at 5 %, now 25 %

counts = st.builds(Table, *[st.integers(0, 10**9)] * 4)
odds = st.floats(0.001, 0.999)
cells = st.lists(st.tuples(odds, counts), max_size=4)
PRIORS = [HIGHER, LOWER, FIRST, LATE, SELDOM, MORE, FEWER, UNHEARD, PUBLISHED]
priors = st.sampled_from(PRIORS)


def test_bets_on_what_is_worse() -> None:
    assert bet(3, 0.05) == pytest.approx((2.727273, 0.909091), abs=1e-5)


def test_known_factors_of_a_pair() -> None:
    factors = proportion_factors(0.05, Prior.of({2.0: 1, (0.02, 0.01): 1}))
    linear = [math.exp(column[1]) for column in factors]
    assert linear == pytest.approx([1.904762, 0.952381, 0.990399, 1.000505], abs=1e-5)


@pytest.mark.parametrize("rate", [0.001, 0.3, 0.9])
@pytest.mark.parametrize("rho", [0.01, 0.05, STEPPED, 0.5])
@pytest.mark.parametrize("prior", PRIORS)
def test_without_a_difference_nobody_wins(prior: Prior, rho: float, rate: float) -> None:
    for mean in _means(proportion_factors(rho, prior), rho, rate, rate):
        assert mean == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rho", [0.01, 0.05, STEPPED, 0.5])
def test_a_better_canary_loses_the_bets(rho: float) -> None:
    for prior in PRIORS:
        better = (0.03, 0.05) if prior.rising else (0.05, 0.03)
        assert max(_means(proportion_factors(rho, prior), rho, *better)) <= 1


@pytest.mark.parametrize(
    ("prior", "least"), [(HIGHER, 0.06), (LOWER, 0.04), (MORE, 0.06), (FEWER, 0.04)]
)
def test_what_is_tolerated_wins_nothing_and_what_is_not_wins(prior: Prior, least: float) -> None:
    factors = proportion_factors(0.2, prior, 0.2)
    assert max(_means(factors, 0.2, least, 0.05)) <= 1 + 1e-12
    beyond = 0.05 + 3 * (least - 0.05)
    assert max(_means(factors, 0.2, beyond, 0.05)) > 1


def _means(factors: Factors, rho: float, canary: float, stable: float) -> list[float]:
    """The mean that one throw multiplies each alternative by."""
    return [
        rho * (canary * math.exp(a) + (1 - canary) * math.exp(c))
        + (1 - rho) * (stable * math.exp(b) + (1 - stable) * math.exp(d))
        for a, b, c, d in zip(*factors, strict=True)
    ]


@pytest.mark.parametrize(
    ("rho", "table", "known"),
    [
        (0.05, (1, 0, 0, 0), 2.504936),
        (0.05, (2, 0, 11, 240), 5.135754),
        (0.05, (8, 12, 300, 6000), 8.924085),
        (0.05, (0, 20, 100, 2000), -2.759179),
        (0.5, (5, 0, 0, 5), 4.464464),
        (0.05, (1, 0, 11, 240), 2.363879),
    ],
)
def test_known_mixtures(rho: float, table: tuple[int, ...], known: float) -> None:
    assert log_e([(rho, Table(*table))], PUBLISHED) == pytest.approx(known, abs=1e-5)


def test_known_mixture_of_two_cells() -> None:
    both = [(0.05, Table(1, 0, 11, 240)), (STEPPED, Table(3, 1, 60, 220))]
    assert log_e(both, PUBLISHED) == pytest.approx(3.770265, abs=1e-5)


def test_known_block_of_one_failure_on_the_canary() -> None:
    """Turner, Ly & Grünwald: 1 canary failure beside 19 good stable answers, (.05, .01)."""
    factors = proportion_factors(0.05, Prior.of({2.0: 1, (0.05, 0.01): 1}))
    log_block = row(factors, Table(1, 0, 0, 19))[1]
    assert math.exp(log_block) == pytest.approx(4.329876, abs=1e-5)


@pytest.mark.parametrize(
    ("rho", "known"), [(0.05, (1.003302, -0.095310)), (4 / 99, (1.020903, -0.077709))]
)
def test_known_factors_of_a_ratio(rho: float, known: tuple[float, float]) -> None:
    factors = proportion_factors(rho, Prior.of({3.0: 1}))
    assert (factors.canary_event[0], factors.stable_event[0]) == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize(
    ("rho", "canary", "stable", "known"),
    [
        (0.05, 1, 0, 2.505903), (0.05, 2, 0, 5.282968), (0.05, 3, 0, 8.142847),
        (0.05, 3, 1, 5.855589), (0.05, 20, 380, -3.139632),
        (0.5, 5, 0, 3.146461), (0.5, 7, 0, 4.467872), (0.5, 8, 0, 5.134188),
    ],
)  # fmt: skip
def test_known_first_events(rho: float, canary: int, stable: int, known: float) -> None:
    assert log_e([(rho, Table(canary, stable))], TWENTY) == pytest.approx(known, abs=1e-5)


def test_known_first_events_of_two_periods() -> None:
    periods = [(0.01, Table(1, 2)), (0.05, Table(2, 3))]
    assert log_e(periods, TWENTY) == pytest.approx(3.760284, abs=1e-5)


def test_known_average_of_metrics() -> None:
    logs = [math.log(10), 0.0, 0.0]
    assert math.exp(log_mean(logs, logs_of([0.45, 0.30, 0.25]))) == pytest.approx(5.05, abs=1e-5)


def test_known_sum_inside_the_ledger_of_entries() -> None:
    held = log_sum([math.log(0.15) + 2, math.log(0.20) + 3])
    assert held == pytest.approx(1.634221, abs=1e-5)
    assert held < math.log(1 / 0.01)


@given(priors)
def test_nothing_says_nothing(prior: Prior) -> None:
    assert log_e([], prior) == 0
    assert log_e([(0.05, Table())], prior) == 0
    assert sum(math.exp(weight) for weight in prior.log_weights) == pytest.approx(1)


@given(priors, odds, counts, counts)
def test_two_workers_are_one(prior: Prior, rho: float, one: Table, two: Table) -> None:
    factors = proportion_factors(rho, prior)
    apart = [a + b for a, b in zip(row(factors, one), row(factors, two), strict=True)]
    together = row(factors, Table(*map(sum, zip(one, two, strict=True))))
    assert together == pytest.approx(apart, rel=1e-9, abs=1e-6)


@given(priors, cells)
def test_huge_counts_stay_finite(prior: Prior, tables: list[tuple[float, Table]]) -> None:
    assert math.isfinite(log_e(tables, prior))


@given(odds, st.lists(st.sampled_from(range(4)), max_size=60), st.randoms(use_true_random=False))
def test_the_order_within_a_period_is_of_no_account(
    rho: float, throws: list[int], shuffle: random.Random
) -> None:
    shuffled = throws.copy()
    shuffle.shuffle(shuffled)
    assert _path(rho, shuffled)[-1] == pytest.approx(_path(rho, throws)[-1], abs=1e-9)
    assert _path(rho, throws)[-1] == pytest.approx(
        log_e([(rho, Table(*(throws.count(kind) for kind in range(4))))]), abs=1e-9
    )


def _path(rho: float, throws: list[int]) -> list[float]:
    """Log E after each throw, by the factors of one throw."""
    factors = proportion_factors(rho)
    at = [0.0] * len(HIGHER.log_weights)
    path = [0.0]
    for kind in throws:
        at = [a + b for a, b in zip(at, factors[kind], strict=True)]
        path.append(log_mean(at, HIGHER.log_weights))
    return path


@given(st.integers(0, 40), st.integers(0, 400))
def test_more_failures_on_the_canary_are_more_evidence(canary: int, stable: int) -> None:
    more = [log_e([(0.05, Table(canary + k, stable, 100, 2000))]) for k in range(4)]
    assert all(a < b for a, b in pairwise(more)) or stable > 20 * canary


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_the_mean_stays_one_at_fixed_times_whatever_the_base_rate_does(rho: float) -> None:
    """An incident that hits both versions twentyfold in the middle included."""
    chance = random.Random(4)
    found = [math.exp(log_e([(rho, _incident(chance, rho))], FIRST)) for _ in range(4000)]
    mean = sum(found) / len(found)
    spread = math.sqrt(sum((e - mean) ** 2 for e in found)) / len(found)
    assert mean <= 1 + 3 * spread
    assert sum(e >= 20 for e in found) / len(found) <= 0.05


def _incident(chance: random.Random, rho: float) -> Table:
    table = [0, 0, 0, 0]
    for number in range(60):
        rate = 0.4 if 20 <= number < 35 else 0.02
        event, canary = chance.random() < rate, chance.random() < rho
        table[(0 if event else 2) + (0 if canary else 1)] += 1
    return Table(*table)


def test_the_tilted_coin() -> None:
    assert tilted(0.5, 0.0) == 0.5
    assert tilted(0.5, 1.0) == pytest.approx(2 / 3)


def test_first_events_bet_without_those_that_had_none() -> None:
    factors = first_event_factors(0.05)
    assert not any(factors.canary_other + factors.stable_other)
