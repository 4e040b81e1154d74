"""What somebody wants to be done, read from a form or from JSON and checked in this one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from canary_middleware.core.drill import LONGEST, LONGEST_DELAY, Drill, Fault, parse_delay
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.validate import NAME
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import CanaryError, Problem, UnknownRolloutError
from canary_middleware.overview.wording import shown

LONGEST_WHY: Final = 500
LONGEST_LABEL: Final = 200
MOST_PROBLEMS: Final = 10
"""Told at once; an answer must not be many times as long as what was sent."""
_YES: Final = frozenset({"1", "on", "true", "yes"})
_NO: Final = frozenset({"0", "off", "false", "no"})


class BadInputError(CanaryError):
    """What was asked for cannot be read; nothing was done.

    Attributes:
        problems: one per mistake, the first few; their place is the name of a field.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:MOST_PROBLEMS])
        super().__init__("; ".join(f"{one.place}: {one.message}" for one in self.problems))

    @property
    def hint(self) -> str:
        """What to write instead."""
        return "; ".join(dict.fromkeys(one.hint for one in self.problems if one.hint))


@dataclass(frozen=True, slots=True)
class Action:
    """One verb with its arguments; made by :func:`read` and :func:`read_form` only.

    Attributes:
        verb: one of :data:`VERBS`.
        rollout: its name; ``None`` is everything (``kill`` and ``revive``).
        why: the reason, kept in history.
        release: canary label; ``None`` means the current one.
        weight: in 0.001 %.
        stable: the new label (``rebase``).
        again: although the release was rolled back (``start``).
        early: although the rollback window is open (``finish``).
        skip_approval: although a step before needs one (``resume``).
        anyway: although the evidence does not say so, or stable does not answer.
        if_revision: of the state that whoever asks has seen; what was changed in the rollout since
            then makes the action be refused.
        drill: without its beginning and who began it.
    """

    verb: str
    rollout: str | None = None
    why: str = ""
    release: str | None = None
    weight: int | None = None
    stable: str | None = None
    again: bool = False
    early: bool = False
    skip_approval: bool = False
    anyway: bool = False
    if_revision: int | None = None
    drill: Drill | None = None


Schema = Mapping[str, Any]
"""As JSON Schema has it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One argument.

    Attributes:
        read: makes a value of what JSON has there; raises ``ValueError`` in words.
        schema: the same for machines.
        typed: makes of a form's text what JSON would have.
    """

    read: Callable[[Any], Any]
    schema: Schema
    typed: Callable[[str], Any] = field(default=str)


def _text(value: object, least: int, most: int) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    if not least <= len(value) <= most:
        raise ValueError(f"has {len(value)} characters of {least} to {most}")
    return value


def _why(value: object) -> str:
    return _text(value, 0, LONGEST_WHY)


def _label(value: object) -> str:
    text = _text(value, 1, LONGEST_LABEL)
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _flag_of(text: str) -> object:
    return True if text in _YES else False if text in _NO else text


def _revision(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError("is no revision")
    return value


def _revision_of(text: str) -> object:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else text


def _fault(value: object) -> Fault:
    try:
        return Fault(_text(value, 1, 20))
    except ValueError:
        raise ValueError(f"is none of {', '.join(Fault)}") from None


def _share(value: object) -> int:
    share = parse_weight(value)
    if not share:
        raise ValueError("a share of 0% is no drill")
    return share


def _seconds(value: object) -> int:
    seconds = parse_duration(value)
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"a drill lasts 1s to {LONGEST}s")
    return seconds


def _delay(value: object) -> float:
    return parse_delay(_text(value, 1, 20))


def _amount(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, int | float) or not number or not 0 <= value <= 1e15:
        raise ValueError("is no number from 0 to 1e15")
    return float(value)


def _amount_of(text: str) -> object:
    try:
        found = float(text)
    except ValueError:
        return text
    return found if math.isfinite(found) else text


def _schema(kind: str, description: str, **more: Any) -> Schema:
    return {"type": kind, "description": description, **more}


def _flagged(description: str) -> Field:
    return Field(_flag, _schema("boolean", description), _flag_of)


def _labelled(description: str) -> Field:
    schema = _schema("string", description, minLength=1, maxLength=LONGEST_LABEL)
    return Field(_label, schema)


FIELDS: Final[Mapping[str, Field]] = {
    "why": Field(_why, _schema("string", "The reason, kept in history.", maxLength=LONGEST_WHY)),
    "release": _labelled("Which canary label; the current one by default."),
    "weight": Field(
        parse_weight, _schema("string", "Share of visitors on canary.", examples=["5%"])
    ),
    "stable": _labelled("The new label of the stable side, where processes declare several."),
    "again": _flagged("Although this release was rolled back."),
    "early": _flagged("Although its rollback window is open."),
    "skip_approval": _flagged("Although a step before that needs one."),
    "anyway": _flagged("Although the evidence does not say so, or stable does not answer."),
    "if_revision": Field(
        _revision,
        _schema(
            "integer",
            "Revision of the state that you have seen: refused if the rollout was changed since.",
            minimum=0,
        ),
        _revision_of,
    ),
    "fault": Field(
        _fault, _schema("string", "What goes wrong.", enum=[one.value for one in Fault])
    ),
    "share": Field(_share, _schema("string", "Of canary requests; 20% by default.")),
    "for": Field(
        _seconds,
        _schema("string", "After which every process ends it; 60s by default.", examples=["60s"]),
    ),
    "delay": Field(
        _delay,
        _schema("string", f"Added to an answer (latency); 2s, at most {LONGEST_DELAY:g}s."),
    ),
    "metric": _labelled("Observed once more than it happened (events)."),
    "value": Field(
        _amount, _schema("number", "Of the metric; 1 by default.", minimum=0), _amount_of
    ),
}


