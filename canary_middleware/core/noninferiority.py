"""Evidence for promotion: that the canary is worse by less than a margin, at any moment.

STATS formulas (11) and (15). Betting: Waudby-Smith & Ramdas, "Estimating means of bounded random
variables by betting", JRSS-B 2024; inverse propensities: Howard, Ramdas, McAuliffe & Sekhon, Annals
of Statistics 2021. Every metric must pass at level alpha by itself; that needs no correction
(Berger 1982). All logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import mul
from typing import Final, NamedTuple

from canary_middleware.core.mixtures import Cells, Factors, log_mean, logs_of, summed

ValueCells = Sequence[tuple[float, tuple[Sequence[int], Sequence[int]]]]


class Stakes(NamedTuple):
    """What is bet on a margin: a mixture, fixed beforehand.

    Attributes:
        fractions: of the largest bet that is allowed; small ones win for common outcomes.
        log_weights: of each, which sum up to 1.
    """

    fractions: tuple[float, ...]
    log_weights: tuple[float, ...]


EQUAL: Final = Stakes((0.02, 0.06, 0.2, 0.5, 0.9), logs_of([1.0] * 5))
"""The grid of STATS 4.2, with the known answers of 4.8."""
STAKES: Final = Stakes((0.02, 0.06, 0.2, 0.4, 0.6), logs_of([0.1, 0.1, 0.2, 0.3, 0.3]))
"""What is used: the most on what rare failures and margins of a point or two need."""


@lru_cache(maxsize=512)
def margin_factors(
    rho: float, delta: float, centre: float = 0.0, stakes: Stakes = STAKES
) -> Factors:
    """What one throw adds to log M of each fraction f, formula (15).

    Z has the mean p_canary - p_stable whatever the base rate is: (1-c)/rho, -(1-c)/(1-rho), -c/rho,
    c/(1-rho) for an event on the canary, on stable, none on the canary, none on stable. Then
    M = prod (1 + lambda (delta - Z)), lambda = f / (max Z - delta). With c = 0 it is (11).

    Args:
        rho: probability of the canary in this cell.
        delta: the margin, as a difference of shares; the null is "worse by delta or more".
        centre: c, the expected share, fixed beforehand: it halves the variance of common events.
        stakes: what is bet.
    """
    mirrored = 1 - rho
    values = (
        (1 - centre) / rho,
        -(1 - centre) / mirrored,
        -centre / rho,
        centre / mirrored,
    )
    largest = max(values) - delta
    return Factors(
        *(tuple(math.log1p(f * (delta - z) / largest) for f in stakes.fractions) for z in values)
    )


def log_margin(cells: Cells, delta: float, centre: float = 0.0, stakes: Stakes = STAKES) -> float:
    """Log M over cells by probability of the canary; proven when it reaches log(1/alpha)."""
    counts = [count for _, table in cells for count in table]
    if not any(counts):
        return 0.0
    rows = _margin_rows(tuple([rho for rho, _ in cells]), delta, centre, stakes)
    return log_mean([sum(map(mul, counts, row)) for row in rows], stakes.log_weights)


@lru_cache(maxsize=64)
def _margin_rows(
    rhos: tuple[float, ...], delta: float, centre: float, stakes: Stakes
) -> list[tuple[float, ...]]:
    """By fraction, what each count of each cell adds."""
    columns = [column for rho in rhos for column in margin_factors(rho, delta, centre, stakes)]
    return list(zip(*columns, strict=True))


def log_mean_margin(
    cells: ValueCells, values: Sequence[float], delta: float, centre: float
) -> float:
    """(15) for a mean: log M that the canary's mean value is lower by less than delta.

    A value v in [0, 1] counts as the share 1 - v of an event, so that higher is worse. 1 + lambda
    (delta - Z) is linear in the outcome, so the bet on a value is the mix of the bets on 0 and 1.

    Args:
        cells: visitors per value, of the canary and of stable, by probability of the canary.
        values: in parts of the cap.
        delta: the margin, in parts of the cap.
        centre: the expected mean of 1 - v, fixed beforehand.
    """
    rows = [
        _mean_row(margin_factors(rho, delta, centre), values, *arms)
        for rho, arms in cells
        if any(map(any, arms))
    ]
    return log_mean(summed(rows), STAKES.log_weights) if rows else 0.0


def _mean_row(
    factors: Factors, values: Sequence[float], canary: Sequence[int], stable: Sequence[int]
) -> list[float]:
    return [
        _mixed(a, c, values, canary) + _mixed(b, d, values, stable)
        for a, b, c, d in zip(*factors, strict=True)
    ]


def _mixed(event: float, other: float, values: Sequence[float], counts: Sequence[int]) -> float:
    low, high = math.exp(event), math.exp(other)
    return sum(
        count * math.log(low + (high - low) * value)
        for value, count in zip(values, counts, strict=True)
        if count
    )


def visitors_needed(rho: float, delta: float, centre: float, rate: float, alpha: float) -> float:
    """About how many visitors of both arms prove the margin, if both have this rate of events.

    The quickest fraction's growth per visitor, against log(1/alpha) and the price of its weight;
    infinite where no fraction grows.
    """
    factors = margin_factors(rho, delta, centre)
    growths = [
        rho * (rate * a + (1 - rate) * c) + (1 - rho) * (rate * b + (1 - rate) * d)
        for a, b, c, d in zip(*factors, strict=True)
    ]
    each = zip(growths, STAKES.log_weights, strict=True)
    return min(
        (-(math.log(alpha) + weight) / growth for growth, weight in each if growth > 0),
        default=math.inf,
    )
