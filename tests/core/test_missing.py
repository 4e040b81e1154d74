"""What is missing for a promotion, in words that are true at that moment."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from canary_middleware.core.guards import Guard
from canary_middleware.core.judge import judge
from canary_middleware.core.verdict import Evidence
from canary_middleware.core.weight import FULL
from tests.core.test_judge import entries, evidence, settings


def missing(guard: Guard, totals: Evidence) -> str:
    (only,) = judge(settings(guard), totals).findings
    return only.missing


def bought(n: int, share: float, weight: int = 5_000) -> Evidence:
    """``n`` canary visitors at a weight, and as many on stable as belong to them."""
    stable = round(n * (FULL - weight) / weight)
    hits = {"orders": ([round(n * share)], [round(stable * share)])}
    return replace(evidence(entries(n), entries(stable), hits=hits), weights={7: weight})


@pytest.mark.parametrize(("margin", "words"), [
    ("2%", "not at 5%: a margin of 2% needs a higher weight where 55.4% have the event"),
    ("0.05%", "not yet: a margin of 0.05% is narrow where 55.4% have the event"),
])  # fmt: skip
def test_a_margin_that_is_too_narrow_here(margin: str, words: str) -> None:
    assert missing(Guard.rate("orders", margin=margin), bought(500, 0.554)) == words


def test_nobody_is_none() -> None:
    said = missing(Guard.rate("orders"), bought(0, 0.1))
    assert re.fullmatch(r"none of about [\d,]+ canary visitors so far", said)
