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

from canary_middleware.core.mixtures import Cells, Factors, log_mean, logs_of, row, summed


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """The alternatives that are bet on, fixed before any outcome is seen.

    Attributes:
        likelihoods: l of an event and l of no event under each alternative, see :func:`bet`.
        log_weights: of the alternatives; the weights sum to 1.
        rising: whether more events are worse.
    """

    likelihoods: tuple[tuple[float, float], ...]
    log_weights: tuple[float, ...]
    rising: bool

    @classmethod
    def of(cls, alternatives: Mapping[float | tuple[float, float], float]) -> Prior:
        """Alternatives with their weights.

        A number is a risk ratio canary ÷ stable, bet on by events alone, formula (3); two are
        (p_canary, p_stable), bet on by events and by non-events, formula (2).
        """
        likelihoods = tuple(map(_likelihoods, alternatives))
        return cls(likelihoods, logs_of(alternatives.values()), likelihoods[0][0] > 1)


def _likelihoods(alternative: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(alternative, tuple):
        canary, stable = alternative
        return canary / stable, (1 - canary) / (1 - stable)
    return alternative, 1.0


HIGHER: Final = Prior.of({
    1.9: 0.20, 2.8: 0.20, 4.5: 0.17, 10.0: 0.08, 40.0: 0.04,
    (0.07, 0.01): 0.06, (0.12, 0.002): 0.04, (0.15, 0.05): 0.03, (0.35, 0.08): 0.03,
    (0.97, 0.008): 0.15,
})  # fmt: skip
"""More events are worse: failures, 4xx.

Fewer and nearer alternatives than the prior of STATS 1.2: each costs what it weighs, and a ratio in
between two of them is found almost as fast. The last one is a crash.
"""
FIRST: Final = Prior.of({1.5: 0.17, 2.2: 0.20, 3.3: 0.20, 5.5: 0.17, 12.0: 0.13, 60.0: 0.13})
"""First events of visitors, which have no denominator: ratios alone, formula (14)."""
LATE: Final = Prior.of({2.0: 0.15, 4.0: 0.25, 12.0: 0.35, 40.0: 0.25})
"""Answers slower than twice stable's p99 are rare by definition: events alone, larger ratios."""
SELDOM: Final = Prior.of({4.0: 0.06, 25.0: 0.70, 300.0: 0.24})
"""What must never happen hardly does on stable: events alone, and mostly large ratios."""
LOWER: Final = Prior.of({
    (0.046, 0.06): 0.26, (0.034, 0.06): 0.26, (0.016, 0.06): 0.13,
    (0.15, 0.20): 0.10, (0.11, 0.20): 0.10, (0.38, 0.50): 0.09, (0.60, 0.75): 0.06,
})  # fmt: skip
"""Fewer events are worse: conversions, visitors who come back."""

# Where every request is drawn anew all bets of a release share one average, so each has more of
# alpha, but a request tells less than a visitor: these were weighed by themselves, for canary
# requests until a rollback at 5 % and at 50 %. See ``python -m benchmarks.judge --part requests``.
MORE: Final = Prior.of({
    1.8: 0.03, 3.2: 0.09, 7.0: 0.08, (0.97, 0.008): 0.19,
    (0.04, 0.01): 0.08, (0.07, 0.01): 0.16, (0.12, 0.012): 0.18, (0.05, 0.025): 0.11,
    (0.10, 0.05): 0.08,
})  # fmt: skip
"""More events are worse, of requests: pairs rather than ratios, for non-events are known too."""
UNHEARD: Final = Prior.of({10_000.0: 0.79, 25.0: 0.06, (0.05, 0.002): 0.09, (0.02, 0.001): 0.06})
"""What must never happen, of requests.

Two events on a canary at 5 % are worth 1 / rho^2 = 400 at most, and only to a bet that stable has
none at all: with its weight here and its share of alpha that is just enough for alpha 1 %. A third
event would be half as many orders again that are charged twice. After one event on stable the
others are left.
"""
FEWER: Final = Prior.of({
    (0.06, 0.09): 0.56, (0.046, 0.06): 0.12, (0.028, 0.06): 0.08,
    (0.13, 0.20): 0.16, (0.36, 0.50): 0.08,
})  # fmt: skip
"""Fewer events are worse, of requests: about a third less."""


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
    rows = [
        bet(event, rho) + bet(1.0 if tolerance else other, rho)
        for event, other in prior.likelihoods
    ]
    return Factors(*(tuple(map(math.log, column)) for column in zip(*rows, strict=True)))


def first_event_factors(rho: float, prior: Prior = FIRST, tolerance: float = 0.0) -> Factors:
    """(14): what the first event of a visitor adds to log E of each alternative.

    Args:
        rho: weight of the period in which it happened; not the probability of a throw, for nothing
            of this visitor was used before.
        prior: :data:`FIRST`, :data:`LATE` or :data:`SELDOM`, by the kind of event.
        tolerance: see :func:`proportion_factors`.
    """
    return proportion_factors(rho, prior, tolerance)


def log_e(cells: Cells, prior: Prior = HIGHER, tolerance: float = 0.0) -> float:
    """(4) over cells of known probability: log sum_g w_g exp(sum over cells of log E_g).

    Args:
        cells: counts by probability of the canary.
        prior: what is bet on.
        tolerance: see :func:`proportion_factors`.
    """
    rows = [
        row(proportion_factors(rho, prior, tolerance), table) for rho, table in cells if any(table)
    ]
    return log_mean(summed(rows), prior.log_weights) if rows else 0.0
