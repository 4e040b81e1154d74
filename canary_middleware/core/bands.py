"""How sure the displayed quantiles are: bands that hold at every look. Nothing is decided by them.

STATS formulas (8) and (9): Howard & Ramdas, "Sequential estimation of quantiles with applications
to A/B testing and best-arm identification", Bernoulli 28(3), 2022, corollary 2 (m = 1), eq. (9).
"""

from __future__ import annotations

import math


def distribution_radius(n: int, alpha: float) -> float:
    """(8): how far the true distribution function may be from the one seen, anywhere, at any time.

    0.85 sqrt((log log(e n) + 0.8 log(1612 / alpha)) / n); n observations of one arm, n >= 1.
    """
    return 0.85 * math.sqrt((math.log(1 + math.log(n)) + 0.8 * math.log(1612 / alpha)) / n)


def quantile_radius(p: float, t: int, alpha: float) -> float:
    """(9): f_t(p) = 1.5 sqrt(p (1-p) L) + 0.8 L, L = (1.4 log log(2.1 t) + log(10/alpha)) / t.

    t observations of one arm, t >= 2.
    """
    spread = (1.4 * math.log(math.log(2.1 * t)) + math.log(10 / alpha)) / t
    return 1.5 * math.sqrt(p * (1 - p) * spread) + 0.8 * spread


def quantile_range(p: float, t: int, alpha: float) -> tuple[float, float]:
    """Between which quantiles of what was seen the true one lies, with 1 - alpha for ever."""
    if t < 2:
        return 0.0, 1.0
    lower = p - quantile_radius(1 - p, t, alpha)
    return max(0.0, lower), min(1.0, p + quantile_radius(p, t, alpha))
