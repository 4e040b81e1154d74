"""Every configuration mistake at once, each with its place and what to write instead."""

from __future__ import annotations

import enum
import inspect
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, pairwise
from typing import Any, Final

from canary_middleware.core.codec import LONGEST as LONGEST_PLANNED
from canary_middleware.core.codec import MAX_BYTES
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.model import Audience, Memory, Policy, Ramp, Rescue, Rollout
from canary_middleware.core.override import WAYS
from canary_middleware.core.reading import MAX_TEXT
from canary_middleware.core.scope import Scope
from canary_middleware.core.state import Plan
from canary_middleware.core.token import MIN_KEY
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import Problem

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LABEL: Final = re.compile(r"[\x21-\x7e]{1,64}")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
"""Names of headers and methods (RFC 9110 section 5.6.2)."""

MAX_DECLARED: Final = MAX_BYTES // 2
"""Bytes of all declared rollouts together: they go into a report and a document of bounded size."""

LONGEST: Final = 60.0
"""Seconds between two looks at the store, or of waiting for the first one, that make any sense."""

_ROLLOUT: Final = 'Canary(Rollout("checkout", stable="1", canary="2"), ...)'


def rollout_problems(rollouts: Sequence[object], *, identified: bool = True) -> list[Problem]:
    """Mistakes in the declared rollouts; ``identified``: whether anybody says who visitors are."""
    if not rollouts:
        return [Problem("rollouts", "there is none", _ROLLOUT)]
    declared = [rollout for rollout in rollouts if isinstance(rollout, Rollout)]
    found = [
        Problem("rollouts", f"{type(other).__name__} is not Rollout", _ROLLOUT)
        for other in rollouts
        if not isinstance(other, Rollout)
    ]
    found += [
        Problem(f"rollout {name}", "is declared twice", "give each rollout its own name")
        for name in _twice(rollout.name for rollout in declared)
    ]
    for rollout in declared:
        found += _problems_of(rollout)
        if not identified:
            found += _unknowable(rollout)
    return found or _size_problems(declared)


def _unknowable(rollout: Rollout) -> Iterator[Problem]:
    for side in ("testers", "denied"):
        audience = getattr(rollout, side)
        if isinstance(audience, Audience) and audience:
            wrong = "nobody can be one, for no visitor is identified"
            yield Problem(f"rollout {rollout.name!r}, {side}", wrong, "give Canary(identify=...)")


def _size_problems(rollouts: Iterable[Rollout]) -> list[Problem]:
    size = sum(len(json.dumps(Plan.from_rollout(rollout).plain())) for rollout in rollouts)
    if size <= MAX_DECLARED:
        return []
    wrong = f"take {size} bytes of at most {MAX_DECLARED} in the shared state"
    return [Problem("rollouts", wrong, "name fewer paths: each covers everything below it")]


def _twice(items: Iterable[object]) -> list[str]:
    return [item for item, count in Counter(map(repr, items)).items() if count > 1]


def _problems_of(rollout: Rollout) -> Iterator[Problem]:
    place = f"rollout {rollout.name!r}"
    if not _matches(NAME, rollout.name):
        yield Problem(place, "is not a name", "letters, digits, - and _, at most 64")
    for side in ("stable", "canary"):
        label = getattr(rollout, side)
        if not _matches(LABEL, label):
            yield Problem(f"{place}, {side}", f"{label!r} is not a label", 'such as "1.5.0"')
    if rollout.stable == rollout.canary:
        yield Problem(
            f"{place}, canary",
            f"is the same as stable ({rollout.stable!r})",
            "a new version needs a new label",
        )
    yield from _path_problems(rollout.paths, f"{place}, paths")
    yield from _path_problems(rollout.exclude, f"{place}, exclude")
    yield from _method_problems(rollout.methods, f"{place}, methods")
    if not rollout.paths and rollout.paths is not None:
        yield Problem(f"{place}, paths", "is empty", 'paths=["/"] covers everything')
    if rollout.owner is not None and not _is_line(rollout.owner):
        yield Problem(f"{place}, owner", "is not one line of text", _LINE)
    yield from _choice_problems(rollout.policy, Policy, f"{place}, policy")
    yield from _choice_problems(rollout.affinity, Memory, f"{place}, affinity")
    yield from _duration_problems(rollout.session, f"{place}, session")
    yield from _duration_problems(rollout.claim_life, f"{place}, claim_life")
    yield from _duration_problems(rollout.rollback_window, f"{place}, rollback_window", least=0)
    if (rollout.policy, rollout.affinity) == (Policy.REQUEST.value, Memory.SHARED.value):
        hint = 'leave affinity out, or use policy="follow"'
        yield Problem(f"{place}, affinity", "has nothing to remember under request", hint)
    for name, (kind, problems) in _PARTS.items():
        part = getattr(rollout, name)
        if isinstance(part, kind):
            yield from problems(part, f"{place}, {name}")
        else:
            wrong = f"is {type(part).__name__}, not {kind.__name__}"
            yield Problem(f"{place}, {name}", wrong, f"write {kind.__name__}(...)")


