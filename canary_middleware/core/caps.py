"""The cap of a mean that declares none: stable's p99.5, frozen as soon as it is known (STATS 4.2).

Until then its values are counted by powers of two. They show that the canary is worse, for equal
versions fall alike into whichever buckets; but no margin, of which the cap is the measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.sums import Histograms, Sums
from canary_middleware.core.totals import VALUES, Arm, Matured

LEVEL: Final = 0.995
ENOUGH: Final = 200
"""Values of stable of which one is expected to be beyond that quantile."""
_HIGHEST: Final = 2 ** (VALUES - 2)


def stable_values(matured: Mapping[Arm, Matured], name: str) -> list[int]:
    """Stable's visitors with a value of a mean without a cap, by power of two."""
    counts = [0] * VALUES
    for arm, one in matured.items():
        if arm.cohort is Cohort.STABLE:
            for power, count in enumerate(one.hits.get(name, ())):
                counts[power] += count
    return counts


def usual_cap(counts: Sequence[int]) -> float | None:
    """The quantile, to three digits; ``None``: too few values yet, or none that powers tell apart.

    Args:
        counts: visitors by power of two, see ``gauge.value_bucket``.
    """
    if sum(counts) < ENOUGH:
        return None
    missing, power = LEVEL * sum(counts), 0
    while missing > counts[power]:
        missing -= counts[power]
        power += 1
    if not 0 < power < len(counts) - 1:
        return None
    return float(f"{2 ** (power - 1 + missing / counts[power]):.3g}")


def no_cap(guard: Guard, matured: Mapping[Arm, Matured]) -> str:
    """Why a mean has no cap, in words."""
    counts = stable_values(matured, guard.name)
    if sum(counts) < ENOUGH:
        lack = ENOUGH - sum(counts)
        return f"no cap yet, {lack} of {ENOUGH} values of stable are missing"
    if usual_cap(counts) is None:
        return f"no cap is found below 1 or above {_HIGHEST:,}: give it one with cap="
    return "no cap yet"


def values(guard: Guard, sums: Sums) -> Histograms:
    """Matured visitors by value, those without one first, of the periods that have its cap."""
    since = sums.evidence.capped.get(guard.name, 0)
    cells = zip(sums.matured, sums.values(guard.name), strict=True)
    return [one for pair, one in cells if pair.cell.period >= since]
