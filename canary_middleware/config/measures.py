"""Guards, precaution and ramp as a file writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from canary_middleware.config.shapes import WrongError, group, members, whole
from canary_middleware.core.guards import Guard, Metric, Precaution
from canary_middleware.core.ramp import Ramp, Step

_GUARD: Final = '{metric = "errors", margin = "1%"}'
_KINDS: Final[Mapping[str, Callable[..., Guard]]] = {
    "errors": Guard.errors,
    "client_errors": Guard.client_errors,
    "latency": Guard.latency,
    "throughput": Guard.throughput,
    "rate": Guard.rate,
    "mean": Guard.mean,
    "never": Guard.never,
}
"""The constructor, which fills in the rest, by its own word."""
_ALSO: Final[Mapping[str, str]] = {
    Metric.FAILURES: "errors",
    Metric.RETURNED: "throughput",
    Metric.SHARE: "rate",
}
"""Words of what is looked at, where the constructor has another."""
_OF: Final = frozenset({"rate", "mean", "never"})
_PRESETS: Final[Mapping[str, Callable[[], Ramp]]] = {
    "default": Ramp.default,
    "observe_first": Ramp.observe_first,
    "blue_green": Ramp.blue_green,
}
_RAMP: Final = '{steps = ["1%", "5%", "25%"], bake = "10m"}'
_STEP: Final = '{weight = "25%", approval = true}'
_STAND_IN: Final = "1%"
"""For steps that are none, so that nobody complains that there is none."""


def guards(value: object) -> tuple[Guard, ...]:
    """``"defaults"``, or a list of tables, each with its ``metric``."""
    if value == "defaults":
        return Guard.defaults()
    if not isinstance(value, list):
        wrong = repr(value) if isinstance(value, str) else f"is {type(value).__name__}"
        raise WrongError(f"{wrong}, not a list", f'write "defaults" or [{_GUARD}]')
    found: list[WrongError] = []
    return whole(tuple(_guard(item, number, found) for number, item in enumerate(value)), found)


def _guard(value: object, number: int, wrong: list[WrongError]) -> Guard:
    """A guard, with a stand-in for what is none; its values are checked by the facade."""
    at, stand_in = f"[{number}]", f"guard-{number}"
    if not isinstance(value, dict):
        wrong.append(WrongError(f"is {type(value).__name__}, not a table", _GUARD, at))
        return Guard.errors(name=stand_in)
    given = members(value, _names(Guard), at, wrong)
    if given.get("margin") == "none":
        given["margin"] = None
    metric = given.pop("metric", None)
    word = _ALSO.get(metric, metric) if isinstance(metric, str) else ""
    if word in _KINDS:
        return _KINDS[word](**{"of": "", **given} if word in _OF else given)
    none = "is missing" if metric is None else f"{metric!r} is none"
    wrong.append(WrongError(none, f"one of {', '.join(_KINDS)}", f"{at}.metric"))
    fitting = {name: each for name, each in given.items() if name not in ("of", "quantile")}
    return Guard.errors(**{"name": stand_in, **fitting})


def precaution(value: object) -> Precaution | None:
    """A table, or ``false`` for none."""
    if value is False:
        return None
    wrong: list[WrongError] = []
    table = group(value, 'false, or {failures = "50%", p99 = 10.0}')
    return whole(Precaution(**members(table, _names(Precaution), "", wrong)), wrong)


def ramp(value: object) -> Ramp:
    """The name of a preset, a list of steps, or a table with ``steps``."""
    if isinstance(value, str):
        if value not in _PRESETS:
            hint = f'one of {", ".join(_PRESETS)}, or a list such as ["1%", "5%", "25%"]'
            raise WrongError(f"{value!r} is no preset", hint)
        return _PRESETS[value]()
    wrong: list[WrongError] = []
    if isinstance(value, list):
        return whole(Ramp(*_steps(value, "", wrong)), wrong)
    table = members(group(value, f"write {_RAMP}"), _names(Ramp), "", wrong)
    steps = _steps(table.pop("steps", []), ".steps", wrong)
    return whole(Ramp(*steps, **table), wrong)


def _steps(value: object, at: str, wrong: list[WrongError]) -> list[str | Step]:
    if not isinstance(value, list):
        hint = f"write {_RAMP}"
        wrong.append(WrongError(f"is {type(value).__name__}, not a list", hint, at))
        return [_STAND_IN]
    steps = [_step(item, f"{at}[{number}]", wrong) for number, item in enumerate(value)]
    good = [step for step in steps if step is not None]
    return good or ([_STAND_IN] if steps else [])


def _step(value: Any, at: str, wrong: list[WrongError]) -> str | Step | None:
    if not isinstance(value, dict):
        # Anything but a text is told by the facade, as a weight that is none.
        return value if isinstance(value, str) else Step(value)
    table = members(value, _names(Step), at, wrong)
    if "weight" not in table:
        wrong.append(WrongError("has no weight", _STEP, at))
        return None
    return Step(**table)


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind)]