def _choice_problems(value: object, words: type[enum.Enum], place: str) -> Iterator[Problem]:
    known = [word.value for word in words]
    if value not in known:
        listed = ", ".join(repr(word) for word in known)
        yield Problem(place, f"{value!r} is none", f"one of {listed}")


def _duration_problems(value: object, place: str, least: int = 1) -> Iterator[Problem]:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        wrong, _, hint = str(error).partition("; ")
        yield Problem(place, wrong, hint)
    else:
        if not least <= seconds <= LONGEST_PLANNED:
            days = LONGEST_PLANNED // 86400
            yield Problem(place, f"{value!r} is no sensible duration", f"at most {days}d")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


_LINE: Final = f"printable characters, at most {MAX_TEXT}"


def _is_line(value: object) -> bool:
    """Whether the shared state takes it: :meth:`canary_middleware.core.reading.Place.text`."""
    return isinstance(value, str) and value.isprintable() and len(value) <= MAX_TEXT


def _list_problems(value: object, place: str) -> Iterator[Problem]:
    if not _is_list(value):
        hint = "leave it out for the default" if value is None else f"write [{value!r}]"
        yield Problem(place, f"{value!r} is not a list", hint)
    for item in _twice(_items(value)):
        yield Problem(place, f"{item} stands there twice", "drop one")


def _is_list(value: object) -> bool:
    # What can be gone through only once would be empty when it is used.
    return isinstance(value, Collection) and not isinstance(value, (str, bytes))


def _items(value: Any) -> Collection[object]:
    return value if _is_list(value) else ()


def _path_problems(paths: object, place: str) -> Iterator[Problem]:
    yield from _list_problems(paths, place)
    for path in _items(paths):
        if not (isinstance(path, str) and path.startswith("/")):
            yield Problem(place, f"{path!r} is not a path", f"write {'/' + str(path)!r}")
        elif not _is_line(path):
            yield Problem(place, f"{path[:80]!r} cannot be shared", _LINE)


def _method_problems(methods: object, place: str) -> Iterator[Problem]:
    yield from _list_problems(methods, place)
    for method in _items(methods):
        if not (_matches(TOKEN, method) and str(method).isupper()):
            yield Problem(place, f"{method!r} is not a method", f"write {str(method).upper()!r}")


def _audience_problems(audience: Audience, place: str) -> Iterator[Problem]:
    for name in ("subjects", "groups"):
        # Subjects are people: what stands there is not repeated in a message.
        names: object = getattr(audience, name)
        if isinstance(names, str):
            yield Problem(f"{place}, {name}", "is one string, not a list", f'{name}=["..."]')
        elif not isinstance(names, frozenset):
            wrong = f"is {type(names).__name__}, not a list of strings"
            yield Problem(f"{place}, {name}", wrong, f'{name}=["..."]')
        elif kinds := {type(each).__name__ for each in names if not isinstance(each, str)}:
            wrong = f"holds {', '.join(sorted(kinds))}, not only strings"
            yield Problem(f"{place}, {name}", wrong, f'{name}=["..."], as identify says it')
    predicate: object = audience.predicate
    if predicate is not None and not callable(predicate):
        yield Problem(f"{place}, predicate", "cannot be called", "write a function of the visitor")
    if is_async(predicate):
        wrong = "is async, and a coroutine that nobody awaits is no answer"
        yield Problem(f"{place}, predicate", wrong, "look things up in identify")


