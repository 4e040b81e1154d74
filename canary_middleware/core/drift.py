"""Where processes declare something else than what is in force.

Processes of several releases live side by side during a deploy, and each obeys the entry of its own
release. So nothing of this is an error, but whoever looks has to see it. What is in scope is no
difference: each process goes by its own, as services with other paths have to.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any, Final, NamedTuple

from canary_middleware.core.duration import format_duration
from canary_middleware.core.guards import Guard, Precaution
from canary_middleware.core.hook_address import host_of
from canary_middleware.core.ramp import Course
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import ACTIVE, Document, Plan
from canary_middleware.core.weight import FULL, format_weight

RELEASE: Final = "release"
SCOPE: Final = ("paths", "methods", "exclude")
"""Fields of a plan that every process has for itself."""
MOST: Final = 6
"""Differences that a line names."""
_LONGEST: Final = 60
"""Characters of one value in it."""


class Difference(NamedTuple):
    """One thing that a process declares and that is something else in the control state.

    Attributes:
        what: ``release``, a field of the plan, or what of its guards, ramp or precaution.
        declared: by the process.
        in_force: since ``start``; ``""`` where there is nothing of the kind.
    """

    what: str
    declared: str
    in_force: str

    def __str__(self) -> str:
        if not self.in_force:
            return f"{self.what}: {self.declared}"
        return f"{self.what} {_cut(self.declared)} (in force: {_cut(self.in_force)})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def listed(found: Sequence[Difference]) -> str:
    """All of them in one line of bounded length."""
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return "; ".join([*map(str, islice(found, MOST)), *more])


@dataclass(frozen=True, slots=True)
class Odd:
    """Processes that declare the same other thing.

    Attributes:
        rollout: its name.
        release: the canary label that they declare.
        differs: what is different.
        processes: which ones.
        command: what puts their stable label in force, where that is what differs.
        replaced: their stable label was in force until a rebase; the new one is served, too.
    """

    rollout: str
    release: str
    differs: tuple[Difference, ...]
    processes: tuple[ProcessReport, ...]
    command: str | None
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class Scoped:
    """Processes of one release that have the same in scope, while others of it have not.

    Attributes:
        rollout: its name.
        release: the canary label that they declare.
        plan: of one of them.
        processes: which ones.
    """

    rollout: str
    release: str
    plan: Plan
    processes: tuple[ProcessReport, ...]

    def __str__(self) -> str:
        fields = ((name, getattr(self.plan, name)) for name in SCOPE)
        return "; ".join(f"{name} {_text(name, value)}" for name, value in fields if value)


def differences(rollout: str, plan: Plan, document: Document | None) -> tuple[Difference, ...]:
    """How a declaration differs; nothing where the rollout was never started."""
    state = document.rollouts.get(rollout) if document else None
    if state is None or state.current is None:
        return ()
    found = []
    if plan.canary != state.current:
        found.append(Difference(RELEASE, plan.canary, state.current))
    entry = state.entries.get(plan.canary)
    if entry is not None and entry.plan.digest != plan.digest:
        found += _fields(plan, entry.plan)
    return tuple(found)


def _fields(declared: Plan, frozen: Plan) -> Iterator[Difference]:
    for one in fields(declared):
        mine, others = getattr(declared, one.name), getattr(frozen, one.name)
        if mine != others and one.name not in SCOPE:
            yield from _PARTS.get(one.name, _whole)(one.name, mine, others)


def _whole(name: str, mine: Any, others: Any, of: str = "") -> Iterator[Difference]:
    declared, in_force = _text(name, mine), _text(name, others)
    # Equal words of other values: so many steps that the list is longer, which is told of them.
    if declared != in_force:
        yield Difference(of + _NAMES.get(name, name), declared, in_force)


def _members(of: str, mine: Any, others: Any) -> Iterator[Difference]:
    for one in fields(mine):
        yield from _whole(one.name, getattr(mine, one.name), getattr(others, one.name), f"{of}: ")


def _guards(what: str, mine: Sequence[Guard], others: Sequence[Guard]) -> Iterator[Difference]:
    declared, frozen = ({guard.name: guard for guard in those} for those in (mine, others))
    if set(declared) == set(frozen):
        yield from _whole("order of guards", list(declared), list(frozen))
    for name in [*declared, *(name for name in frozen if name not in declared)]:
        if name not in frozen:
            yield Difference(f"guard {name}", "added", "")
        elif name not in declared:
            yield Difference(f"guard {name}", "removed", "")
        else:
            yield from _members(f"guard {name}", declared[name], frozen[name])


def _course(what: str, mine: Course, others: Course) -> Iterator[Difference]:
    for one in fields(mine):
        # A step that is held for a shorter time makes the horizon shorter, too.
        follows = one.name == "horizon" and mine.bakes != others.bakes
        if not follows:
            of = "" if one.name in ("alpha", "horizon", "timeout") else "ramp: "
            yield from _whole(one.name, getattr(mine, one.name), getattr(others, one.name), of)


def _precaution(
    what: str, mine: Precaution | None, others: Precaution | None
) -> Iterator[Difference]:
    if mine and others:
        yield from _members(what, mine, others)
    else:
        yield from _whole(what, bool(mine), bool(others))


_PARTS: Final[Mapping[str, Callable[[str, Any, Any], Iterator[Difference]]]] = {
    "guards": _guards,
    "course": _course,
    "precaution": _precaution,
}
_NAMES: Final = {"bakes": "bake", "approvals": "approval before step"}


def _seconds(value: float) -> str:
    return f"{value:g}s"


def _gate(url: str) -> str:
    """Never its path, which may be a secret; but two paths of one host are two gates."""
    if not url:
        return "none"
    return f"{host_of(url)} (address {hashlib.sha256(url.encode()).hexdigest()[:8]})"


def _alike(texts: Sequence[str]) -> Sequence[str]:
    """One for all, where all steps have the same."""
    return texts[:1] if len(set(texts)) == 1 else texts


_UNITS: Final[Mapping[str, Callable[[Any], str]]] = {
    "steps": format_weight,
    **dict.fromkeys(
        ("session", "claim_life", "rollback_window", "bakes", "max_age", "patience", "horizon"),
        format_duration,
    ),
    **dict.fromkeys(("timeout", "p99", "stall", "window"), _seconds),
    "alpha": lambda alpha: format_weight(round(alpha * FULL)),
    "gate": _gate,
}


def _text(name: str, value: Any) -> str:
    """A field of a plan as people write it."""
    if name == "approvals":
        value = [str(at) for at, asked in enumerate(value, 1) if asked]
        return ", ".join(value) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_alike([_text(name, one) for one in value])) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or (value == 0 and name.startswith("max_")):
        return "none"
    if isinstance(value, enum.Enum):
        return str(value.value)
    return _UNITS.get(name, _plain)(value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def odd(document: Document | None, reports: Sequence[ProcessReport]) -> Iterator[Odd]:
    """All that is different, once each."""
    groups: dict[tuple[str, str, tuple[Difference, ...]], list[ProcessReport]] = {}
    plans = {}
    for report in reports:
        for name, plan in sorted(report.plans.items()):
            found = differences(name, plan, document)
            if found:
                plans[name, plan.canary, found] = plan
                groups.setdefault((name, plan.canary, found), []).append(report)
    for (name, release, found), processes in groups.items():
        command = _rebase(name, plans[name, release, found], document)
        yield Odd(name, release, found, tuple(processes), command)


def scoped(reports: Sequence[ProcessReport]) -> Iterator[Scoped]:
    """Who has what in scope, of releases whose processes do not agree."""
    groups: dict[tuple[str, str], dict[object, list[ProcessReport]]] = {}
    for report in reports:
        for name, plan in sorted(report.plans.items()):
            scope = tuple(getattr(plan, field) for field in SCOPE)
            groups.setdefault((name, plan.canary), {}).setdefault(scope, []).append(report)
    for (name, release), scopes in sorted(groups.items()):
        if len(scopes) > 1:
            for processes in scopes.values():
                yield Scoped(name, release, processes[0].plans[name], tuple(processes))


def labelled(release: str, stable: str) -> str:
    """How history tells which stable label a release had before and after a rebase."""
    return f"{release} stable {stable}"


def undoes(found: Odd, reports: Sequence[ProcessReport], rebased: Collection[str]) -> Odd:
    """The same without a command that would undo a rebase while its new label is served.

    Args:
        found: see :class:`Odd`.
        reports: of all living processes.
        rebased: what rebases of the rollout replaced, as :func:`labelled` has it.
    """
    for one in found.differs:
        if one.what == "stable" and labelled(found.release, one.declared) in rebased:
            plans = (report.plans.get(found.rollout) for report in reports)
            if (found.release, one.in_force) in {(p.canary, p.stable) for p in plans if p}:
                return replace(found, command=None, replaced=True)
    return found


def _rebase(rollout: str, plan: Plan, document: Document | None) -> str | None:
    entry = document.entry(rollout, plan.canary) if document else None
    if document is None or entry is None or entry.phase not in ACTIVE:
        return None
    if entry.stable == plan.stable:
        return None
    current = document.rollouts[rollout].current == plan.canary
    release = "" if current else f" --release {plan.canary}"
    return f"canary rebase {rollout} --stable {plan.stable}{release}"
