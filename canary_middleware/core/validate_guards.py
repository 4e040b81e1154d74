"""Mistakes in what a rollout is measured by and moved along: guards, precaution, ramp."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

from canary_middleware.core.codec_plan import LARGEST, LIGHTEST, LONGEST, OBSERVING
from canary_middleware.core.duration import format_duration, parse_duration
from canary_middleware.core.guards import QUANTILES, Action, Guard, Metric, Precaution, Worse
from canary_middleware.core.hook_address import url_problems
from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.validate_values import (
    NAME,
    choice_problems,
    duration_problems,
    flag_problems,
    items,
    matches,
    seconds_problems,
    twice,
    weight_problems,
)
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import Problem

MAX_GUARDS: Final = 12
MAX_METRICS: Final = 16
"""Declared metrics of one rollout."""
MAX_ALPHA: Final = 20_000
"""Units of 0.001 %: above 20 % a rollback says hardly anything."""
MOST: Final = 2**53 - 1

_ON: Final = {
    "on_breach": ("rollback", "pause"),
    "on_inconclusive": ("hold", "promote", "rollback"),
    "on_no_traffic": ("hold", "rollback"),
}
_DEFAULT: Final = Ramp()
_NO_MARGIN: Final = 'margin=None (in canary.toml "none")'
_ABORT: Final = "the abort plan is written before the start"


def measure_problems(rollout: Rollout, place: str) -> Iterator[Problem]:
    """Everything that is wrong with what a rollout is measured by."""
    yield from _guards_problems(rollout.guards, f"{place}, guards")
    if rollout.precaution is not None:
        yield from _precaution_problems(rollout.precaution, f"{place}, precaution")
    yield from _alpha_problems(rollout.alpha, f"{place}, alpha")
    yield from duration_problems(rollout.horizon, f"{place}, horizon")
    yield from duration_problems(rollout.timeout, f"{place}, timeout")
    ramp: object = rollout.ramp  # of a user's: it may be anything
    if isinstance(ramp, Ramp) and ramp.automatic:
        yield from _abort_problems(rollout, place)


def _abort_problems(rollout: Rollout, place: str) -> Iterator[Problem]:
    guards = [guard for guard in items(rollout.guards) if isinstance(guard, Guard)]
    if not any(guard.action == Action.BREACH for guard in guards):
        wrong = f"has no guard that may stop it, and a ramp that moves by itself: {_ABORT}"
        yield Problem(f"{place}, guards", wrong, "guards=Guard.defaults(), or a ramp without bake")
    if not rollout.owner:
        wrong = f"is missing, and the ramp moves by itself: {_ABORT}"
        yield Problem(f"{place}, owner", wrong, 'owner="payments@example.com": whom to ask')


def _alpha_problems(alpha: object, place: str) -> Iterator[Problem]:
    wrong = list(weight_problems([alpha], place))
    yield from wrong
    if not wrong and not 0 < parse_weight(alpha) <= MAX_ALPHA:
        yield Problem(place, f"{alpha!r} is not above 0% and at most 20%", 'such as "1%"')


# --- guards -------------------------------------------------------------------------------------


def _guards_problems(guards: object, place: str) -> Iterator[Problem]:
    if not items(guards) and guards != ():
        yield Problem(place, f"{guards!r} is not a list", "guards=Guard.defaults()")
        return
    declared = []
    for number, guard in enumerate(items(guards)):
        if isinstance(guard, Guard):
            declared.append(guard)
            yield from _guard_problems(guard, f"{place}[{number}]")
        else:
            wrong = f"is {type(guard).__name__}, not Guard"
            several = isinstance(guard, (tuple, list))
            hint = "[*Guard.defaults(), ...]" if several else "Guard.errors(), Guard.latency(), ..."
            yield Problem(f"{place}[{number}]", wrong, hint)
    for name in twice(guard.name for guard in declared):
        yield Problem(place, f"two have the name {name}", "give each its own name=")
    if len(declared) > MAX_GUARDS:
        wrong = f"are {len(declared)}, at most {MAX_GUARDS}"
        yield Problem(place, wrong, "each takes a part of one error budget: keep what matters")
    metrics = {repr(guard.of) for guard in declared if guard.of}
    if len(metrics) > MAX_METRICS:
        wrong = f"observe {len(metrics)} metrics, at most {MAX_METRICS}"
        yield Problem(place, wrong, "keep what would stop the release")


def _guard_problems(guard: Guard, place: str) -> Iterator[Problem]:
    if not matches(NAME, guard.name):
        hint = "letters, digits, - and _, at most 64"
        yield Problem(f"{place}, name", f"{guard.name!r} is not a name", hint)
    for name, kind in (("metric", Metric), ("worse", Worse)):
        yield from choice_problems(getattr(guard, name), kind, f"{place}, {name}")
    if guard.action not in list(Action):
        hint = '"breach", which rolls back, or "warn", which only reports'
        yield Problem(f"{place}, action", f"{guard.action!r} is none", hint)
    yield from _of_problems(guard, f"{place}, of")
    yield from weight_problems([guard.tolerance], f"{place}, tolerance")
    if guard.margin is not None:
        yield from _margin_problems(guard, f"{place}, margin")
    if guard.quantile is not None:
        yield from _quantile_problems(guard, f"{place}, quantile")
    yield from _number_problems(guard.above, f"{place}, above")
    yield from _number_problems(guard.cap, f"{place}, cap")
    yield from _number_problems(guard.weight, f"{place}, weight", positive=True)


def _margin_problems(guard: Guard, place: str) -> Iterator[Problem]:
    wrong = list(weight_problems([guard.margin], place))
    yield from wrong
    if not wrong and not parse_weight(guard.margin):
        hint = f'such as "1%", or {_NO_MARGIN}: promotion asks nothing of it'
        yield Problem(place, "0% can never be proven", hint)


def _of_problems(guard: Guard, place: str) -> Iterator[Problem]:
    if guard.metric in OBSERVING and not (matches(NAME, guard.of)):
        wrong = f"{guard.of!r} is not the name of a metric" if guard.of else "is missing"
        yield Problem(place, wrong, 'what observe() is called with, such as of="charges"')
    elif guard.metric not in OBSERVING and guard.of:
        wrong = f"has no meaning for {guard.metric}, which needs no observe()"
        yield Problem(place, wrong, "leave it out")


def _quantile_problems(guard: Guard, place: str) -> Iterator[Problem]:
    if guard.quantile not in QUANTILES:
        listed = ", ".join(repr(word) for word in QUANTILES)
        yield Problem(place, f"{guard.quantile!r} is none", f"one of {listed}")
    elif guard.metric is not Metric.LATENCY:
        yield Problem(place, f"has no meaning for {guard.metric}", "leave it out")


def _number_problems(value: Any, place: str, *, positive: bool = False) -> Iterator[Problem]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= LARGEST or (positive and value < LIGHTEST):
        least = "above 0" if positive else "of at least 0"
        yield Problem(place, f"{value!r} is not a number {least}", "such as 1.0")


def _precaution_problems(precaution: object, place: str) -> Iterator[Problem]:
    if not isinstance(precaution, Precaution):
        wrong = f"is {type(precaution).__name__}, not Precaution"
        yield Problem(place, wrong, "write Precaution(...), or None for none")
        return
    yield from weight_problems([precaution.failures], f"{place}, failures")
    for name in ("p99", "stall"):
        hint = "a number such as 2.5"
        yield from seconds_problems(getattr(precaution, name), f"{place}, {name}", hint, LONGEST)
    yield from _count_problems(precaution.window, f"{place}, window", least=1, most=LONGEST)
    yield from _count_problems(precaution.least, f"{place}, least")


def _count_problems(
    value: object, place: str, least: int = 0, most: int = MOST
) -> Iterator[Problem]:
    if type(value) is not int or not least <= value <= most:
        yield Problem(place, f"{value!r} is not a whole number of at least {least}", "such as 50")


# --- ramp ---------------------------------------------------------------------------------------


def ramp_problems(ramp: Ramp, place: str) -> Iterator[Problem]:
    """Mistakes in a ramp."""
    each = ramp.each
    yield from _steps_problems(each, place)
    yield from flag_problems(ramp.observe, f"{place}, observe")
    if ramp.gate is not None:
        yield from url_problems(ramp.gate, f"{place}, gate")
    yield from _count_problems(ramp.samples, f"{place}, samples")
    for name in ("max_age", "patience"):
        yield from duration_problems(getattr(ramp, name), f"{place}, {name}")
    for name in ("max_visitors", "max_requests"):
        if getattr(ramp, name) is not None:
            yield from _count_problems(getattr(ramp, name), f"{place}, {name}", least=1)
    for name, known in _ON.items():
        if getattr(ramp, name) not in known:
            listed = ", ".join(repr(word) for word in known)
            yield Problem(
                f"{place}, {name}", f"{getattr(ramp, name)!r} is none", f"one of {listed}"
            )
    for step in each:
        yield from _step_problems(step, f"{place}, step {step.weight!r}")
    yield from _automatic_problems(ramp, place) if ramp.automatic else _idle_problems(ramp, place)


def _steps_problems(each: Iterable[Step], place: str) -> Iterator[Problem]:
    weights: list[Any] = [step.weight for step in each]  # of a user's: they may be anything
    lists = [weight for weight in weights if isinstance(weight, (list, tuple))]
    for weight in lists:
        yield Problem(place, f"{weight!r} is a list, not a step", _unpacked(weight))
    wrong = list(weight_problems((weight for weight in weights if weight not in lists), place))
    yield from wrong
    if not (wrong or lists):
        for before, after in pairwise(weights):
            if parse_weight(after) <= parse_weight(before):
                yield Problem(place, f"{after!r} after {before!r}", "steps must rise")


def _unpacked(steps: Iterable[object]) -> str:
    listed = ", ".join(f'"{step}"' if isinstance(step, str) else repr(step) for step in steps)
    return f"Ramp({listed}), each step by itself"


def _step_problems(step: Step, place: str) -> Iterator[Problem]:
    if step.bake is not None:
        yield from duration_problems(step.bake, f"{place}, bake")
    if step.samples is not None:
        yield from _count_problems(step.samples, f"{place}, samples")
    yield from flag_problems(step.approval, f"{place}, approval")


def _automatic_problems(ramp: Ramp, place: str) -> Iterator[Problem]:
    yield from duration_problems(ramp.bake, f"{place}, bake")
    if not ramp.each:
        hint = 'name its steps: Ramp("1%", "5%", bake="10m")'
        yield Problem(place, "has a bake and no steps", hint)
        return
    first = ramp.each[0]
    if first.approval is True:
        yield Problem(place, "its first step needs an approval", "`canary start` is that one")
    if first.weight == "100%":
        wrong = "begins with everybody, so that nobody is left to compare with"
        yield Problem(place, wrong, "begin lower, or leave bake out")
    yield from _age_problems(ramp, f"{place}, max_age")


def _age_problems(ramp: Ramp, place: str) -> Iterator[Problem]:
    times = [ramp.max_age, *(step.bake or ramp.bake for step in ramp.each)]
    if any(list(duration_problems(time, place)) for time in times):
        return
    age, *bakes = map(parse_duration, times)
    if age < sum(bakes):
        wrong = f"{ramp.max_age!r} is over before all steps have baked"
        longer = f'max_age="{format_duration(sum(bakes))}" or more, or '
        hint = f"{longer * (sum(bakes) <= LONGEST)}a shorter bake"
        yield Problem(place, wrong, hint)


def _idle_problems(ramp: Ramp, place: str) -> Iterator[Problem]:
    """Settings that do nothing where a person moves the ramp."""
    hint = 'leave it out, or let it move by itself: Ramp(..., bake="10m")'
    none = "has no meaning where a person moves the ramp"
    for name in ("max_visitors", "max_requests", "patience", "gate"):
        if getattr(ramp, name) != getattr(_DEFAULT, name):
            yield Problem(f"{place}, {name}", none, hint)
    for step in ramp.each:
        given = {"bake": step.bake, "samples": step.samples, "approval": step.approval or None}
        for name, value in given.items():
            if value is not None:
                yield Problem(f"{place}, step {step.weight!r}, {name}", none, hint)
