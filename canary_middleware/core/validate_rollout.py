"""Every mistake in declared rollouts, each with its place and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from canary_middleware.core.codec import MAX_BYTES
from canary_middleware.core.cookie import MAX_PINS
from canary_middleware.core.model import Audience, Memory, Policy, Rescue, Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.scope import Scope
from canary_middleware.core.state import Plan
from canary_middleware.core.validate_guards import measure_problems, ramp_problems
from canary_middleware.core.validate_values import (
    LABEL,
    LINE,
    NAME,
    choice_problems,
    duration_problems,
    flag_problems,
    is_async,
    is_line,
    items,
    list_problems,
    matches,
    method_problems,
    twice,
    weight_problems,
)
from canary_middleware.errors import Problem

MAX_DECLARED: Final = MAX_BYTES // 2
"""Bytes of all declared rollouts together: they go into a report and a document of bounded size."""

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
        for name in twice(rollout.name for rollout in declared)
    ]
    for rollout in declared:
        found += _problems_of(rollout)
        if not identified:
            found += _unknowable(rollout)
    return found or [*_size_problems(declared), *_pin_problems(declared)]


def _pin_problems(rollouts: Iterable[Rollout]) -> list[Problem]:
    kept = [
        rollout.name
        for rollout in rollouts
        if rollout.policy in _PINNING and rollout.affinity == Memory.COOKIE.value
    ]
    if len(kept) <= MAX_PINS:
        return []
    wrong = f"{len(kept)} keep places in the cookie, which has room for {MAX_PINS}"
    return [Problem("rollouts", wrong, f'give some of {", ".join(kept)} affinity="shared"')]


_PINNING: Final = frozenset({Policy.KEEP.value, Policy.SESSION.value})


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


def _problems_of(rollout: Rollout) -> Iterator[Problem]:
    place = f"rollout {rollout.name!r}"
    if not matches(NAME, rollout.name):
        yield Problem(place, "is not a name", "letters, digits, - and _, at most 64")
    for side in ("stable", "canary"):
        label = getattr(rollout, side)
        if not matches(LABEL, label):
            yield Problem(f"{place}, {side}", f"{label!r} is not a label", 'such as "1.5.0"')
    if rollout.stable == rollout.canary:
        yield Problem(
            f"{place}, canary",
            f"is the same as stable ({rollout.stable!r})",
            "a new version needs a new label",
        )
    yield from _path_problems(rollout.paths, f"{place}, paths")
    yield from _path_problems(rollout.exclude, f"{place}, exclude")
    yield from method_problems(rollout.methods, f"{place}, methods")
    if not rollout.paths and rollout.paths is not None:
        yield Problem(f"{place}, paths", "is empty", 'paths=["/"] covers everything')
    if rollout.owner is not None and not is_line(rollout.owner):
        yield Problem(f"{place}, owner", "is not one line of text", LINE)
    yield from choice_problems(rollout.policy, Policy, f"{place}, policy")
    yield from choice_problems(rollout.affinity, Memory, f"{place}, affinity")
    yield from duration_problems(rollout.session, f"{place}, session")
    yield from duration_problems(rollout.claim_life, f"{place}, claim_life")
    yield from duration_problems(rollout.rollback_window, f"{place}, rollback_window", least=0)
    yield from measure_problems(rollout, place)
    yield from _idle_problems(rollout, place)
    for name, (kind, problems) in _PARTS.items():
        part = getattr(rollout, name)
        if isinstance(part, kind):
            yield from problems(part, f"{place}, {name}")
        else:
            wrong = f"is {type(part).__name__}, not {kind.__name__}"
            yield Problem(f"{place}, {name}", wrong, f"write {kind.__name__}(...)")


_DEFAULT: Final = Rollout("any", stable="1", canary="2")


def _idle_problems(rollout: Rollout, place: str) -> Iterator[Problem]:
    """Settings that would do nothing beside the others."""
    policy, affinity = rollout.policy, rollout.affinity
    if (policy, affinity) == (Policy.REQUEST.value, Memory.SHARED.value):
        hint = 'leave affinity out, or use policy="follow"'
        yield Problem(f"{place}, affinity", "has nothing to remember under request", hint)
    if rollout.session != _DEFAULT.session and policy != Policy.SESSION.value:
        hint = 'leave it out, or use policy="session"'
        yield Problem(f"{place}, session", f"has no meaning under {policy}", hint)
    if rollout.claim_life == _DEFAULT.claim_life:
        return
    if affinity != Memory.SHARED.value:
        hint = 'leave it out, or use affinity="shared"'
        yield Problem(f"{place}, claim_life", "has no meaning without shared affinity", hint)
    elif policy == Policy.SESSION.value:
        hint = "leave it out: a session is remembered for as long as session= says"
        yield Problem(f"{place}, claim_life", "has no meaning under session", hint)


_MARK: Final = re.compile(r"[*{<]")
"""What routers and shells mean something by; an address that has it is seldom meant."""


def _path_problems(paths: object, place: str) -> Iterator[Problem]:
    yield from list_problems(paths, place)
    for path in items(paths):
        if not (isinstance(path, str) and path.startswith("/")):
            yield Problem(place, f"{path!r} is not a path", f"write {'/' + str(path)!r}")
        elif not is_line(path):
            yield Problem(place, f"{path[:80]!r} cannot be shared", LINE)
        elif mark := _MARK.search(path):
            meant = path[: mark.start()].rpartition("/")[0].rstrip("/") or "/"
            wrong = f"{path[:80]!r} is no pattern: {mark[0]} would have to stand in the address"
            yield Problem(place, wrong, f"write {meant!r}, which covers everything below it")


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


def _rescue_problems(rescue: Rescue, place: str) -> Iterator[Problem]:
    yield from method_problems(rescue.methods, f"{place}, methods")
    yield from _path_problems(rescue.keyed, f"{place}, keyed")
    yield from weight_problems([rescue.budget], f"{place}, budget")
    yield from flag_problems(rescue.enabled, f"{place}, enabled")


_PARTS: Final[Mapping[str, tuple[type, Callable[[Any, str], Iterator[Problem]]]]] = {
    "testers": (Audience, _audience_problems),
    "denied": (Audience, _audience_problems),
    "ramp": (Ramp, ramp_problems),
    "rescue": (Rescue, _rescue_problems),
}


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
