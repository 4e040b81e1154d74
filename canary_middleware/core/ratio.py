"""Sample-ratio mismatch: whether visitors came to the arms in the proportion that was drawn.

A mismatch says that the assignment or the counting is broken, so nothing may be called proven; it
does not say that the canary is bad. STATS formula (6): Lindon & Malek, "Anytime-valid inference for
multinomial count data", 2022, section 2. All logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

MISMATCH: Final = math.log(1000)
"""log E on first sights of visitors from which on promotion is blocked."""


def log_ratio(canary: int, stable: int, rho: float, mass: float = 2.0) -> float:
    """(6): log Bayes factor of "some other proportion" against rho, for one cell.

    Args:
        canary: visitors first seen on the canary.
        stable: visitors first seen on stable.
        rho: probability of the canary in the cell.
        mass: k, pseudo-counts of the Dirichlet prior around rho.
    """
    total = canary + stable
    return (
        math.lgamma(mass)
        - math.lgamma(mass + total)
        + _part(canary, rho, mass)
        + _part(stable, 1 - rho, mass)
    )


def _part(count: int, share: float, mass: float) -> float:
    prior = mass * share
    return math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)


def log_mismatch(cells: Iterable[tuple[float, tuple[int, int]]]) -> float:
    """(6) over cells: the logarithms add, for each cell is a throw of its own.

    Args:
        cells: first sights of visitors, of canary and stable, per probability of the canary.
    """
    return sum(log_ratio(canary, stable, rho) for rho, (canary, stable) in cells)
