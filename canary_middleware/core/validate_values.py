"""Mistakes in single values, wherever they stand."""

from __future__ import annotations

import enum
import inspect
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import Any, Final

from canary_middleware.core.codec_plan import LONGEST
from canary_middleware.core.duration import format_duration, parse_duration
from canary_middleware.core.reading import MAX_TEXT
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import Problem

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LABEL: Final = re.compile(r"[\x21-\x7e]{1,64}")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
"""Names of headers and methods (RFC 9110 section 5.6.2)."""

LINE: Final = f"printable characters, at most {MAX_TEXT}"


def matches(pattern: re.Pattern[str], value: object) -> bool:
    """Whether it is a text of this form."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def is_line(value: object) -> bool:
    """Whether the shared state takes it: :meth:`canary_middleware.core.reading.Place.text`."""
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT


def twice(items: Iterable[object]) -> list[str]:
    """What stands there more than once, as it is written."""
    return [item for item, count in Counter(map(repr, items)).items() if count > 1]


def list_problems(value: object, place: str) -> Iterator[Problem]:
    """Mistakes in a list as such."""
    if not _is_list(value):
        hint = "leave it out for the default" if value is None else f"write [{value!r}]"
        yield Problem(place, f"{value!r} is not a list", hint)
    for item in twice(items(value)):
        yield Problem(place, f"{item} stands there twice", "drop one")


def _is_list(value: object) -> bool:
    # What can be gone through only once would be empty when it is used.
    return isinstance(value, Collection) and not isinstance(value, (str, bytes))


def items(value: Any) -> Collection[object]:
    """What is in it; nothing if it is no list."""
    return value if _is_list(value) else ()


def choice_problems(value: object, words: type[enum.Enum], place: str) -> Iterator[Problem]:
    """The mistake in one word of several."""
    known = [word.value for word in words]
    if value not in known:
        listed = ", ".join(repr(word) for word in known)
        yield Problem(place, f"{value!r} is none", f"one of {listed}")


def duration_problems(value: object, place: str, least: int = 1) -> Iterator[Problem]:
    """The mistake in a duration of at least so many seconds."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        wrong, _, hint = str(error).partition("; ")
        yield Problem(place, wrong, hint)
    else:
        if not least <= seconds <= LONGEST:
            hint = f"from {format_duration(least)} to {format_duration(LONGEST)}"
            yield Problem(place, f"{value!r} is no sensible duration", hint)


def method_problems(methods: object, place: str) -> Iterator[Problem]:
    """Mistakes in a list of methods."""
    yield from list_problems(methods, place)
    for method in items(methods):
        if not (matches(TOKEN, method) and str(method).isupper()):
            yield Problem(place, f"{method!r} is not a method", f"write {str(method).upper()!r}")


def weight_problems(weights: Iterable[object], place: str) -> Iterator[Problem]:
    """Mistakes in weights."""
    for weight in weights:
        try:
            parse_weight(weight)
        except ValueError as error:
            wrong, _, hint = str(error).partition("; ")
            yield Problem(place, wrong, _share(weight) or hint or 'a share such as "5%"')


def _share(number: object) -> str:
    """How to write this number as a share, where it may be one."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return ""
    if number != 0 and not 0.001 <= number <= 100:
        return ""
    try:
        parse_weight(str(number))
    except ValueError as error:
        return str(error).partition("; ")[2]
    return ""


def weight_problem(weight: object, place: str) -> list[Problem]:
    """The mistake in one weight, if there is one."""
    return list(weight_problems([weight], place))


def flag_problems(value: object, place: str) -> list[Problem]:
    """The mistake in a switch; a text such as ``"false"`` would be true."""
    wrong = f"{value!r} is neither True nor False"
    return [] if isinstance(value, bool) else [Problem(place, wrong, "write True or False")]


def callable_problems(hook: object, place: str, hint: str) -> list[Problem]:
    """The mistake in something that we call."""
    wrong = f"is {type(hook).__name__}, which cannot be called"
    return [] if callable(hook) else [Problem(place, wrong, hint)]


def seconds_problems(value: object, place: str, hint: str, most: float = math.inf) -> list[Problem]:
    """The mistake in a duration, which is a finite number above 0 and at most ``most``."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        return [Problem(place, f"{value!r} is not a number of seconds", hint)]
    if value > most:
        return [Problem(place, f"{value!r} is more than {most:g} seconds", hint)]
    return []


def is_async(hook: object) -> bool:
    """Whether a call gives a coroutine: of a function, a method, a ``partial``, an object."""
    while isinstance(hook, partial):
        hook = hook.func
    call = inspect.getattr_static(type(hook), "__call__", None)
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(call)
