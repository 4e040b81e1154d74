"""What is missing for a promotion, in words that are true at that moment."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from canary_middleware.core.guards import Guard
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Policy
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
    assert re.fullmatch(r"none of about [\d,]+ canary visitors followed for 15 min so far", said)


@pytest.mark.parametrize(("guard", "who"), [
    (Guard.errors(), "canary visitors followed for 15 min"),
    (Guard.client_errors(margin="1%", action="breach"), "canary visitors"),
    (Guard.latency("p99"), "canary visitors compared"),
])  # fmt: skip
def test_it_says_who_counts_for_a_proof(guard: Guard, who: str) -> None:
    assert missing(guard, bought(50, 0.1)).endswith(f" {who} so far")


def test_without_visitors_requests_count() -> None:
    (only,) = judge(
        replace(settings(Guard.errors()), policy=Policy.REQUEST), bought(50, 0.1)
    ).findings
    assert only.missing.endswith(" canary requests so far")


def test_near_the_end_it_is_still_some_more() -> None:
    said = [missing(Guard.rate("orders"), bought(n, 0.1, 50_000)) for n in range(400, 9_000, 200)]
    assert said[0].startswith("about 400 of ")
    assert said[-1] == ""
    for text in filter(None, said):
        told = text.removesuffix(" so far").removesuffix(" canary visitors followed for 15 min")
        counts = [int(count.replace(",", "")) for count in re.findall(r"[\d,]+", told)]
        assert (len(counts) == 1) == told.endswith(" more")
        assert counts == sorted(set(counts)), "never as many as there are"


@pytest.mark.parametrize(("before", "lack"), [(0, 143), (150, 50), (200, 0)])
def test_a_baseline_says_how_many_answers_it_waits_for(before: int, lack: int) -> None:
    totals = replace(evidence(entries(3), entries(57)), before=before)
    (found,) = judge(replace(settings(Guard.latency()), baseline=None), totals).findings
    waits = f", {lack} of 200 answers of stable are missing" if lack else ""
    assert found.missing == f"no baseline yet{waits}"
