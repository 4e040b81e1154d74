"""Guards, precaution and ramp as a file writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from canary_middleware.config.shapes import WrongError, a_text, members
from canary_middleware.core.guards import Guard, Metric, Precaution
from canary_middleware.core.ramp import Ramp, Step

_GUARD: Final = '{metric = "failures", margin = "1%"}'
_KINDS: Final[Mapping[str, Callable[..., Guard]]] = {
    Metric.FAILURES: Guard.errors,
    Metric.CLIENT_ERRORS: Guard.client_errors,
    Metric.LATENCY: Guard.latency,
    Metric.RETURNED: Guard.throughput,
    Metric.SHARE: Guard.rate,
    Metric.MEAN: Guard.mean,
    Metric.NEVER: Guard.never,
}
"""What fills in the rest, as in code."""
_OF: Final = frozenset({Metric.SHARE, Metric.MEAN, Metric.NEVER})
_WORDS: Final = ("worse", "action")
_TEXTS: Final = ("name", "of", "margin", "tolerance", "quantile", *_WORDS)
_PRESETS: Final[Mapping[str, Callable[[], Ramp]]] = {
    "default": Ramp.default,
    "observe_first": Ramp.observe_first,
    "blue_green": Ramp.blue_green,
}
_RAMP: Final = '{steps = ["1%", "5%", "25%"], bake = "10m"}'


def guards(value: object) -> tuple[Guard, ...]:
    """``"defaults"``, or a list of tables, each with its ``metric``."""
    if value == "defaults":
        return Guard.defaults()
    if not isinstance(value, list):
        wrong = repr(value) if isinstance(value, str) else f"is {type(value).__name__}"
        raise WrongError(f"{wrong}, not a list", f'write "defaults" or [{_GUARD}]')
    return tuple(_guard(item, f"[{number}] ") for number, item in enumerate(value))


def _guard(value: object, place: str) -> Guard:
    try:
        given = dict(members(value, (field.name for field in fields(Guard)), _GUARD))
        for name in _TEXTS:
            if name in given:
                a_text(given[name])
    except WrongError as wrong:
        raise WrongError(place + wrong.message, wrong.hint) from None
    metric = given.pop("metric", None)
    if not isinstance(metric, str) or metric not in _KINDS:
        none = "has no metric" if metric is None else f"{metric!r} is no metric"
        raise WrongError(place + none, f"one of {', '.join(_KINDS)}")
    if given.get("margin") == "none":
        given["margin"] = None
    # Words that are none are told by the facade, together with everything else.
    chosen: dict[str, Any] = {name: given.pop(name) for name in _WORDS if name in given}
    if metric in _OF:
        given.setdefault("of", "")
    elif "of" in given:
        chosen["of"] = given.pop("of")
    return replace(_KINDS[metric](**given), **chosen)


def precaution(value: object) -> Precaution | None:
    """A table, or ``false`` for none."""
    if value is False:
        return None
    names = (field.name for field in fields(Precaution))
    return Precaution(**members(value, names, 'false, or {failures = "50%", p99 = 10.0}'))


def ramp(value: object) -> Ramp:
    """The name of a preset, a list of steps, or a table with ``steps``."""
    if isinstance(value, str):
        if value not in _PRESETS:
            hint = f'one of {", ".join(_PRESETS)}, or a list such as ["1%", "5%", "25%"]'
            raise WrongError(f"{value!r} is no preset", hint)
        return _PRESETS[value]()
    if isinstance(value, list):
        return Ramp(*map(_step, value))
    table = dict(members(value, (field.name for field in fields(Ramp)), f"write {_RAMP}"))
    steps = table.pop("steps", [])
    if not isinstance(steps, list):
        raise WrongError(f"steps is {type(steps).__name__}, not a list", f"write {_RAMP}")
    return Ramp(*map(_step, steps), **table)


def _step(value: Any) -> str | Step:
    if not isinstance(value, dict):
        # Anything but a text is told by the facade, as a weight that is none.
        return value if isinstance(value, str) else Step(value)
    hint = '{weight = "25%", approval = true}'
    table = members(value, (field.name for field in fields(Step)), hint)
    if "weight" not in table:
        raise WrongError("a step has no weight", hint)
    return Step(**table)
