"""What is known of a visitor's bucket: the probability of the arm at each throw of the coin.

STATS section 4.1, formula (12). Weights and bounds are whole numbers of 0.001 %, so that two
processes and a cookie agree exactly.
"""

from __future__ import annotations

from typing import NamedTuple

from canary_middleware.core.model import Cohort
from canary_middleware.core.weight import FULL


class Interval(NamedTuple):
    """Where the bucket can still lie, ``lo <= bucket < hi``, after all earlier sights."""

    lo: int = 0
    hi: int = FULL

    def odds(self, weight: int) -> float:
        """Probability of the canary under a weight, formula (12); 0 and 1 are no throw."""
        return (min(max(weight, self.lo), self.hi) - self.lo) / (self.hi - self.lo)

    def after(self, weight: int, cohort: Cohort) -> Interval:
        """What is left once the visitor was seen in an arm under a weight."""
        if cohort is Cohort.CANARY:
            return Interval(self.lo, min(self.hi, weight))
        return Interval(max(self.lo, weight), self.hi)

    def throws(self, weight: int) -> bool:
        """Whether the arm is still open under a weight; what is not is in no ledger of throws."""
        return self.lo < weight < self.hi


class Cell(NamedTuple):
    """Visitors with the same history in one period; they have one known probability.

    Attributes:
        period: revision of the control state.
        lo: lower bound of the bucket before this period.
        hi: upper bound.
    """

    period: int
    lo: int = 0
    hi: int = FULL

    @property
    def interval(self) -> Interval:
        """What was known before the period."""
        return Interval(self.lo, self.hi)


class Sight(NamedTuple):
    """What a visitor's cookie keeps of the last period in which they were measured.

    Attributes:
        period: revisions between the start of the run and that period.
        entry: slots (a quarter of the horizon) between the start of the run and the first sight
            in that period.
        lo: lower bound of the bucket before it.
        hi: upper bound.
        seen: bit ``i`` is set once the visitor counted for the plan's ``i``-th matured metric.
        counted: whether the entry was counted; one that may have come without its cookie is not.
    """

    period: int
    entry: int
    lo: int = 0
    hi: int = FULL
    seen: int = 0
    counted: bool = True

    def cell(self, run: int) -> Cell:
        """The cell that the entry belongs to."""
        return Cell(run + self.period, self.lo, self.hi)
