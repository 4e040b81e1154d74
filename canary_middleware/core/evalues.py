"""E-values of binary outcomes: who had a bad event, given a coin of known probability per throw.

STATS formulas (1) to (4) and (14). ``rho`` is always the probability, known before the outcome,
that the throw gave the canary. Nothing is assumed about base rates: they may drift, spike for both
versions and depend on the past. An e-value of 100 rejects "the canary is not worse" at 1 %, at
whatever moment one looks (Ville 1939). All logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from canary_middleware.core.mixtures import Factors, Table, log_mean, logs_of, row, summed


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """The alternatives that are bet on, fixed before any outcome is seen; the weights sum to 1.

    Attributes:
        ratios: risk ratios canary ÷ stable, bet on by events alone, formula (3).
        pairs: (p_canary, p_stable), bet on by events and non-events, formula (2).
        log_weights: of the ratios, then of the pairs.
    """

    ratios: tuple[float, ...]
    pairs: tuple[tuple[float, float], ...]
    log_weights: tuple[float, ...]

    @property
    def rising(self) -> bool:
        """Whether more events are worse."""
        return self.ratios[0] > 1

    @classmethod
    def of(
        cls,
        ratios: tuple[float, ...],
        pairs: tuple[tuple[float, float], ...] = (),
        share: float = 1.0,
    ) -> Prior:
        """Equal weights within the ratios, which get ``share`` together, and within the pairs."""
        weights = [share / len(ratios)] * len(ratios)
        weights += [(1 - share) / len(pairs) for _ in pairs]
        return cls(ratios, pairs, logs_of(weights))


def geometric(first: float, last: float, count: int) -> tuple[float, ...]:
    """``count`` numbers from ``first`` to ``last``, each the same multiple of the one before."""
    step = (last / first) ** (1 / (count - 1))
    return tuple(first * step**index for index in range(count))


RATIOS: Final = geometric(1.15, 2000, 20)
HIGHER: Final = Prior.of(
    RATIOS,
    ((0.10, 0.002), (0.30, 0.002), (0.60, 0.01), (0.97, 0.01), (0.97, 0.10), (0.5, 0.2)),
    0.75,
)
"""More events are worse: failures, 4xx, double charges (STATS 1.2)."""
FIRST: Final = Prior.of(RATIOS)
"""First events of visitors, which have no denominator: ratios alone, formula (14)."""
LOWER: Final = Prior.of(
    geometric(1 / 1.08, 1 / 50, 20),
    (
        (0.02, 0.05),
        (0.05, 0.1),
        (0.1, 0.2),
        (0.2, 0.3),
        (0.35, 0.5),
        (0.5, 0.7),
        (0.02, 0.6),
        (0.6, 0.9),
    ),
    0.75,
)
"""Fewer events are worse: conversions, visitors who come back."""


def bet(ratio: float, rho: float) -> tuple[float, float]:
    """(1): what an outcome multiplies E by if it fell on the canary, and if on stable.

    e(y, c) = l / (rho l + 1 - rho), e(y, s) = 1 / (rho l + 1 - rho), with l = l(y) the likelihood
    ratio of the outcome. Valid for every l that is nondecreasing in y, "larger is worse":
    Grünwald, Henzi & Lardy, "Anytime-valid tests of conditional independence under model-X", 2023.
    """
    mean = rho * ratio + 1 - rho
    return ratio / mean, 1 / mean


def tilted(rho: float, tolerance: float) -> float:
    """The probability to use where a risk ratio up to 1 + tolerance is no regression (STATS 1.2).

    An event then falls on the canary with rho (1 + tolerance) / (rho (1 + tolerance) + 1 - rho) at
    most. It holds for bets with l >= 1, where nothing is won by what is not an event: E[e] - 1 is
    then a multiple of E_c[g] - (1 + tolerance) E_s[g] with g = (l - 1) / mean, which rises in y.
    """
    return rho * (1 + tolerance) / (rho * (1 + tolerance) + 1 - rho)


@lru_cache(maxsize=512)
def proportion_factors(rho: float, prior: Prior = HIGHER, tolerance: float = 0.0) -> Factors:
    """What one throw adds to log E of each alternative: (3) for the ratios, (2) for the pairs.

    Args:
        rho: probability that the throw gave the canary, strictly between 0 and 1.
        prior: what is bet on.
        tolerance: what is still no regression, relatively; pairs then bet on events alone.
    """
    if tolerance:
        rho = tilted(rho, tolerance if prior.rising else -tolerance)
    curves = [(ratio, 1.0) for ratio in prior.ratios]
    for worse, usual in prior.pairs:
        curves.append((worse / usual, 1.0 if tolerance else (1 - worse) / (1 - usual)))
    rows = [bet(event, rho) + bet(other, rho) for event, other in curves]
    return Factors(*(tuple(map(math.log, column)) for column in zip(*rows, strict=True)))


def first_event_factors(rho: float, tolerance: float = 0.0) -> Factors:
    """(14): what the first event of a visitor adds to log E of each of :data:`FIRST`."""
    return proportion_factors(rho, FIRST, tolerance)


def log_e(cells: Mapping[float, Table], prior: Prior = HIGHER, tolerance: float = 0.0) -> float:
    """(4) over cells of known probability: log sum_g w_g exp(sum over cells of log E_g).

    Args:
        cells: counts by probability of the canary; those of equal probability may be merged,
            others must never be (a ramp would look like a regression).
        prior: what is bet on.
        tolerance: see :func:`proportion_factors`.
    """
    rows = [
        row(proportion_factors(rho, prior, tolerance), table)
        for rho, table in cells.items()
        if any(table)
    ]
    return log_mean(summed(rows), prior.log_weights) if rows else 0.0
