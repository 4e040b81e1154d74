"""Words of single numbers."""

from __future__ import annotations

from itertools import accumulate

import pytest

from canary_middleware.core.display import _at
from canary_middleware.core.outcomes import BUCKETS, STARTS, histogram
from canary_middleware.core.telling import latency
from canary_middleware.core.totals import quantile


@pytest.mark.parametrize(("seconds", "words"), [
    (0.0, "< 1 ms"), (0.00095, "< 1 ms"), (0.001, "< 1 ms"), (0.00105, "1.05 ms"),
    (0.3102, "310 ms"), (2.41, "2.4 s"), (12.0, "12 s"), (float("inf"), "over 160 s"),
])  # fmt: skip
def test_a_latency(seconds: float, words: str) -> None:
    assert latency(seconds) == words


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_no_number_is_made_up_below_what_is_measured(share: float) -> None:
    counts = histogram()
    counts[0] = 1_000
    assert quantile(counts, share) == STARTS[0]
    assert _at(list(accumulate(counts)), share * 1_000) == STARTS[0]


def test_both_quantiles_are_the_same_above() -> None:
    counts = histogram()
    counts[0], counts[3], counts[BUCKETS - 2] = 10, 70, 20
    for share in (0.1, 0.11, 0.5, 0.8, 0.81, 0.99):
        found = quantile(counts, share)
        assert found == pytest.approx(_at(list(accumulate(counts)), share * 100))
