"""Every configuration mistake at once, each with its place and what to write instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import Final

from canary_middleware.core.model import Rollout
from canary_middleware.core.scope import Scope
from canary_middleware.core.token import MIN_KEY
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import Problem

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LABEL: Final = re.compile(r"[\x21-\x7e]{1,64}")


def rollout_problems(rollouts: Sequence[Rollout]) -> list[Problem]:
    """Mistakes in the declared rollouts."""
    if not rollouts:
        return [Problem("rollouts", "there is none", 'Canary(Rollout("checkout", ...), ...)')]
    counts = Counter(rollout.name for rollout in rollouts)
    found = [
        Problem(f"rollout {name!r}", "is declared twice", "give each rollout its own name")
        for name, count in counts.items()
        if count > 1
    ]
    for rollout in rollouts:
        found += _problems_of(rollout)
    return found


def _problems_of(rollout: Rollout) -> Iterator[Problem]:
    place = f"rollout {rollout.name!r}"
    if not NAME.fullmatch(str(rollout.name)):
        yield Problem(place, "is not a name", "letters, digits, - and _, at most 64")
    for side in ("stable", "canary"):
        label = getattr(rollout, side)
        if not (isinstance(label, str) and LABEL.fullmatch(label)):
            yield Problem(f"{place}, {side}", f"{label!r} is not a label", 'such as "1.5.0"')
    if rollout.stable == rollout.canary:
        yield Problem(
            f"{place}, canary",
            f"is the same as stable ({rollout.stable!r})",
            "a new version needs a new label",
        )
    yield from _scope_problems(rollout, place)
    yield from _ramp_problems(rollout.ramp.steps, place)
    yield from _weight_problems([rollout.rescue.budget], f"{place}, rescue budget")


def _scope_problems(rollout: Rollout, place: str) -> Iterator[Problem]:
    for field in ("paths", "exclude", "methods"):
        value = getattr(rollout, field)
        if isinstance(value, str):
            yield Problem(f"{place}, {field}", f"is a string ({value!r})", f"write [{value!r}]")
            return
        for item, count in Counter(value).items():
            if count > 1:
                yield Problem(f"{place}, {field}", f"{item!r} stands there twice", "drop one")
    for path in (*rollout.paths, *rollout.exclude):
        if not str(path).startswith("/"):
            yield Problem(f"{place}, paths", f"{path!r} is not a path", f"write {'/' + str(path)!r}")
    if not rollout.paths:
        yield Problem(f"{place}, paths", "is empty", 'paths=["/"] covers everything')
    for method in (*rollout.methods, *rollout.rescue.methods):
        if method != str(method).upper():
            yield Problem(f"{place}, methods", f"{method!r} is not upper case", f"{method.upper()!r}")


def _ramp_problems(steps: Sequence[object], place: str) -> Iterator[Problem]:
    wrong = list(_weight_problems(steps, f"{place}, ramp"))
    yield from wrong
    if not wrong:
        for before, after in pairwise(steps):
            if parse_weight(after) <= parse_weight(before):
                yield Problem(f"{place}, ramp", f"{after!r} after {before!r}", "steps must rise")


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
    return secret.encode() if isinstance(secret, str) else secret


def namespace_problems(namespace: str | None, *, shared: bool) -> list[Problem]:
    """Mistakes in the namespace; a shared store needs one, so that two sites cannot meet in it."""
    if namespace is None:
        missing = Problem("namespace", "is missing, and the store is shared", 'namespace="shop"')
        return [missing] if shared else []
    if not NAME.fullmatch(str(namespace)):
        return [Problem("namespace", f"{namespace!r}", "letters, digits, - and _, at most 64")]
    return []


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