def is_async(hook: object) -> bool:
    """Whether a call gives a coroutine: of a function, a method, a ``partial``, an object."""
    while isinstance(hook, partial):
        hook = hook.func
    call = inspect.getattr_static(type(hook), "__call__", None)
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(call)


def _rescue_problems(rescue: Rescue, place: str) -> Iterator[Problem]:
    yield from _method_problems(rescue.methods, f"{place}, methods")
    yield from _weight_problems([rescue.budget], f"{place}, budget")
    yield from flag_problems(rescue.enabled, f"{place}, enabled")


def _ramp_problems(ramp: Ramp, place: str) -> Iterator[Problem]:
    wrong = list(_weight_problems(ramp.steps, place))
    yield from wrong
    if not wrong:
        for before, after in pairwise(ramp.steps):
            if parse_weight(after) <= parse_weight(before):
                yield Problem(place, f"{after!r} after {before!r}", "steps must rise")


_PARTS: Final[Mapping[str, tuple[type, Callable[[Any, str], Iterator[Problem]]]]] = {
    "testers": (Audience, _audience_problems),
    "denied": (Audience, _audience_problems),
    "ramp": (Ramp, _ramp_problems),
    "rescue": (Rescue, _rescue_problems),
}


def _weight_problems(weights: Iterable[object], place: str) -> Iterator[Problem]:
    for weight in weights:
        try:
            parse_weight(weight)
        except ValueError as error:
            wrong, _, hint = str(error).partition("; ")
            yield Problem(place, wrong, hint or 'a share such as "5%"')


def weight_problem(weight: object, place: str) -> list[Problem]:
    """The mistake in one weight, if there is one."""
    return list(_weight_problems([weight], place))


_MAKE: Final = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def key_problems(keys: object, place: str = "secret_keys") -> list[Problem]:
    """Mistakes in the signing keys; never shows any part of a key."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
        wrong = f"is {type(keys).__name__}, not a list"
        return [Problem(place, wrong, "[key], or [old, new] while keys change")]
    if not keys:
        return [Problem(place, "is missing", _MAKE)]
    return [
        problem
        for index, key in enumerate(keys)
        for problem in secret_problems(key, f"{place}[{index}]", _MAKE)
    ]


def secret_problems(secret: object, place: str, hint: str) -> list[Problem]:
    """The mistake in one secret."""
    if not isinstance(secret, (str, bytes)):
        return [Problem(place, f"is {type(secret).__name__}, not str or bytes", hint)]
    size = len(as_bytes(secret))
    if size < MIN_KEY:
        return [Problem(place, f"has {size} bytes, at least {MIN_KEY} are needed", hint)]
    return []


def as_bytes(secret: str | bytes) -> bytes:
    """A secret as it enters the hash."""
    # Whatever the environment held: an encoding error would show the secret in its traceback.
    return secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret


def identity_problems(identify: object, secret: object) -> list[Problem]:
    """Mistakes in ``identify`` and the secret under which identified visitors are drawn."""
    hint = f"{_MAKE}; it is never rotated"
    found = []
    if identify is not None:
        found += callable_problems(
            identify, "identify", 'such as lambda view: view.header("X-User")'
        )
    if secret is not None:
        found += secret_problems(secret, "bucket_secret", hint)
    elif identify is not None:
        found += [Problem("bucket_secret", "is missing, and identify is given", hint)]
    return found


def autostart_problems(autostart: object, *, shared: bool) -> list[Problem]:
    """The mistake in the weight at which everything starts by itself, which one process may."""
    if autostart is None:
        return []
    if shared:
        hint = "with a shared store use: canary start NAME --weight 5%"
        return [Problem("autostart", "works with memory:// only", hint)]
    return weight_problem(autostart, "autostart")


def callable_problems(hook: object, place: str, hint: str) -> list[Problem]:
    """The mistake in something that we call."""
    wrong = f"is {type(hook).__name__}, which cannot be called"
    return [] if callable(hook) else [Problem(place, wrong, hint)]


def flag_problems(value: object, place: str) -> list[Problem]:
    """The mistake in a switch; a text such as ``"false"`` would be true."""
    wrong = f"{value!r} is neither True nor False"
    return [] if isinstance(value, bool) else [Problem(place, wrong, "write True or False")]


def namespace_problems(namespace: str | None, *, shared: bool) -> list[Problem]:
    """Mistakes in the namespace; a shared store needs one, so that two sites cannot meet in it."""
    if namespace is None:
        missing = Problem("namespace", "is missing, and the store is shared", 'namespace="shop"')
        return [missing] if shared else []
    if not _matches(NAME, namespace):
        wrong = f"{namespace!r} is not a name"
        return [Problem("namespace", wrong, "letters, digits, - and _, at most 64")]
    return []


def vary_problems(vary: object) -> list[Problem]:
    """Mistakes in the names of request headers; they go into every exposed response."""
    wrong = [name for name in _items(vary) if not _matches(TOKEN, name)]
    return [
        *_list_problems(vary, "vary"),
        *(Problem("vary", f"{name!r} is not a header name", '["Authorization"]') for name in wrong),
    ]


def override_problems(ways: object) -> list[Problem]:
    """Mistakes in the ways in which requests may carry override tokens."""
    known = ", ".join(f'"{way}"' for way in WAYS)
    wrong = [way for way in _items(ways) if way not in WAYS]
    return [
        *_list_problems(ways, "overrides"),
        *(Problem("overrides", f"{way!r} is no way", f"some of {known}") for way in wrong),
    ]


def secure_problems(secure: object) -> list[Problem]:
    """The mistake in the cookie's ``secure``; a text such as ``"false"`` would be true."""
    if isinstance(secure, bool) or secure == "auto":
        return []
    return [Problem("secure", f"{secure!r} is none of the three", 'True, False or "auto"')]


