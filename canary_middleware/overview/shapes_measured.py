"""What ``--json`` prints of measured rollouts; docs/watch.md promises these names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary_middleware.core.evidence import evidence_of
from canary_middleware.core.state import Entry
from canary_middleware.core.telling import LONGEST
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.scene import QUANTILES, Side, View, bake

Shape = Mapping[str, Any]


def measured(view: View, now: float) -> Shape | None:
    """What was counted of a release and what the judge says; ``None`` where nothing is."""
    entry, numbers, told = view.entry, view.numbers, view.told(now)
    if entry is None or numbers is None or told is None:
        return None
    evidence = evidence_of(numbers.verdict, entry, told.in_step, seen=numbers.seen)
    return {
        "standing": told.standing(),
        "versions": [side(one) for one in view.sides()],
        "evidence": {**evidence, "drill": told.drill},
        "processes": numbers.processes,
        "age": numbers.age,
    }


def side(one: Side) -> Shape:
    """One version; latencies in seconds."""
    names = (f"p{100 * share:.0f}" for share in QUANTILES)
    return {
        "cohort": one.cohort.value,
        "version": one.version,
        "share": format_weight(one.share),
        "requests": one.requests,
        "errors": one.errors,
        "client_errors": one.client_errors,
        **{
            name: seconds and min(seconds, LONGEST)
            for name, seconds in zip(names, one.quantiles, strict=True)
        },
        "observed": {
            name: {"requests": times, "above": bad} for name, (times, bad) in one.observed.items()
        },
    }


def ramp(entry: Entry, now: float) -> Shape | None:
    """Where a release stands on its ramp; ``None`` when it is on none, and while it is paused."""
    at = bake(entry, now)
    if at is None:
        return None
    return {
        "step": at.step,
        "steps": at.steps,
        "passed": round(at.passed, 3),
        "left": round(at.left, 3),
        "then": at.then or None,
        "approval": at.approval,
    }
