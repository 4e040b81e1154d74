"""Which guards would roll back for which fault."""

from __future__ import annotations

import pytest

from canary_middleware.core.drill import DRILLED, Drill, Fault
from canary_middleware.core.guards import Guard
from canary_middleware.core.validate import NAME

GUARDS = (
    *Guard.defaults(),
    Guard.latency("p99"),
    Guard.never("charges"),
    Guard.rate("orders"),
    Guard.rate("complaints", worse="higher"),
    Guard.mean("revenue"),
    Guard.never("warned", action="warn"),
)
GATE = 5.0


def drill(fault: Fault, delay: float = 0.0, of: str = "") -> Drill:
    return Drill(fault, 20_000, 1_800_000_000.0, 60, delay=delay, of=of)


@pytest.mark.parametrize(
    ("fault", "guards"),
    [
        (drill(Fault.ERROR), ["errors"]),
        (drill(Fault.EXCEPTION), ["errors"]),
        (drill(Fault.LATENCY, 2.0), ["latency", "latency-p99"]),
        (drill(Fault.LATENCY, GATE + 1), ["errors", "latency", "latency-p99"]),
        (drill(Fault.HANG), ["errors", "latency", "latency-p99"]),
        (drill(Fault.EVENTS, of="charges"), ["charges"]),
        (drill(Fault.EVENTS, of="complaints"), ["complaints"]),
        (drill(Fault.EVENTS, of="orders"), []),
        (drill(Fault.EVENTS, of="revenue"), []),
        (drill(Fault.EVENTS, of="warned"), []),
        (drill(Fault.EVENTS, of="visits"), []),
    ],
    ids=lambda one: f"{one.fault} {one.of}{one.delay:g}" if isinstance(one, Drill) else "",
)
def test_who_sees_it(fault: Drill, guards: list[str]) -> None:
    assert [one.name for one in fault.seen_by(GUARDS, GATE)] == guards


def test_no_guard_can_be_counted_under_its_name() -> None:
    assert NAME.fullmatch(DRILLED) is None


def test_it_is_told_in_a_few_words() -> None:
    assert str(drill(Fault.ERROR)) == "error in 20% of canary requests"
    assert drill(Fault.ERROR).until == 1_800_000_060.0
