"""Where processes declare something else than what is in force.

Processes of several releases live side by side during a deploy, and each obeys the entry of its own
release. So nothing of this is an error, but whoever looks has to see it. What is in scope is no
difference: each process goes by its own, as services with other paths have to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from canary_middleware.core.duration import format_duration
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import ACTIVE, Document, Plan
from canary_middleware.core.weight import format_weight

RELEASE: Final = "release"
SCOPE: Final = ("paths", "methods", "exclude")
"""Fields of a plan that every process has for itself."""


class Difference(NamedTuple):
    """One thing that a process declares and that is something else in the control state.

    Attributes:
        what: ``release``, or a field of the plan.
        declared: by the process.
        in_force: since ``start``.
    """

    what: str
    declared: str
    in_force: str

    def __str__(self) -> str:
        return f"{self.what} {self.declared} (in force: {self.in_force})"


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
        found += _fields(plan.plain(), entry.plan.plain())
    return tuple(found)


def _fields(declared: Mapping[str, Any], frozen: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in declared.items():
        if value != frozen[name] and name not in SCOPE:
            yield Difference(name, _text(name, value), _text(name, frozen[name]))


_UNITS: Final[Mapping[str, Callable[[Any], str]]] = {
    "steps": format_weight,
    "session": format_duration,
    "claim_life": format_duration,
    "rollback_window": format_duration,
}


def _text(name: str, value: Any) -> str:
    """A field of a plan as people write it."""
    written = _UNITS.get(name, str)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(written, value)) or "none"
    return "none" if value is None else written(value)


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
