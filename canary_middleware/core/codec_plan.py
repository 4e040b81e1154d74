"""The declared part of a document, strictly read: plan, guards, ramp, drill."""

from __future__ import annotations

from typing import Final

from canary_middleware.core.drill import LONGEST as LONGEST_DRILL
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.guards import Action, Guard, Metric, Precaution, Worse
from canary_middleware.core.hook_address import url_problems
from canary_middleware.core.model import Memory, Policy
from canary_middleware.core.ramp import Course
from canary_middleware.core.reading import Place
from canary_middleware.core.state import Plan
from canary_middleware.core.weight import FULL, parse_weight

LONGEST: Final = 400 * 86400
"""Seconds of the longest duration in a plan."""
MOST: Final = 2**53 - 1
LARGEST: Final = 1e12
"""Largest value of a declared metric."""
OBSERVING: Final = frozenset({Metric.SHARE, Metric.MEAN, Metric.NEVER})
"""Metrics of guards that are of what ``observe()`` is called with."""
LIGHTEST: Final = 1e-9
"""Smallest weight of a guard but none at all: of less nothing would be left of its part."""


def plan_of(place: Place) -> Plan:
    """A plan.

    Raises:
        StoreCorruptError: as all functions here, for anything that no plan writes.
    """
    fields = place.fields(
        "stable", "canary", "paths", "methods", "exclude", "steps", "owner",
        "policy", "session", "affinity", "claim_life", "rollback_window",
        "guards", "precaution", "course",
    )  # fmt: skip
    owner = fields["owner"]
    plan = Plan(
        stable=fields["stable"].text(),
        canary=fields["canary"].text(),
        paths=fields["paths"].texts(),
        methods=fields["methods"].texts(),
        exclude=fields["exclude"].texts(),
        steps=tuple(step.integer(0, FULL) for step in fields["steps"].elements()),
        owner=None if owner.value is None else owner.text(empty=True),
        policy=Policy(fields["policy"].one_of(*(policy.value for policy in Policy))),
        session=fields["session"].integer(1, LONGEST),
        affinity=Memory(fields["affinity"].one_of(*(memory.value for memory in Memory))),
        claim_life=fields["claim_life"].integer(1, LONGEST),
        rollback_window=fields["rollback_window"].integer(0, LONGEST),
        guards=tuple(_guard(at) for at in fields["guards"].elements()),
        precaution=_precaution(fields["precaution"]),
        course=_course(fields["course"]),
    )
    course = plan.course
    each = {len(course.bakes), len(course.samples), len(course.approvals)}
    if course.bakes and each != {len(plan.steps)}:
        place.refuse("has not a bake, samples and an approval for each step")
    return plan


def _guard(place: Place) -> Guard:
    fields = place.fields(
        "name", "metric", "of", "worse", "margin", "tolerance", "quantile",
        "above", "cap", "weight", "action",
    )  # fmt: skip
    margin, quantile = fields["margin"], fields["quantile"]
    metric, of = Metric(fields["metric"].one_of(*Metric)), fields["of"].text(empty=True)
    if bool(of) != (metric in OBSERVING):
        fields["of"].refuse(f"does not fit {metric}")
    return Guard(
        name=fields["name"].text(),
        metric=metric,
        of=of,
        worse=Worse(fields["worse"].one_of(*Worse)),
        margin=None if margin.value is None else _weight(margin),
        tolerance=_weight(fields["tolerance"]),
        quantile=None if quantile.value is None else quantile.text(),
        above=number(fields["above"]),
        cap=number(fields["cap"]),
        weight=_importance(fields["weight"]),
        action=Action(fields["action"].one_of(*Action)),
    )


def _precaution(place: Place) -> Precaution | None:
    if place.value is None:
        return None
    fields = place.fields("failures", "p99", "stall", "window", "least")
    return Precaution(
        failures=_weight(fields["failures"]),
        p99=fields["p99"].seconds(),
        stall=fields["stall"].seconds(),
        window=fields["window"].integer(1, LONGEST),
        least=fields["least"].integer(0, MOST),
    )


def _course(place: Place) -> Course:
    gated = any(name == "gate" for name, _ in place.items())
    fields = place.fields(
        "bakes", "samples", "approvals", "max_age", "max_visitors", "max_requests", "on_breach",
        "on_inconclusive", "on_no_traffic", "patience", "observe", "alpha", "horizon", "timeout",
        *(["gate"] if gated else []),
    )  # fmt: skip
    return Course(
        bakes=tuple(at.integer(0, LONGEST) for at in fields["bakes"].elements()),
        samples=tuple(at.integer(0, MOST) for at in fields["samples"].elements()),
        approvals=tuple(_flag(at) for at in fields["approvals"].elements()),
        max_age=fields["max_age"].integer(1, LONGEST),
        max_visitors=fields["max_visitors"].integer(0, MOST),
        max_requests=fields["max_requests"].integer(0, MOST),
        on_breach=fields["on_breach"].one_of("rollback", "pause"),
        on_inconclusive=fields["on_inconclusive"].one_of("hold", "promote", "rollback"),
        on_no_traffic=fields["on_no_traffic"].one_of("hold", "rollback"),
        patience=fields["patience"].integer(1, LONGEST),
        observe=_flag(fields["observe"]),
        alpha=_alpha(fields["alpha"]),
        horizon=fields["horizon"].integer(1, LONGEST),
        timeout=fields["timeout"].seconds(),
        gate=_address(fields["gate"]) if gated else "",
    )


def _address(place: Place) -> str:
    text = place.text()
    for problem in url_problems(text, place.path):
        place.refuse(problem.message)
    return text


def drill_of(place: Place) -> Drill | None:
    """A drill, or none."""
    if place.value is None:
        return None
    fields = place.fields("fault", "share", "begun", "seconds", "delay", "of", "value", "by")
    return Drill(
        fault=Fault(fields["fault"].one_of(*Fault)),
        share=fields["share"].integer(0, FULL),
        begun=fields["begun"].seconds(),
        seconds=fields["seconds"].integer(1, LONGEST_DRILL),
        delay=fields["delay"].seconds(),
        of=fields["of"].text(empty=True),
        value=number(fields["value"]),
        by=fields["by"].text(empty=True),
    )


def _alpha(place: Place) -> float:
    alpha = number(place)
    if not LIGHTEST <= alpha <= 1:
        place.refuse("is no share of all wrong alarms")
    return alpha


def _importance(place: Place) -> float:
    weight = number(place)
    if 0 < weight < LIGHTEST:
        place.refuse(f"is less than {LIGHTEST}")
    return weight


def _weight(place: Place) -> str:
    text = place.text()
    try:
        parse_weight(text)
    except ValueError:
        place.refuse("is no percentage")
    return text


def number(place: Place) -> float:
    """A number of zero or more."""
    value = place.value
    if type(value) not in (int, float) or not 0 <= value <= LARGEST:
        place.refuse("is not a number of zero or more")
    return float(value)


def _flag(place: Place) -> bool:
    if type(place.value) is not bool:
        place.refuse("is neither true nor false")
    return place.value
