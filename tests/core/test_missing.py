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


def test_near_the_end_it_is_still_some_more() -> None:
    said = [missing(Guard.rate("orders"), bought(n, 0.1, 50_000)) for n in range(400, 9_000, 200)]
    assert said[0].startswith("about 400 of ")
    assert said[-1] == ""
    for text in filter(None, said):
        counts = [int(count.replace(",", "")) for count in re.findall(r"[\d,]+", text)]
        assert (len(counts) == 1) == text.endswith(" more canary visitors")
        assert counts == sorted(set(counts)), "never as many as there are"


@pytest.mark.parametrize(("before", "lack"), [(0, 143), (150, 50), (200, 0)])
def test_a_baseline_says_how_many_answers_it_waits_for(before: int, lack: int) -> None:
    totals = replace(evidence(entries(3), entries(57)), before=before)
    (found,) = judge(replace(settings(Guard.latency()), baseline=None), totals).findings
    waits = f", {lack} of 200 answers of stable are missing" if lack else ""
    assert found.missing == f"no baseline yet{waits}"
