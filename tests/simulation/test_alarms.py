"""A fast part of the table of false and missed alarms (`python -m benchmarks.judge`)."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from statistics import median

import pytest

from canary_middleware.core.judge import judge
from canary_middleware.core.verdict import Decision, Evidence, Settings, Verdict
from tests.simulation.visitors import (
    BASELINE,
    GUARDS,
    Fails,
    Judge,
    Site,
    drift,
    healthy,
    incident,
    rolled_back,
    worse,
)

RUNS = 25
ALPHA = 0.05
FIVE, HALF, RAMP = (5_000,), (50_000,), (1_000, 5_000, 25_000, 50_000)


def false_rollbacks(sites: list[Site], visitors: int) -> int:
    found = [rolled_back(judge, site, visitors=visitors, every=150, alpha=ALPHA) for site in sites]
    return sum(one is not None for one in found)


def visitors_needed(judge: Judge, weights: tuple[int, ...], fails: Fails, slower: float) -> float:
    crash = fails(0, False, True) == 1
    visitors, every = (150, 1) if crash else (3000, 20)
    sites = [Site(Random(run), weights, fails, slower) for run in range(7)]
    found = [rolled_back(judge, site, visitors=visitors, every=every) for site in sites]
    return median(math.inf if one is None else one for one in found)


# At most three of 25 are expected in 97 of 100 such tests where the rate is exactly 5 %; the
# judge's is below that, and the seeds are fixed.
@pytest.mark.parametrize("weights", [FIVE, HALF, RAMP], ids=["5%", "50%", "ramp"])
@pytest.mark.parametrize("fails", [healthy, incident, drift])
def test_healthy_releases_are_left_alone(fails: Fails, weights: tuple[int, ...]) -> None:
    assert false_rollbacks([Site(Random(run), weights, fails) for run in range(RUNS)], 500) <= 3


@pytest.mark.parametrize(("per_request", "least", "most"), [(True, 5, RUNS), (False, 0, 3)])
def test_requests_of_one_visitor_are_not_as_many_throws(
    per_request: bool, least: int, most: int
) -> None:
    """What the rule for visitors is there for; at 5 % the others would see it as well."""
    sites = [Site(Random(run), HALF, per_request=per_request, most=300) for run in range(RUNS)]
    assert least <= false_rollbacks(sites, 300) <= most


CAUGHT = [
    ("crash", 1.0, 1.0, FIVE, 3),
    ("crash", 1.0, 1.0, HALF, 7),
    ("5 % errors", 0.05, 1.0, FIVE, 140),
    ("latency x1.5", 0.01, 1.5, FIVE, 60),
]


@pytest.mark.parametrize(("name", "share", "slower", "weights", "most"), CAUGHT)
def test_bad_releases_are_rolled_back_soon(
    name: str, share: float, slower: float, weights: tuple[int, ...], most: int
) -> None:
    fails = healthy if share == 0.01 else worse(share)
    assert visitors_needed(judge, weights, fails, slower) <= most


def always_promote(settings: Settings, evidence: Evidence) -> Verdict:
    told = judge(settings, evidence)
    return replace(told, decision=Decision.PROMOTE, proven=True, missing=())


def always_hold(settings: Settings, evidence: Evidence) -> Verdict:
    return replace(judge(settings, evidence), decision=Decision.INCONCLUSIVE, missing=("time",))


@pytest.mark.parametrize("blind", [always_promote, always_hold])
def test_a_judge_that_never_looks_is_found_out(blind: Judge) -> None:
    assert visitors_needed(blind, FIVE, worse(1.0), 1.0) == math.inf


@pytest.mark.parametrize(("asked", "promotes"), [(judge, False), (always_promote, True)])
def test_nothing_is_promoted_that_nobody_saw(asked: Judge, promotes: bool) -> None:
    told = asked(Settings(GUARDS, baseline=BASELINE), Evidence({1: 5_000}, 1))
    assert (told.decision is Decision.PROMOTE) is promotes
