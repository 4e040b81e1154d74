"""How the differences between two plans are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.drift import differences
from canary_middleware.core.guards import Guard, Precaution
from canary_middleware.core.model import Policy, Rollout
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply

GUARDS = (Guard.errors(), Guard.rate("orders", margin="2%"), Guard.never("charges"))
ROLLOUT = Rollout(
    "checkout", stable="1", canary="2", owner="me@example.com", guards=GUARDS,
    ramp=Ramp("1%", "5%", "100%", bake="10m"), precaution=Precaution(),
)  # fmt: skip
STARTED = apply(
    Document("a"), Command(Verb.START, "checkout", plan=Plan.from_rollout(ROLLOUT)), 1.0
)


@pytest.mark.parametrize(("changes", "told"), [
    ({}, []),
    ({"guards": (GUARDS[0], Guard.rate("orders", margin="15%"), GUARDS[2])},
     ["guard orders: margin 15% (in force: 2%)"]),
    ({"guards": (GUARDS[0], Guard.rate("orders", margin=None, action="warn", weight=2.0),
                 GUARDS[2])},
     ["guard orders: margin none (in force: 2%)", "guard orders: weight 2 (in force: 1)",
      "guard orders: action warn (in force: breach)"]),
    ({"guards": (*GUARDS[:2], Guard.latency())},
     ["guard latency: added", "guard charges: removed"]),
    ({"guards": (GUARDS[1], GUARDS[0], GUARDS[2])},
     ["order of guards orders, errors, charges (in force: errors, orders, charges)"]),
    ({"ramp": Ramp("1%", "5%", "100%", bake="5m")}, ["ramp: bake 5m (in force: 10m)"]),
    ({"ramp": Ramp("1%", "100%", bake="10m")}, ["steps 1%, 100% (in force: 1%, 5%, 100%)"]),
    ({"ramp": Ramp("1%", Step("5%", bake="1h", approval=True), "100%", bake="10m")},
     ["ramp: bake 10m, 1h, 10m (in force: 10m)",
      "ramp: approval before step 2 (in force: none)"]),
    ({"ramp": Ramp("1%", "5%", "100%", bake="10m", observe=True, max_visitors=9)},
     ["ramp: max_visitors 9 (in force: none)", "ramp: observe on (in force: off)"]),
    ({"precaution": None}, ["precaution off (in force: on)"]),
    ({"precaution": Precaution(p99=2.5)}, ["precaution: p99 2.5s (in force: 10s)"]),
    ({"alpha": "5%", "timeout": "9s"},
     ["alpha 5% (in force: 1%)", "timeout 9s (in force: 30s)"]),
    ({"policy": "keep"}, [f"policy keep (in force: {Policy.FOLLOW.value})"]),
    ({"owner": "x" * 900}, [f"owner {'x' * 57}... (in force: me@example.com)"]),
])  # fmt: skip
def test_one_difference_per_thing_that_differs(changes: dict[str, Any], told: list[str]) -> None:
    plan = Plan.from_rollout(replace(ROLLOUT, **changes))
    assert list(map(str, differences("checkout", plan, STARTED))) == told


def test_two_gates_of_one_host_are_told_apart_without_their_addresses() -> None:
    plans = [
        Plan.from_rollout(replace(ROLLOUT, ramp=Ramp("1%", "5%", "100%", bake="10m", gate=gate)))
        for gate in ("https://gate.example/s3cr3t", "https://gate.example/0ther?k=s3cr3t")
    ]
    started = apply(Document("a"), Command(Verb.START, "checkout", plan=plans[0]), 1.0)
    (found,) = differences("checkout", plans[1], started)
    assert found.what == "ramp: gate"
    assert found.declared.startswith("gate.example (address ")
    assert found.in_force.startswith("gate.example (address ")
    assert "s3cr3t" not in str(found)
    (gone,) = differences("checkout", Plan.from_rollout(ROLLOUT), started)
    assert gone.declared == "none"
