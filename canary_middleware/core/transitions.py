"""What may follow what: the full phase x verb table, and the two ways in which a document changes.

Two rules. A phase changes only through :data:`TABLE`; what else a verb changes (weight, step,
epoch, period) is in its one effect function. ``kill`` is not in the table: it is never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from canary_middleware.core.state import (
    ACTIVE,
    EVERYTHING,
    Document,
    Entry,
    Kill,
    Phase,
    Plan,
    RolloutState,
    Verb,
)
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.errors import VerbRefusedError

KEPT_RELEASES: Final = 8
"""Entries remembered per rollout; the oldest closed ones go first."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a verb does not fit a phase, and what to do instead."""

    message: str
    hint: str


_LEAVE: Final = {
    Verb.WEIGHT: Phase.PAUSED,
    Verb.PROMOTE: Phase.PROMOTED,
    Verb.ROLLBACK: Phase.ROLLED_BACK,
    Verb.REVIVE: Phase.PAUSED,
}
_MOVES: Final[Mapping[Phase, Mapping[Verb, Phase]]] = {
    Phase.IDLE: {Verb.START: Phase.RAMPING, Verb.REVIVE: Phase.IDLE},
    Phase.RAMPING: {
        **_LEAVE,
        Verb.PAUSE: Phase.PAUSED,
        Verb.HOLD: Phase.HOLDING,
        Verb.ADVANCE: Phase.RAMPING,
        Verb.AWAIT: Phase.AWAITING_APPROVAL,
    },
    Phase.PAUSED: {**_LEAVE, Verb.RESUME: Phase.RAMPING},
    Phase.HOLDING: {**_LEAVE, Verb.PAUSE: Phase.PAUSED, Verb.RESUME: Phase.RAMPING},
    Phase.AWAITING_APPROVAL: {
        **_LEAVE,
        Verb.PAUSE: Phase.PAUSED,
        Verb.APPROVE: Phase.RAMPING,
    },
    Phase.PROMOTED: {
        Verb.FINISH: Phase.FINISHED,
        Verb.ROLLBACK: Phase.ROLLED_BACK,
        Verb.REVIVE: Phase.PROMOTED,
    },
    Phase.FINISHED: {Verb.REVIVE: Phase.FINISHED},
    Phase.ROLLED_BACK: {Verb.START: Phase.RAMPING, Verb.REVIVE: Phase.ROLLED_BACK},
}
_HINTS: Final[Mapping[Phase, str]] = {
    Phase.IDLE: "begin it with `canary start`",
    Phase.RAMPING: "it moves by itself; `canary pause` stops it",
    Phase.PAUSED: "go on with `canary resume` or move it with `canary weight`",
    Phase.HOLDING: "go on with `canary resume`, or `canary pause` first",
    Phase.AWAITING_APPROVAL: "approve it, or `canary pause` first",
    Phase.PROMOTED: "`canary finish` closes it, `canary rollback` takes it back",
    Phase.FINISHED: "ship the next change under a new canary label",
    Phase.ROLLED_BACK: "start it again knowingly with `canary start --again`",
}


def _cell(phase: Phase, verb: Verb) -> Phase | Refusal:
    to = _MOVES[phase].get(verb)
    words = phase.value.replace("_", " ")
    return to or Refusal(f"`{verb.value}` does not fit: it is {words}", _HINTS[phase])


