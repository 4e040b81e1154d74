"""Mistakes in guards and ramps, each with its place and its remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.core.codec import decode_report, encode_report
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.guards import Guard, Precaution
from canary_middleware.core.model import Rollout
from canary_middleware.core.noninferiority import visitors_needed
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.core.validate import rollout_problems
from canary_middleware.core.validate_guards import MAX_GUARDS, MAX_METRICS

GOOD = Rollout(
    "checkout", stable="1", canary="2", ramp=Ramp.default(), guards=Guard.defaults(), owner="me"
)
ERRORS = Guard.errors()


def wrong(value: Any) -> Any:
    """A value of a type that no checker lets through."""
    return value


def said(**changes: Any) -> list[str]:
    problems = rollout_problems([replace(GOOD, **changes)])
    assert all(problem.hint for problem in problems), "a problem without a hint helps nobody"
    prefix = "rollout 'checkout', "
    return [f"{problem.place.removeprefix(prefix)}: {problem.message}" for problem in problems]


@pytest.mark.parametrize("changes", [
    {},
    {"ramp": Ramp.blue_green()},
    {"ramp": Ramp.observe_first(max_visitors=500, max_requests=9_000)},
    {"ramp": Ramp("1%", Step("5%", bake="1h", samples=0, approval=True), "50%", bake="10m")},
    {"ramp": Ramp("1%", "5%"), "guards": (), "owner": None},
    {"ramp": Ramp(), "guards": Guard.defaults()},
    {"ramp": Ramp("100%"), "owner": None},
    {"policy": "keep"},
    {"policy": "request", "precaution": None},
    {"guards": (ERRORS, Guard.rate("orders"), Guard.mean("revenue", cap=200),
                Guard.never("charges", name="orders-charged-twice"), Guard.latency("p90"))},
    {"ramp": Ramp("1%", "5%", bake="1h", max_age="2h", samples=0)},
    {"ramp": Ramp.default(bake="1h"), "horizon": "15m", "alpha": "20%", "timeout": "5s"},
])  # fmt: skip
def test_what_is_right_is_let_through_and_travels(changes: dict[str, Any]) -> None:
    assert said(**changes) == []
    plan = Plan.from_rollout(replace(GOOD, **changes))
    report = ProcessReport("id", "host", 1, "asgi", 0, None, {"checkout": plan})
    assert decode_report(encode_report(report)).plans["checkout"] == plan


@pytest.mark.parametrize(("guard", "place", "message"), [
    (Guard.errors(name="a b"), "name", "'a b' is not a name"),
    (replace(ERRORS, metric=wrong("lukc")), "metric", "'lukc' is none"),
    (Guard.errors(action=wrong("explode")), "action", "'explode' is none"),
    (Guard.throughput(worse="up"), "worse", "'up' is none"),
    (Guard.client_errors(action="rollback"), "action", "'rollback' is none"),
    (Guard.rate("orders", worse="up"), "worse", "'up' is none"),
    (Guard.mean("revenue", worse="up"), "worse", "'up' is none"),
    (replace(ERRORS, worse=wrong("up")), "worse", "'up' is none"),
    (replace(ERRORS, of="charges"), "of", "has no meaning for failures"),
    (Guard.rate("", name="orders"), "of", "is missing"),
    (Guard.never("a b", name="x"), "of", "'a b' is not the name of a metric"),
    (Guard.errors(margin="1"), "margin", "no percent sign"),
    (Guard.errors(margin="101%"), "margin", "outside 0% to 100%"),
    (Guard.errors(margin="0%"), "margin", "can never be proven"),
    (Guard.errors(tolerance=wrong(0.2)), "tolerance", "a bare number"),
    (Guard.latency("p95", margin="1%"), "quantile", "'p95' is none"),
    (Guard.errors(quantile="p99"), "quantile", "has no meaning for failures"),
    (Guard.never("charges", above=-1), "above", "-1 is not a number of at least 0"),
    (Guard.mean("revenue", cap=float("nan")), "cap", "nan is not a number"),
    (Guard.errors(weight=0), "weight", "0 is not a number above 0"),
    (Guard.errors(weight=5e-324), "weight", "5e-324 is not a number above 0"),
    (Guard.errors(weight=True), "weight", "True is not a number"),
])  # fmt: skip
def test_a_guard_that_is_wrong(guard: Guard, place: str, message: str) -> None:
    (found,) = said(guards=[ERRORS if guard.name != "errors" else Guard.latency(), guard])
    assert found.startswith(f"guards[1], {place}: ")
    assert message in found


@pytest.mark.parametrize(("changes", "expected"), [
    ({"guards": [ERRORS, ERRORS]}, "guards: two have the name 'errors'"),
    ({"guards": [ERRORS, wrong("latency")]}, "guards[1]: is str, not Guard"),
    ({"guards": wrong("defaults")}, "guards: 'defaults' is not a list"),
    ({"guards": [Guard.errors(name=f"e{n}") for n in range(MAX_GUARDS + 1)]},
     "guards: are 13, at most 12"),
    ({"precaution": wrong(True)}, "precaution: is bool, not Precaution"),
    ({"precaution": Precaution(failures="half")}, "precaution, failures: 'half' has no percent"),
    ({"precaution": Precaution(p99=0)}, "precaution, p99: 0 is not a number of seconds"),
    ({"precaution": Precaution(window=0)}, "precaution, window: 0 is not a whole number"),
    ({"precaution": Precaution(least=wrong(1.5))}, "precaution, least: 1.5 is not a whole"),
    ({"alpha": "21%"}, "alpha: '21%' is not above 0% and at most 20%"),
    ({"alpha": "0%"}, "alpha: '0%' is not above 0%"),
    ({"alpha": wrong(0.01)}, "alpha: a bare number"),
    ({"timeout": "0s"}, "timeout: '0s' is no sensible duration"),
    ({"horizon": "soon"}, "horizon: 'soon' is not a duration"),
])  # fmt: skip
def test_a_measure_that_is_wrong(changes: dict[str, Any], expected: str) -> None:
    found = said(**changes)
    assert any(line.startswith(expected) for line in found), found


def test_metrics_are_counted_by_name() -> None:
    many = [Guard.rate(f"m{n}") for n in range(MAX_METRICS + 1)]
    assert said(guards=many) == [
        "guards: are 17, at most 12", "guards: observe 17 metrics, at most 16",
    ]  # fmt: skip


@pytest.mark.parametrize("ramp", [Ramp.default(), Ramp.observe_first(), Ramp.blue_green()])
def test_a_ramp_that_moves_by_itself_needs_an_abort_plan(ramp: Ramp) -> None:
    for guards in ((), (Guard.client_errors(), Guard.throughput())):
        found = said(ramp=ramp, guards=guards, owner=None)
        plan = "the abort plan is written before the start"
        assert found == [
            f"guards: has no guard that may stop it, and a ramp that moves by itself: {plan}",
            f"owner: is missing, and the ramp moves by itself: {plan}",
        ]


@pytest.mark.parametrize(("ramp", "expected"), [
    (Ramp("1%", "5%", bake="ten"), "ramp, bake: 'ten' is not a duration"),
    (Ramp(bake="10m"), "ramp: has a bake and no steps"),
    (Ramp("100%", bake="10m"), "ramp: begins with everybody"),
    (Ramp(Step("1%", approval=True), "5%", bake="10m"), "ramp: its first step needs an approval"),
    (Ramp("5%", Step("5%"), bake="10m"), "ramp: '5%' after '5%'"),
    (Ramp("1%", Step(wrong(5)), bake="10m"), "ramp: a bare number (5)"),
    (Ramp("1%", Step("5%", bake="x"), bake="10m"), "ramp, step '5%', bake: 'x' is not a duration"),
    (Ramp("1%", Step("5%", samples=-1), bake="1m"), "ramp, step '5%', samples: -1 is not a whole"),
    (Ramp("1%", Step("5%", approval=wrong(1)), bake="1m"), "ramp, step '5%', approval: 1 is"),
    (Ramp("1%", bake="1m", samples=-1), "ramp, samples: -1 is not a whole number"),
    (Ramp("1%", bake="1m", max_age="0s"), "ramp, max_age: '0s' is no sensible duration"),
    (Ramp("1%", "5%", bake="1h", max_age="119m"), "ramp, max_age: '119m' is over before all"),
    (Ramp("1%", Step("5%", bake="15d"), bake="1m"), "ramp, max_age: '14d' is over before all"),
    (Ramp("1%", patience="2h"), "ramp, patience: has no meaning where a person moves"),
    (Ramp("1%", bake="0s"), "ramp, bake: '0s' is no sensible duration"),
    (Ramp(wrong(["1%", "5%"]), bake="1m"), "ramp: ['1%', '5%'] is a list, not a step"),
    (Ramp("1%", bake="1m", patience="x"), "ramp, patience: 'x' is not a duration"),
    (Ramp("1%", bake="1m", max_visitors=0), "ramp, max_visitors: 0 is not a whole number"),
    (Ramp("1%", bake="1m", max_requests=wrong("9")), "ramp, max_requests: '9' is not a whole"),
    (Ramp("1%", bake="1m", on_breach="promote"), "ramp, on_breach: 'promote' is none"),
    (Ramp("1%", bake="1m", on_inconclusive="x"), "ramp, on_inconclusive: 'x' is none"),
    (Ramp("1%", bake="1m", on_no_traffic="promote"), "ramp, on_no_traffic: 'promote' is none"),
    (Ramp("1%", bake="1m", observe=wrong("no")), "ramp, observe: 'no' is neither"),
    (Ramp("1%", Step("5%", approval=True)), "ramp, step '5%', approval: has no meaning"),
    (Ramp("1%", Step("5%", bake="1h")), "ramp, step '5%', bake: has no meaning"),
    (Ramp("1%", max_visitors=9), "ramp, max_visitors: has no meaning where a person"),
])  # fmt: skip
def test_a_ramp_that_is_wrong(ramp: Ramp, expected: str) -> None:
    (found,) = said(ramp=ramp)
    assert found.startswith(expected)


@pytest.mark.parametrize("horizon", ["15m", "20m", "4d"])
def test_every_horizon_is_shortened_to_a_quarter_of_the_shortest_bake(horizon: str) -> None:
    short, long = Ramp("1%", Step("5%", bake="40s"), bake="10m"), Ramp.default(bake="2h")
    assert said(horizon=horizon, ramp=short) == []
    assert Plan.from_rollout(replace(GOOD, horizon=horizon, ramp=short)).course.horizon == 10
    full = Plan.from_rollout(replace(GOOD, horizon=horizon, ramp=long)).course.horizon
    assert full == min(parse_duration(horizon), 1800)


@pytest.mark.parametrize(("ramp", "hint"), [
    (Ramp(wrong(["5%", Step("9%")])),
     f'Ramp("5%", {Step("9%")!r}), each step by itself'),
    (Ramp("1%", bake="0s"), "from 1s to 400d"),
    (Ramp("1%", "5%", bake="1h", max_age="1h"), 'max_age="2h" or more, or a shorter bake'),
    (Ramp("1%", "5%", bake="300d"), "a shorter bake"),
])  # fmt: skip
def test_a_hint_for_a_ramp_helps(ramp: Ramp, hint: str) -> None:
    (problem,) = rollout_problems([replace(GOOD, ramp=ramp)])
    assert problem.hint == hint


def test_what_business_guards_ask_for_by_default_can_be_proven() -> None:
    assert Guard.rate("orders").margin == "5%"
    assert Guard.mean("revenue", cap=200.0).margin == "5%"
    assert Guard.mean("revenue").margin is None
    assert Guard.mean("revenue", cap=200.0, margin=None).margin is None
    assert said(guards=[*Guard.defaults(), Guard.mean("revenue")]) == []
    assert said(guards=[*Guard.defaults(), Guard.mean("revenue", margin="5%")]) == []


def test_the_page_says_what_a_margin_costs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    found = re.search(r"(from canary_middleware.core.*?)  # (\d+)\n", page, re.DOTALL)
    assert found
    code, told = found.groups()
    *lines, last = code.splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, f"needed = {last}"]), scope)
    assert round(scope["needed"]) == int(told)
    cost = {(0.45, "5"): "3,900", (0.45, "2"): "24,000", (0.05, "5"): "370", (0.05, "2"): "2,300"}
    for (orders, points), words in cost.items():
        needed = visitors_needed(0.5, float(points) / 100, 1.0, 1 - orders, 0.05) / 2
        assert f"{float(f'{needed:.2g}'):,.0f}" == words
        assert re.search(rf"\| {points} points[^\n]*\| {words} \|\n", page)


BREACH = '"breach", which rolls back, or "warn", which only reports'


@pytest.mark.parametrize(("guards", "hint"), [
    ("defaults", "guards=Guard.defaults()"),
    (ERRORS, "guards=Guard.defaults()"),
    ([Guard.defaults(), Guard.never("charges")], "[*Guard.defaults(), ...]"),
    ([Guard.errors(action="rollback")], BREACH),
    ([Guard.errors(margin=wrong(1))], 'write "1%"'),
    ([Guard.errors(margin=wrong(0.01))], 'write "1%" for the fraction, or "0.01%"'),
    ([Guard.errors(margin=wrong(250))], 'write a string such as "5%"'),
    ([Guard.errors(margin=wrong(True))], 'write a string such as "5%"'),
])  # fmt: skip
def test_a_hint_helps(guards: Any, hint: str) -> None:
    (problem,) = rollout_problems([replace(GOOD, guards=guards, ramp=Ramp("1%"))])
    assert problem.hint == hint
