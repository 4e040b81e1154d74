"""One verb with its arguments, and the refusal that answers it."""

from __future__ import annotations

from dataclasses import dataclass

from canary_middleware.core.drill import Drill
from canary_middleware.core.refusals import NAME, WEIGHT
from canary_middleware.core.state import Plan, Verb
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import VerbRefusedError


@dataclass(frozen=True, slots=True)
class Command:
    """One verb with its arguments.

    Attributes:
        verb: what to do.
        rollout: to which rollout; for ``revive`` a kill's scope.
        why: the reason given, kept in the entry.
        release: canary label; ``None`` means the current one.
        plan: for ``start``.
        weight: for ``weight``, optional for ``start``; units of 0.001 %.
        acknowledge: for ``start`` of a release that was rolled back.
        stable: for ``rebase``, the new label of the stable side.
        early: for ``finish`` before the end of the rollback window.
        step: the step that it was decided at; refused at any other. ``None``: at whichever.
        skip_approval: for ``resume`` at a step above an approval that nobody gave.
        starts: for ``baseline``: requests of stable by bucket of latency.
        cap: for ``baseline``: a guard on a mean, and what a visitor counts for at most.
        drill: for ``drill``.
        stopped: for ``hold`` and ``pause``: what a person must go on past, see ``Entry.stopped``.
        proven: for ``advance`` and ``await`` before 100 %: see ``Entry.proven``.
        note: for ``note``: what ``observe`` mode would have done, without numbers.
    """

    verb: Verb
    rollout: str
    why: str = ""
    release: str | None = None
    plan: Plan | None = None
    weight: int | None = None
    acknowledge: bool = False
    stable: str | None = None
    early: bool = False
    step: int | None = None
    skip_approval: bool = False
    starts: tuple[int, ...] | None = None
    cap: tuple[str, float] | None = None
    drill: Drill | None = None
    stopped: str = ""
    proven: str = ""
    note: str = ""


def refused(command: Command, message: str, hint: str) -> VerbRefusedError:
    """The error of a command that does not fit, in the words of who gave it."""
    release = f" --release {command.release}" if command.release else ""
    if command.weight is not None:
        hint = hint.replace(WEIGHT, format_weight(command.weight))
    return VerbRefusedError(
        f"{command.rollout}: {message}",
        rollout=command.rollout,
        hint=hint.replace(NAME, command.rollout + release),
    )
