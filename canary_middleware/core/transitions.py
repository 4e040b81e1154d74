"""What may follow what: the full phase x verb table, and the two ways in which a document changes.

Two rules. A phase changes only through :data:`TABLE`; what else a verb changes (weight, step,
epoch, period) is in its one function in :mod:`canary_middleware.core.effects`. ``kill`` is not in
the table: it is never refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from canary_middleware.core.command import Command, refused
from canary_middleware.core.duration import format_duration
from canary_middleware.core.effects import At, moved, step_above, timed
from canary_middleware.core.refusals import (
    EARLY,
    END,
    HINTS,
    NAME,
    WITHOUT_RAMP,
    Refusal,
    refusal,
    unfit,
    words,
)
from canary_middleware.core.state import (
    ACTIVE,
    EVERYTHING,
    Document,
    Entry,
    Kill,
    Phase,
    RolloutState,
    Verb,
)
from canary_middleware.errors import VerbRefusedError

__all__ = ["KEPT_RELEASES", "TABLE", "Command", "apply", "strike"]

KEPT_RELEASES: Final = 8
"""Entries remembered per rollout; the oldest closed ones go first."""


def _active(phase: Phase, moves: Mapping[Verb, Phase]) -> Mapping[Verb, Phase]:
    """What every phase knows in which the outcome is open, and what only this one does."""
    return {
        Verb.WEIGHT: Phase.PAUSED,
        Verb.PROMOTE: Phase.PROMOTED,
        Verb.ROLLBACK: Phase.ROLLED_BACK,
        Verb.REVIVE: Phase.PAUSED,
        Verb.PRECAUTION: Phase.PAUSED,
        Verb.SETTLE: Phase.PAUSED,
        **dict.fromkeys((Verb.REBASE, Verb.BASELINE, Verb.DRILL, Verb.NOTE), phase),
        **moves,
    }


_ON: Final = {
    Verb.PAUSE: Phase.PAUSED,
    Verb.HOLD: Phase.HOLDING,
    Verb.ADVANCE: Phase.RAMPING,
    Verb.AWAIT: Phase.AWAITING_APPROVAL,
}
_MOVES: Final[Mapping[Phase, Mapping[Verb, Phase]]] = {
    Phase.IDLE: {Verb.START: Phase.RAMPING, Verb.REVIVE: Phase.IDLE},
    Phase.RAMPING: _active(Phase.RAMPING, _ON),
    Phase.PAUSED: _active(Phase.PAUSED, {Verb.RESUME: Phase.RAMPING}),
    Phase.HOLDING: _active(Phase.HOLDING, {**_ON, Verb.RESUME: Phase.RAMPING}),
    Phase.AWAITING_APPROVAL: _active(
        Phase.AWAITING_APPROVAL, {Verb.PAUSE: Phase.PAUSED, Verb.APPROVE: Phase.RAMPING}
    ),
    Phase.PROMOTED: {
        Verb.FINISH: Phase.FINISHED,
        Verb.ROLLBACK: Phase.ROLLED_BACK,
        Verb.REVIVE: Phase.PROMOTED,
    },
    Phase.FINISHED: {Verb.REVIVE: Phase.FINISHED},
    Phase.ROLLED_BACK: {Verb.START: Phase.RAMPING, Verb.REVIVE: Phase.ROLLED_BACK},
}
TABLE: Final[Mapping[tuple[Phase, Verb], Phase | Refusal]] = {
    (phase, verb): _MOVES[phase].get(verb) or refusal(phase, verb)
    for phase in Phase
    for verb in Verb
}


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
    if command.rollout == EVERYTHING:
        raise refused(command, "that is everything, and no rollout", "name one of them")
    if command.verb is not Verb.ROLLBACK and document.killed(command.rollout):
        raise _killed(document, command)
    revision = document.revision + 1
    state = document.rollouts.get(command.rollout, RolloutState())
    if command.verb is Verb.START:
        entry = _start(state, command, revision, now)
        state = RolloutState(entry.release, _prune({**state.entries, entry.release: entry}, entry))
    else:
        entry = _addressed(state, command)
        _check_meant(state, entry, command)
        entry = _moved(entry, command, At(revision, now))
        state = replace(state, entries={**state.entries, entry.release: entry})
    return replace(
        document, revision=revision, rollouts={**document.rollouts, command.rollout: state}
    )


def strike(document: Document, scope: str, *, by: str, why: str, now: float) -> Document:
    """The document after a kill; a second kill outlives a revive that names only the first."""
    revision = document.revision + 1
    kills = {**document.kills, scope: Kill(by, why, now, revision)}
    return replace(document, revision=revision, kills=kills)


def _killed(document: Document, command: Command) -> VerbRefusedError:
    scopes = [scope for scope in (EVERYTHING, command.rollout) if scope in document.kills]
    what = "the whole namespace is killed" if EVERYTHING in scopes else "it is killed"
    first, *then = (f"`{_revival(scope)}`" for scope in scopes)
    return refused(command, what, ", then ".join([f"{first} first", *then]))


def _revival(scope: str) -> str:
    return "canary revive" + ("" if scope == EVERYTHING else f" {scope}")


def _next(entry: Entry, command: Command) -> Phase:
    cell = TABLE[entry.phase, command.verb]
    if isinstance(cell, Phase):
        return cell
    stuck = cell.hint == HINTS[Phase.PAUSED] and step_above(entry) is None
    message = unfit(command.verb, entry.release, entry.phase)
    raise refused(command, message, WITHOUT_RAMP if stuck else cell.hint)


def _addressed(state: RolloutState, command: Command) -> Entry:
    entry = state.entries.get(command.release or state.current or "")
    if entry is not None:
        return entry
    idle = refusal(Phase.IDLE, command.verb)
    if command.release is None:
        raise refused(command, unfit(command.verb, "it", Phase.IDLE), idle.hint)
    known = ", ".join(sorted(state.entries)) or "none"
    never = f"release {command.release} was never started, known are: {known}"
    raise refused(command, never, idle.hint)


def _check_meant(state: RolloutState, entry: Entry, command: Command) -> None:
    """Who closes the promoted release behind the current one must not be led to promote that."""
    promoted = [e.release for e in state.entries.values() if e.phase is Phase.PROMOTED]
    if command.verb is not Verb.FINISH or command.release or entry.phase is Phase.PROMOTED:
        return
    if promoted:
        early = " --early" if command.early else ""
        say = [f"`canary finish {NAME} --release {release}{early}`" for release in promoted]
        message = unfit(command.verb, entry.release, entry.phase)
        raise refused(command, message, f"what is promoted is closed by {' or '.join(say)}")


def _start(state: RolloutState, command: Command, revision: int, now: float) -> Entry:
    plan = command.plan
    if plan is None:
        raise refused(command, "no process declares it", "name the release or start an application")
    for other in state.entries.values():
        if other.phase in ACTIVE and other.release != plan.canary:
            first = f"release {other.release} is {words(other.phase)}"
            raise refused(_naming(command, state, other.release), first, f"first {END}")
    before = state.entries.get(plan.canary)
    if before:
        command = _naming(command, state, plan.canary)
    phase = _next(before, command) if before else _MOVES[Phase.IDLE][Verb.START]
    if before and before.phase is Phase.ROLLED_BACK and not command.acknowledge:
        raise refused(command, f"{plan.canary} was rolled back", HINTS[Phase.ROLLED_BACK])
    entry = Entry(
        release=plan.canary, stable=plan.stable, phase=phase, weight=0, step=-1,
        epoch=revision, period=revision, since=now, why=command.why, plan=plan,
        run=revision, begun=now,
    )  # fmt: skip
    if command.weight is None and plan.steps:
        return timed(replace(entry, weight=plan.steps[0], step=0, reached=0), now)
    # Starting by hand is starting and then moving the weight, by the same table.
    by_hand = replace(command, verb=Verb.WEIGHT, weight=command.weight or 0)
    return _moved(entry, by_hand, At(revision, now))


def _naming(command: Command, state: RolloutState, release: str) -> Command:
    """So that a hint names a release which is not the current one."""
    return replace(command, release=None if release == state.current else release)


def _moved(entry: Entry, command: Command, at: At) -> Entry:
    phase = _next(entry, command)
    if command.verb is Verb.FINISH and not command.early:
        _check_window(entry, command, at.now)
    return moved(entry, command, phase, at)


def _check_window(entry: Entry, command: Command, now: float) -> None:
    left = entry.warm_until - now
    if left > 0:
        window = f"the rollback window of {entry.release} is open for another {_time(left)}"
        raise refused(command, window, EARLY)


def _time(seconds: float) -> str:
    """In whole minutes, or in seconds where there are few."""
    whole = ceil(seconds) if seconds < 120 else 60 * ceil(seconds / 60)
    return format_duration(whole)


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
    others = sorted(document.kills)
    hint = " and ".join(f"`{_revival(scope)}`" for scope in others)
    hint = f"lift that with {hint}" if hint else ""
    everything = command.rollout == EVERYTHING
    if not others:
        message = "nothing is killed"
    elif EVERYTHING in others:
        message = "it is not killed by itself, the whole namespace is"
    else:
        it = "the namespace" if everything else "it"
        message = f"{it} is not killed, only {', '.join(others)}"
    return VerbRefusedError(message, hint=hint) if everything else refused(command, message, hint)


def _revived(state: RolloutState, command: Command, revision: int, now: float) -> RolloutState:
    entries = {
        release: timed(
            replace(entry, phase=_next(entry, command), epoch=revision, period=revision, since=now),
            now,
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
