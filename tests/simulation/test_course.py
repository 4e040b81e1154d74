"""Simulated rollouts run through the real judge, controller and transitions."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Policy, Rollout
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.state import Phase, Plan
from canary_middleware.core.weight import FULL
from canary_middleware.simulation.course import moving, simulate
from canary_middleware.simulation.crowd import Crowd, Now
from canary_middleware.simulation.forecast import forecast
from canary_middleware.simulation.traffic import REGRESSIONS, Harm, Side, Traffic

BUSY = Traffic(visitors=400_000)
HARMS = {harm.name: harm for harm in REGRESSIONS}


def plan(*guards: Guard, ramp: Ramp | None = None, policy: Policy = Policy.FOLLOW) -> Plan:
    rollout = Rollout(
        "checkout", stable="1.4.2", canary="1.5.0", owner="pay", policy=policy,
        guards=guards or Guard.defaults(), ramp=ramp or Ramp("5%", "50%", "100%", bake="1h"),
    )  # fmt: skip
    return Plan.from_rollout(rollout)


def test_a_good_release_is_promoted_step_by_step_with_proof() -> None:
    end = simulate(plan(), BUSY, seed=1)
    assert end.phase is Phase.PROMOTED
    assert end.proven
    assert "proven up to the margins" in end.why
    weights = [point.weight for point in end.way]
    assert weights == sorted(weights)
    assert set(weights) == {5_000, 50_000, FULL}
    assert end.time >= 3 * 3600


def test_the_same_seed_is_the_same_rollout_and_another_is_not() -> None:
    first, again, other = (simulate(plan(), BUSY, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.toll != other.toll


@pytest.mark.parametrize(
    ("name", "guard", "most"),
    [("crash", "errors", 12), ("errors +4 pp", "errors", 500), ("latency x2", "latency", 80),
     ("1% very slow", "latency", 700), ("double charges 12%", "charges", 80)],
)  # fmt: skip
def test_a_bad_release_is_rolled_back_by_its_guard(name: str, guard: str, most: int) -> None:
    guards = (*Guard.defaults(), Guard.never("charges"))
    end = simulate(plan(*guards), BUSY, seed=1, harm=HARMS[name])
    assert end.phase is Phase.ROLLED_BACK
    assert guard in end.guards
    assert 0 < end.toll.visitors <= most
    assert end.toll.failed <= end.toll.requests
    assert end.way[-1].weight == 0


def test_too_few_visitors_end_waiting_and_say_for_what() -> None:
    end = simulate(plan(), Traffic(visitors=300), seed=1, until=3 * 86_400.0)
    assert end.phase is Phase.HOLDING or end.phase is Phase.RAMPING
    assert end.guards == ("errors", "latency")
    assert "canary visitors followed for 15 min so far" in end.missing


def test_approvals_are_given() -> None:
    ramp = Ramp("5%", Step("100%", approval=True), bake="1h", samples=10)
    end = simulate(plan(Guard.errors(margin=None), ramp=ramp), BUSY, seed=1)
    assert end.phase is Phase.PROMOTED


def test_a_ramp_that_people_move_is_moved() -> None:
    declared = plan(ramp=Ramp("10%", "100%"))
    moved = moving(declared, bake=1200)
    assert not declared.course.automatic
    assert moved.course.bakes == (1200, 1200)
    assert moved.course.horizon == 300
    assert moving(moved, bake=60) is moved
    assert moving(replace(declared, steps=()), 60).steps == (1_000, 5_000, 25_000, 50_000, FULL)


def test_requests_that_are_drawn_anew_are_judged_one_by_one() -> None:
    end = simulate(plan(policy=Policy.REQUEST), BUSY, seed=1, harm=HARMS["crash"])
    assert end.phase is Phase.ROLLED_BACK
    assert end.toll.visitors == end.toll.requests <= 12


def test_a_harm_that_nobody_watches_for_is_not_simulated() -> None:
    found = forecast(plan(), BUSY, runs=2, regressions=[HARMS["double charges 12%"]])
    (bad,) = found.bad
    assert bad.ends == ()
    assert (bad.chance, bad.guard, bad.weight) == (0.0, "", None)


def test_people_are_counted_once_however_often_they_come() -> None:
    traffic = Traffic(visitors=50_000, people=500, requests=2)
    crowd = Crowd(Random(1), traffic, plan())
    for hour in range(1, 9):
        crowd.pass_time(
            Now(3600.0 * hour, 3600.0, 1 if hour < 5 else 2, 5_000 if hour < 5 else 50_000)
        )
    entered = {
        (arm.cell.period, arm.cell.lo): sum(
            found.n for other, found in crowd.entries.items() if other.cell == arm.cell
        )
        for arm in crowd.entries
    }
    assert entered[1, 0] == pytest.approx(500, abs=60)
    # Whoever was on the canary at 5 % is no throw at 50 %; everybody else is thrown again.
    assert entered[2, 5_000] == pytest.approx(475, abs=60)
    share = crowd.toll.visitors / 500
    assert share == pytest.approx(0.5, abs=0.12)


def test_first_events_are_counted_once_per_person() -> None:
    traffic = Traffic(visitors=20_000, people=300, errors=1.0)
    crowd = Crowd(Random(2), traffic, plan())
    for hour in range(1, 30):
        crowd.pass_time(Now(3600.0 * hour, 3600.0, 1, 50_000))
    failed = sum(count for (kind, _, _), count in crowd.firsts.items() if kind == "failures")
    assert failed == pytest.approx(300, abs=45)


@pytest.mark.parametrize("harm", [*REGRESSIONS, Harm("nothing")])
def test_latency_of_a_side_is_a_distribution(harm: Harm) -> None:
    upto = Side(Traffic(), harm).latency
    assert len(upto) == 128
    assert list(upto) == sorted(upto)
    assert upto[-1] == 1.0
    assert 0 <= upto[0] < 0.01


def test_slower_is_slower_by_its_factor() -> None:
    traffic = Traffic(p50=0.2, p99=1.0)
    assert traffic.longer(0.2) == pytest.approx(0.5)
    assert traffic.longer(1.0) == pytest.approx(0.01)
    assert Side(traffic, Harm("x2", slower=2.0)).longer(0.4) == pytest.approx(0.5)
    assert Side(traffic, Harm("slow", hanging=0.01)).longer(4.0) == pytest.approx(0.01, abs=1e-3)
    assert math.isinf(traffic.anew.people)
    assert Cohort.CANARY in Crowd(Random(1), traffic, plan()).seen
