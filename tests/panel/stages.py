"""Rollouts brought to where a verb fits, or does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from canary_middleware import Guard, Ramp, Rollout, verbs
from canary_middleware.core.codec_series import encode
from canary_middleware.core.command import Command
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.series import Counts, Head, Point, Version, slot_of
from canary_middleware.core.state import Plan, Verb
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import SeriesStore

BY = "test"
CANARY, STABLE = Cohort.CANARY, Cohort.STABLE
PLAN = Plan.from_rollout(
    Rollout(
        "any", stable="1.4.2", canary="1.5.0", paths=["/checkout"], guards=Guard.defaults(),
        ramp=Ramp("1%", "5%", "25%", "100%", bake="10m"),
    )
)  # fmt: skip

Stage = Callable[[StateStore, str], object]


def declared(store: StateStore, name: str, plan: Plan = PLAN) -> None:
    """As by a running process."""
    report = ProcessReport(f"p-{name}", "web-1", 4711, "asgi", -1, 0.3, {name: plan})
    store.report(report)


def ramping(store: StateStore, name: str) -> None:
    declared(store, name)
    verbs.start(store, name, by=BY)


def paused(store: StateStore, name: str) -> None:
    declared(store, name)
    verbs.start(store, name, by=BY, weight=5_000)


def drawn(store: StateStore, name: str, now: float) -> None:
    """At 5 %, with two minutes of points until now."""
    paused(store, name)
    assert isinstance(store, SeriesStore)
    for at in range(1, 14):
        slot = slot_of(now) - 13 + at
        canary = Counts(10 * at, at, 0, {100: 9 * at}, {"orders": (at, 0)})
        stable = Counts(190 * at, 0, 2 * at, {90: 190 * at})
        head = Head(slot, slot * 10 + 0.5, 1, 5_000, "paused")
        versions = (Version(CANARY, "1.5.0", canary), Version(STABLE, "1.4.2", stable))
        store.append(name, slot, encode(Point(head, versions)))


def waiting(store: StateStore, name: str) -> None:
    ramping(store, name)
    document = store.load().document
    assert document is not None
    command = Command(Verb.AWAIT, name, "the next step waits for a person")
    assert verbs.move(store, document, command, by=BY, evidence={}, now=time.time())


def promoted(store: StateStore, name: str) -> None:
    paused(store, name)
    verbs.promote(store, name, by=BY)


def hot_fixed(store: StateStore, name: str) -> None:
    paused(store, name)
    fixed = Rollout("any", stable="1.4.3", canary="1.5.0", paths=["/checkout"])
    declared(store, name, Plan.from_rollout(fixed))


def drilled(store: StateStore, name: str) -> None:
    paused(store, name)
    drill = Drill(Fault.ERROR, 20_000, time.time(), 60, by=BY)
    verbs.drill(store, name, drill, by=BY)


def rolled_back(store: StateStore, name: str) -> None:
    paused(store, name)
    verbs.rollback(store, name, by=BY)


def killed(store: StateStore, name: str) -> None:
    paused(store, name)
    verbs.kill(store, name, by=BY)


FITTING: Mapping[str, tuple[Stage, Mapping[str, Any], str]] = {
    "start": (declared, {"why": "now"}, "ramping"),
    "weight": (paused, {"weight": "12.5%"}, "paused"),
    "pause": (ramping, {}, "paused"),
    "resume": (paused, {}, "ramping"),
    "approve": (waiting, {}, "ramping"),
    "promote": (paused, {"anyway": True}, "promoted"),
    "rollback": (paused, {}, "rolled_back"),
    "finish": (promoted, {"early": True}, "finished"),
    "rebase": (hot_fixed, {"stable": "1.4.3"}, "paused"),
    "drill": (paused, {"fault": "error", "share": "50%", "for": "30s"}, "paused"),
    "settle": (drilled, {}, "paused"),
    "kill": (paused, {"why": "errors"}, "paused"),
    "revive": (killed, {}, "paused"),
}
"""By verb: where it fits, with what, and the phase after it."""

REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "weight": {"weight": "5%"},
    "drill": {"fault": "error"},
}
"""What a verb cannot do without."""
