"""Every configuration mistake at once, each with its place and what to write instead."""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Final

from canary_middleware.core.model import Audience, Ramp, Rescue, Rollout
from canary_middleware.core.scope import Scope
from canary_middleware.core.token import MIN_KEY
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import Problem

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LABEL: Final = re.compile(r"[\x21-\x7e]{1,64}")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Names of headers and methods (RFC 9110 section 5.6.2)."""

_ROLLOUT: Final = 'Canary(Rollout("checkout", stable="1", canary="2"), ...)'


def rollout_problems(rollouts: Sequence[object]) -> list[Problem]:
    """Mistakes in the declared rollouts."""
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
    return found


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
    if not rollout.paths:
        yield Problem(f"{place}, paths", "is empty", 'paths=["/"] covers everything')
    for name, (kind, problems) in _PARTS.items():
        part = getattr(rollout, name)
        if isinstance(part, kind):
            yield from problems(part, f"{place}, {name}")
        else:
            wrong = f"is {type(part).__name__}, not {kind.__name__}"
            yield Problem(f"{place}, {name}", wrong, f"write {kind.__name__}(...)")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _list_problems(value: object, place: str) -> Iterator[Problem]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        yield Problem(place, f"{value!r} is not a list", f"write [{value!r}]")
    else:
        for item in _twice(value):
            yield Problem(place, f"{item} stands there twice", "drop one")


def _items(value: object) -> Iterable[object]:
    return () if isinstance(value, str) or not isinstance(value, Iterable) else value


def _path_problems(paths: object, place: str) -> Iterator[Problem]:
    yield from _list_problems(paths, place)
    for path in _items(paths):
        if not (isinstance(path, str) and path.startswith("/")):
            yield Problem(place, f"{path!r} is not a path", f"write {'/' + str(path)!r}")


def _method_problems(methods: object, place: str) -> Iterator[Problem]:
    yield from _list_problems(methods, place)
    for method in _items(methods):
        if not (_matches(TOKEN, method) and str(method).isupper()):
            yield Problem(place, f"{method!r} is not a method", f"write {str(method).upper()!r}")


def _audience_problems(audience: Audience, place: str) -> Iterator[Problem]:
    for name in ("subjects", "groups"):
        # Subjects are people: what stands there is not repeated in a message.
        if isinstance(getattr(audience, name), str):
            yield Problem(f"{place}, {name}", "is one string, not a list", f'{name}=["..."]')
    predicate: object = audience.predicate
    if predicate is not None and not callable(predicate):
        yield Problem(f"{place}, predicate", "cannot be called", "a function of the visitor")
    if inspect.iscoroutinefunction(predicate):
        wrong = "is async, and a coroutine that nobody awaits is true for everybody"
        yield Problem(f"{place}, predicate", wrong, "look things up in identify")


def _rescue_problems(rescue: Rescue, place: str) -> Iterator[Problem]:
    yield from _method_problems(rescue.methods, f"{place} methods")
    yield from _weight_problems([rescue.budget], f"{place} budget")


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
            yield Problem(place, str(error), 'a share such as "5%"')


def weight_problem(weight: object, place: str) -> list[Problem]:
    """The mistake in one weight, if there is one."""
    return list(_weight_problems([weight], place))


def key_problems(keys: object, place: str = "secret_keys") -> list[Problem]:
    """Mistakes in the signing keys; never shows any part of a key."""
    hint = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
        return [Problem(place, "must be a list, oldest key first", "[old, new]")]
    if not keys:
        return [Problem(place, "is missing", hint)]
    return [
        problem
        for index, key in enumerate(keys)
        for problem in secret_problems(key, f"{place}[{index}]", hint)
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


def secure_problems(secure: object) -> list[Problem]:
    """The mistake in the cookie's ``secure``; a text such as ``"false"`` would be true."""
    if isinstance(secure, bool) or secure == "auto":
        return []
    return [Problem("secure", f"{secure!r} is neither of the three", 'True, False or "auto"')]


def seconds_problems(value: object, place: str, hint: str) -> list[Problem]:
    """The mistake in a duration, which is a finite number above 0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return []
    return [Problem(place, f"{value!r} is not a number of seconds", hint)]


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