def seconds_problems(value: object, place: str, hint: str, most: float = math.inf) -> list[Problem]:
    """The mistake in a duration, which is a finite number above 0 and at most ``most``."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        return [Problem(place, f"{value!r} is not a number of seconds", hint)]
    if value > most:
        return [Problem(place, f"{value!r} is more than {most:g} seconds", hint)]
    return []


def pace_problems(poll: object, first_load: object, max_staleness: object) -> list[Problem]:
    """Mistakes in how often the store is asked and how long its silence is borne."""
    found = [
        *seconds_problems(poll, "poll", "such as 0.8", LONGEST),
        *seconds_problems(first_load, "first_load", "such as 0.25", LONGEST),
    ]
    if max_staleness is not None:
        found += seconds_problems(max_staleness, "max_staleness", "or None for never")
    return found or _flapping(poll, max_staleness)


def _flapping(poll: Any, max_staleness: Any) -> list[Problem]:
    # One look may fail and the next be slow, and nothing is wrong: visitors must not change sides.
    least = 2 * poll + 1
    if max_staleness is None or max_staleness >= least:
        return []
    wrong = (
        f"{max_staleness:g} s would pass while all is well, for the store is asked every {poll:g} s"
    )
    return [Problem("max_staleness", wrong, f"at least 2 * poll + 1, here {least:g}")]


def observer_problems(telemetry: object, protocol: type) -> list[Problem]:
    """The mistake in ``telemetry``, which is a switch or answers to all names of a protocol."""
    asked = [name for name in vars(protocol) if not name.startswith("_")]
    if telemetry is None or isinstance(telemetry, bool):
        return []
    answers = all(callable(getattr(telemetry, name, None)) for name in asked)
    if answers and not isinstance(telemetry, type):
        return []
    hint = "write Telemetry(), None for the default or False for none"
    return [Problem("telemetry", f"{telemetry!r} observes nothing", hint)]


def target_problems(targets: Iterable[str], rollouts: Iterable[Rollout]) -> list[Problem]:
    """Targets that name no declared rollout."""
    names = [rollout.name for rollout in rollouts]
    return [
        Problem(f"targets[{name!r}]", "names no rollout", f"declared: {', '.join(names)}")
        for name in targets
        if name not in names
    ]


def overlap_problems(rollouts: Sequence[Rollout]) -> list[Problem]:
    """Rollouts with targets whose scopes overlap: one request cannot go to two applications."""
    scoped = [(r.name, Scope.of(r.paths, r.exclude, r.methods)) for r in rollouts]
    return [
        Problem(
            f"targets {first!r} and {second!r}",
            "their scopes overlap, and a request can go to one target only",
            "separate their paths or methods, or read one with current()",
        )
        for (first, left), (second, right) in combinations(scoped, 2)
        if left.overlaps(right)
    ]