@dataclass(frozen=True, slots=True)
class Sort:
    """One verb, as a panel offers it.

    Attributes:
        says: what it does.
        fields: its arguments.
        required: those of them that must be there.
        asks: whether a page asks before it is done.
    """

    says: str
    fields: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    asks: bool = False


_COMMON: Final = ("why", "release", "if_revision")
_DRILL: Final = ("fault", "share", "for", "delay", "metric", "value")
VERBS: Final[Mapping[str, Sort]] = {
    "start": Sort("Make a release current and begin its ramp.", (*_COMMON, "weight", "again")),
    "weight": Sort(
        "Set the share of visitors on canary by hand; the ramp pauses.",
        (*_COMMON, "weight", "anyway"),
        ("weight",),
    ),
    "pause": Sort("Stop the ramp at its present weight.", _COMMON),
    "resume": Sort(
        "Go on with the first step at or above the present weight.", (*_COMMON, "skip_approval")
    ),
    "approve": Sort("Enter the step that waits for a person.", _COMMON),
    "promote": Sort("Everybody gets the canary.", (*_COMMON, "anyway"), asks=True),
    "rollback": Sort(
        "Everybody gets stable; the release must be acknowledged before it starts again.",
        (*_COMMON, "anyway"),
        asks=True,
    ),
    "finish": Sort(
        "Close a promoted release; its old side can leave the code.",
        (*_COMMON, "early"),
        asks=True,
    ),
    "rebase": Sort(
        "Take over the stable label that a hot-fix declares; nobody is moved.",
        (*_COMMON, "stable"),
    ),
    "drill": Sort("Inject faults into the canary, for a while.", (*_COMMON, *_DRILL), ("fault",)),
    "settle": Sort("End a drill; evidence begins anew and the ramp is paused.", _COMMON),
    "kill": Sort("Everybody back to stable, unconditionally.", ("why",), asks=True),
    "revive": Sort("Lift a kill; ramps stay paused.", ("why", "if_revision"), asks=True),
}
OF_EVERYTHING: Final = ("kill", "revive")
"""Verbs that need no rollout."""


def read_form(verb: str, rollout: str | None, pairs: Iterable[tuple[str, object]]) -> Action:
    """The action of a form; fields that were left empty are absent.

    Args:
        verb: one of :data:`VERBS`.
        rollout: its name; ``None`` is everything.
        pairs: the form as it came, without what is not ours, such as its CSRF token.

    Raises:
        BadInputError: something cannot be read, is unknown, or is there twice.
        UnknownRolloutError: that is no name of a rollout.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadInputError([Problem(shown(name), "is there twice", "say it once")])
        if value != "":
            known = isinstance(value, str) and name in FIELDS
            found[name] = FIELDS[name].typed(str(value)) if known else value
    return read(verb, rollout, found)


def read(verb: str, rollout: str | None, values: Mapping[str, Any]) -> Action:
    """The action of a JSON object.

    Raises:
        BadInputError: something cannot be read, or is unknown.
        UnknownRolloutError: that is no name of a rollout.
    """
    if rollout is not None and not NAME.fullmatch(rollout):
        message = f"{shown(rollout[:80])!r} is not a name of a rollout"
        raise UnknownRolloutError(message, hint="letters, digits, - and _, at most 64")
    if verb == "kill" and isinstance(why := values.get("why"), str):
        values = {**values, "why": why[:LONGEST_WHY]}  # no kill fails for a reason that is long
    sort = VERBS[verb]
    found, problems = _values(verb, sort, values)
    problems += [
        Problem(name, "is missing", _example(name)) for name in sort.required if name not in values
    ]
    drill = None
    if verb == "drill" and not problems:
        problems += _drill_problems(found)
        drill = None if problems else _drill_of(found)
    if problems:
        raise BadInputError(problems)
    plain = {name: value for name, value in found.items() if name not in _DRILL}
    return Action(verb, rollout, drill=drill, **plain)


def _values(
    verb: str, sort: Sort, values: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    found: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        if name not in sort.fields:
            problems.append(_stray(verb, sort, name))
            continue
        try:
            found[name] = FIELDS[name].read(_single(value))
        except ValueError as error:
            problems.append(Problem(name, shown(str(error)), _example(name)))
    return found, problems


def _single(value: object) -> object:
    # Nothing here is nested, and of what is deep not even the words could be written.
    if isinstance(value, list | dict):
        raise ValueError("is no single value")
    return value


def _stray(verb: str, sort: Sort, name: str) -> Problem:
    near = get_close_matches(name, sort.fields, 1)
    takes = f"`{verb}` takes {', '.join(sort.fields)}"
    return Problem(shown(name[:80]), "is no field of it", f"{near[0]}?" if near else takes)


def _example(name: str) -> str:
    examples = {"weight": 'such as "5%"', "share": 'such as "20%"', "for": 'such as "60s"'}
    return examples.get(name) or FIELDS[name].schema["description"].rstrip(".").lower()


def _drill_problems(found: Mapping[str, Any]) -> list[Problem]:
    if (found["fault"] is Fault.EVENTS) == ("metric" in found):
        return []
    return [Problem("metric", "belongs to the fault events, which needs it", "")]


def _drill_of(found: Mapping[str, Any]) -> Drill:
    fault = found["fault"]
    return Drill(
        fault,
        found.get("share", 20_000),
        0.0,
        found.get("for", 60),
        delay=found.get("delay", 2.0) if fault is Fault.LATENCY else 0.0,
        of=found.get("metric", ""),
        value=found.get("value", 1.0),
    )
