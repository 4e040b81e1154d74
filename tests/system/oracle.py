"""S25 of FAULTS.md: can somebody who tries ids find out, or choose, where he is put?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from canary_middleware.core.bucket import IDENTIFIED, SPACE, draw, lane_key
from tests.system.site import BUCKET_SECRET, CANARY

CELLS = 1_000
QUANTILES = (867.5, 1_142.8)
"""Of chi-square with 999 degrees of freedom, at 0.1 % and 99.9 %; too even is no chance either."""

Draw = Callable[[str], int]


def secret_draw() -> Draw:
    return partial(draw, lane_key(BUCKET_SECRET.encode(), "leaks", "shop", CANARY), IDENTIFIED)


def uniform(draw_one: Draw, count: int) -> str:
    """Sequential ids fall like independent ones; the data are fixed, so it fails or it does not."""
    found = Counter(draw_one(str(n)) * CELLS // SPACE for n in range(count))
    expected = count / CELLS
    chi_square = sum((found[cell] - expected) ** 2 / expected for cell in range(CELLS))
    low, high = QUANTILES
    assert low < chi_square < high, "as uneven as chance"
    return f"S25: chi-square {chi_square:.0f} of {count} ids, {CELLS - 1} degrees ({low} to {high})"


def alike(one: Draw, other: Draw, count: int = 20_000) -> float:
    """Share of ids about which two draws agree whether they are among the first ten per cent."""
    first = SPACE // 10
    ids = map(str, range(count))
    return sum((one(who) < first) == (other(who) < first) for who in ids) / count