TABLE: Final[Mapping[tuple[Phase, Verb], Phase | Refusal]] = {
    (phase, verb): _cell(phase, verb) for phase in Phase for verb in Verb
}


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
    """

    verb: Verb
    rollout: str
    why: str = ""
    release: str | None = None
    plan: Plan | None = None
    weight: int | None = None
    acknowledge: bool = False


def apply(document: Document, command: Command, now: float) -> Document:
    """The document after a verb.

    Args:
        document: as it was loaded.
        command: see :class:`Command`.
        now: wall-clock seconds since the epoch.

    Raises:
        VerbRefusedError: the verb does not fit; the message says why, the hint what to do.
    """
    if command.verb is Verb.REVIVE:
        return _revive(document, command, now)
    if command.verb is not Verb.ROLLBACK and document.killed(command.rollout):
        raise _refused(command, "it is killed", f"`{_revival(document, command)}` first")
    revision = document.revision + 1
    state = document.rollouts.get(command.rollout, RolloutState())
    if command.verb is Verb.START:
        entry = _start(state, command, revision, now)
        state = RolloutState(entry.release, _prune({**state.entries, entry.release: entry}, entry))
    else:
        entry = _moved(_addressed(state, command), command, revision, now)
        state = replace(state, entries={**state.entries, entry.release: entry})
    return replace(
        document, revision=revision, rollouts={**document.rollouts, command.rollout: state}
    )


def strike(document: Document, scope: str, *, by: str, why: str, now: float) -> Document:
    """The document after a kill; a second kill outlives a revive that names only the first."""
    revision = document.revision + 1
    kills = {**document.kills, scope: Kill(by, why, now, revision)}
    return replace(document, revision=revision, kills=kills)


def _refused(command: Command, message: str, hint: str) -> VerbRefusedError:
    return VerbRefusedError(f"{command.rollout}: {message}", rollout=command.rollout, hint=hint)


def _revival(document: Document, command: Command) -> str:
    return "canary revive" + ("" if EVERYTHING in document.kills else f" {command.rollout}")


def _next(phase: Phase, command: Command) -> Phase:
    cell = TABLE[phase, command.verb]
    if isinstance(cell, Refusal):
        raise _refused(command, cell.message, cell.hint)
    return cell


def _addressed(state: RolloutState, command: Command) -> Entry:
    entry = state.entries.get(command.release or state.current or "")
    if entry is None:
        named = (
            f"release {command.release!r} was never started" if command.release else "it is idle"
        )
        raise _refused(command, named, f"begin it with `canary start {command.rollout}`")
    return entry


def _start(state: RolloutState, command: Command, revision: int, now: float) -> Entry:
    plan = command.plan
    if plan is None:
        raise _refused(
            command, "no process declares it", "name the release or start an application"
        )
    for other in state.entries.values():
        if other.phase in ACTIVE and other.release != plan.canary:
            first = f"release {other.release} is {other.phase.value.replace('_', ' ')}"
            raise _refused(command, first, "roll it back, promote or finish it first")
    before = state.entries.get(plan.canary)
    phase = _next(before.phase if before else Phase.IDLE, command)
    if before and before.phase is Phase.ROLLED_BACK and not command.acknowledge:
        raise _refused(command, f"{plan.canary} was rolled back", _HINTS[Phase.ROLLED_BACK])
    entry = Entry(
        release=plan.canary, stable=plan.stable, phase=phase, weight=0, step=-1,
        epoch=revision, period=revision, since=now, why=command.why, plan=plan,
    )  # fmt: skip
    if command.weight is None and plan.steps:
        return replace(entry, weight=plan.steps[0], step=0)
    # Starting by hand is starting and then moving the weight, by the same table.
    by_hand = replace(command, verb=Verb.WEIGHT, weight=command.weight or 0)
    return _moved(entry, by_hand, revision, now)


def _moved(entry: Entry, command: Command, revision: int, now: float) -> Entry:
    phase = _next(entry.phase, command)
    moved = _EFFECTS.get(command.verb, _keep)(entry, command)
    by_hand = command.verb in (Verb.WEIGHT, Verb.ROLLBACK)
    period = revision if by_hand or moved.weight != entry.weight else entry.period
    epoch = revision if command.verb is Verb.ROLLBACK else entry.epoch
    return replace(moved, phase=phase, period=period, epoch=epoch, since=now, why=command.why)


def _keep(entry: Entry, command: Command) -> Entry:
    return entry


def _weight(entry: Entry, command: Command) -> Entry:
    if command.weight is None or not 0 <= command.weight <= FULL:
        raise _refused(command, "no weight between 0% and 100% was given", 'write it as "5%"')
    return replace(entry, weight=command.weight, step=-1)


def _resume(entry: Entry, command: Command) -> Entry:
    if not entry.plan.steps:
        hint = f"move it with `canary weight {command.rollout}`"
        raise _refused(command, "it has no ramp to resume", hint)
    for step, weight in enumerate(entry.plan.steps):
        if weight >= entry.weight:
            return replace(entry, weight=weight, step=step)
    over = f"its weight {format_weight(entry.weight)} is above the last step"
    raise _refused(command, over, "promote it, or lower the weight first")


def _advance(entry: Entry, command: Command) -> Entry:
    step = entry.step + 1
    if step >= len(entry.plan.steps):
        raise _refused(command, "it is at its last step", f"`canary promote {command.rollout}`")
    return replace(entry, weight=entry.plan.steps[step], step=step)


def _promote(entry: Entry, command: Command) -> Entry:
    return replace(entry, weight=FULL, step=-1)


def _rollback(entry: Entry, command: Command) -> Entry:
    return replace(entry, weight=0, step=-1)


_EFFECTS: Final[Mapping[Verb, Callable[[Entry, Command], Entry]]] = {
    Verb.WEIGHT: _weight,
    Verb.RESUME: _resume,
    Verb.ADVANCE: _advance,
    Verb.PROMOTE: _promote,
    Verb.ROLLBACK: _rollback,
}


def _revive(document: Document, command: Command, now: float) -> Document:
    scope = command.rollout
    kill = document.kills.get(scope)
    if kill is None:
        raise _not_killed(document, command)
    revision = document.revision + 1
    rollouts = {
        name: _revived(state, command, revision, now) if scope in (EVERYTHING, name) else state
        for name, state in document.rollouts.items()
    }
    return replace(
        document,
        revision=revision,
        kills={name: other for name, other in document.kills.items() if name != scope},
        lifted={**document.lifted, scope: max(kill.revision, document.lifted.get(scope, 0))},
        rollouts=rollouts,
    )


def _not_killed(document: Document, command: Command) -> VerbRefusedError:
    if EVERYTHING in document.kills:
        return _refused(command, "the whole namespace is killed", "lift it with `canary revive`")
    others = ", ".join(sorted(document.kills))
    hint = f"killed are: {others}" if others else "nothing is killed"
    return _refused(command, "it is not killed", hint)


def _revived(state: RolloutState, command: Command, revision: int, now: float) -> RolloutState:
    entries = {
        release: replace(
            entry, phase=_next(entry.phase, command), epoch=revision, period=revision, since=now
        )
        for release, entry in state.entries.items()
    }
    return replace(state, entries=entries)


def _prune(entries: Mapping[str, Entry], newest: Entry) -> Mapping[str, Entry]:
    closed = [e for e in entries.values() if e.phase not in ACTIVE and e is not newest]
    # Promoted releases go last: forgetting one would move its old pods back to stable.
    closed.sort(key=lambda entry: (entry.phase is Phase.PROMOTED, entry.epoch))
    gone = {entry.release for entry in closed[: max(0, len(entries) - KEPT_RELEASES)]}
    return {release: entry for release, entry in entries.items() if release not in gone}
