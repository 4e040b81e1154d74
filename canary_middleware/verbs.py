"""What people and machines do to a rollout: plain functions over a store, used by every surface.

Each verb loads the state, applies itself through the transition table and writes the result with
its audit entry by compare-and-swap; when somebody else was faster it looks again.
"""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from canary_middleware.core.adoption import with_kill_key
from canary_middleware.core.codec import printable
from canary_middleware.core.declared import declared_plan, declared_stable, waiting
from canary_middleware.core.drift import Odd, labelled, odd, scoped, undoes
from canary_middleware.core.drill import Drill
from canary_middleware.core.gate import GATE
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Phase, Plan, Verb
from canary_middleware.core.status import RolloutStatus, Status
from canary_middleware.core.transitions import TABLE, Command, apply
from canary_middleware.core.validate import NAME
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import StoreUnavailableError, VerbRefusedError
from canary_middleware.stores.advice import warnings_of
from canary_middleware.stores.protocol import Loaded, StateStore

__all__ = [
    "RolloutStatus", "Status", "approve", "drill", "finish", "history", "kill", "move", "pause",
    "promote", "rebase", "resume", "revive", "rollback", "settle", "start", "status", "weight",
    "whoami",
]  # fmt: skip

ATTEMPTS: Final = 10
"""How often a verb looks again after a lost race."""
LOOK_BACK: Final = 1_000
"""Lines of history in which an earlier rebase is sought."""


def whoami() -> str:
    """``user@host``, for ``by``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # Containers often run under a number that has no name.
        user = "unknown"
    return printable(f"{user}@{socket.gethostname()}", 200)


def start(
    store: StateStore,
    rollout: str,
    *,
    by: str,
    why: str = "",
    plan: Plan | None = None,
    release: str | None = None,
    weight: int | None = None,
    again: bool = False,
) -> Document:
    """Make a release current and begin its ramp.

    Args:
        store: where the state lives.
        rollout: its name.
        by: who does it.
        why: the reason, kept in history.
        plan: the declaration to freeze; ``None`` takes it from the processes that declare it.
        release: which canary label, where processes declare several.
        weight: start paused at this weight (0.001 %) instead of ramping.
        again: start a release that was rolled back.

    Raises:
        VerbRefusedError: no process declares it, several labels are declared, it does not fit, or
            it is no name.
    """
    name = _named(rollout)
    plan = plan or declared_plan(store.processes(), name, release)
    command = Command(Verb.START, name, why, plan=plan, weight=weight, acknowledge=again)
    return _do(store, by, command)


def weight(
    store: StateStore,
    rollout: str,
    weight: int,
    *,
    by: str,
    why: str = "",
    release: str | None = None,
) -> Document:
    """Set the weight (0.001 %) by hand; the ramp pauses."""
    command = Command(Verb.WEIGHT, rollout, why, release=release, weight=weight)
    return _do(store, by, command)


def pause(
    store: StateStore, rollout: str, *, by: str, why: str = "", release: str | None = None
) -> Document:
    """Stop the ramp at its present weight."""
    return _do(store, by, Command(Verb.PAUSE, rollout, why, release=release))


def resume(
    store: StateStore,
    rollout: str,
    *,
    by: str,
    why: str = "",
    release: str | None = None,
    skip_approval: bool = False,
) -> Document:
    """Go on with the first step at or above the present weight.

    Where that would skip an approval it is refused unless ``skip_approval``.
    """
    command = Command(Verb.RESUME, rollout, why, release=release, skip_approval=skip_approval)
    return _do(store, by, command)


def approve(
    store: StateStore, rollout: str, *, by: str, why: str = "", release: str | None = None
) -> Document:
    """Enter the step that waits for a person."""
    return _do(store, by, Command(Verb.APPROVE, rollout, why, release=release))


def drill(
    store: StateStore,
    rollout: str,
    drill: Drill,
    *,
    by: str,
    why: str = "",
    release: str | None = None,
) -> Document:
    """Inject faults into the canary, for a while that every process ends by itself."""
    # It stands in the state, which nobody could read any more with a name of several lines in it.
    drill = replace(drill, by=printable(drill.by, 200))
    return _do(store, by, Command(Verb.DRILL, rollout, why, release=release, drill=drill))


def settle(
    store: StateStore, rollout: str, *, by: str, why: str = "", release: str | None = None
) -> Document:
    """End a drill; the ramp is paused and evidence starts from zero."""
    return _do(store, by, Command(Verb.SETTLE, rollout, why, release=release))


def promote(
    store: StateStore, rollout: str, *, by: str, why: str = "", release: str | None = None
) -> Document:
    """Everybody gets the canary; it fails static from now on."""
    return _do(store, by, Command(Verb.PROMOTE, rollout, why, release=release))


def rollback(
    store: StateStore, rollout: str, *, by: str, why: str = "", release: str | None = None
) -> Document:
    """Everybody gets stable, and the release must be acknowledged before it starts again."""
    return _do(store, by, Command(Verb.ROLLBACK, rollout, why, release=release))


def rebase(
    store: StateStore,
    rollout: str,
    *,
    by: str,
    why: str = "",
    release: str | None = None,
    stable: str | None = None,
) -> Document:
    """Take over a new label of the stable side, such as that of a hot-fix, in a running release.

    A new period begins; phase, weight and everybody's place stay.

    Args:
        store: where the state lives.
        rollout: its name.
        by: who does it.
        why: the reason, kept in history.
        release: which canary label; the current one by default.
        stable: the new label, where the processes of the release declare several.

    Raises:
        VerbRefusedError: no process declares it, several labels are declared, or it does not fit.
    """
    loaded = _load(store).document
    state = loaded.rollouts.get(rollout) if loaded else None
    entry = state.entries.get(release or state.current or "") if state else None
    if entry is not None and TABLE[entry.phase, Verb.REBASE] is entry.phase:
        stable = declared_stable(store.processes(), rollout, entry, stable)
    return _do(store, by, Command(Verb.REBASE, rollout, why, release=release, stable=stable))


def finish(
    store: StateStore,
    rollout: str,
    *,
    by: str,
    why: str = "",
    release: str | None = None,
    early: bool = False,
) -> Document:
    """Close a promoted release; its stable side can leave the code now.

    Before the end of the rollback window it is refused unless ``early``.
    """
    return _do(store, by, Command(Verb.FINISH, rollout, why, release=release, early=early))


def revive(store: StateStore, scope: str = EVERYTHING, *, by: str, why: str = "") -> Document:
    """Lift a kill; ramps are paused at their old weight. Of everything it clears the kill key."""
    return _do(store, by, Command(Verb.REVIVE, scope, why))


def kill(store: StateStore, scope: str = EVERYTHING, *, by: str, why: str = "") -> Document:
    """Send everybody to stable, unconditionally.

    Raises:
        VerbRefusedError: the scope cannot be the name of any rollout.
        NotPersistedError: every listening process was told, but the store refused to keep it.
    """
    scope = scope if scope == EVERYTHING else _named(scope)
    return store.kill(scope, by=printable(by, 200), why=printable(why), now=time.time())


def move(
    store: StateStore,
    loaded: Document,
    command: Command,
    *,
    by: str,
    evidence: Mapping[str, Any],
    now: float,
) -> Document | None:
    """One attempt at what was decided on a document that was loaded.

    Args:
        store: where the state lives.
        loaded: the document that the decision was made on.
        command: what was decided.
        by: who decided it.
        evidence: what was known, kept in history.
        now: wall-clock seconds since the epoch.

    Returns:
        The document that everybody follows now; ``None`` when the state is no longer what it was:
        somebody else was faster, and it has to be looked at anew.
    """
    command = replace(command, why=printable(command.why), note=printable(command.note))
    try:
        after = apply(loaded, command, now)
    except VerbRefusedError:
        return None
    audit = _audit(loaded, after, command, by=by, now=now, evidence=evidence)
    return after if store.swap(loaded.key, after, audit) else None


def history(store: StateStore, rollout: str | None = None, limit: int = 20) -> list[Audit]:
    """The latest changes, newest first."""
    return store.history(rollout, limit)


def status(store: StateStore) -> Status:
    """Look at the store.

    Raises:
        StoreCorruptError: what is there is no control state.
    """
    loaded = _load(store)
    document = _with_kill_key(loaded, time.time())
    reports = sorted(store.processes(), key=lambda report: (report.host, report.pid))
    return Status(
        document=loaded.document,
        kill_key=_reason(loaded),
        kills=document.kills if document else {},
        rollouts=_rollouts(document) if document else (),
        processes=tuple(reports),
        waiting=tuple(waiting(document, reports)),
        odd=tuple(_odd(store, document, reports)),
        warnings=warnings_of(store),
        scopes=tuple(scoped(reports)),
    )


# --- private ------------------------------------------------------------------------------------


def _load(store: StateStore) -> Loaded:
    loaded = store.load()
    if loaded.corrupt is not None:
        raise loaded.corrupt
    return loaded


def _reason(loaded: Loaded) -> str | None:
    return None if loaded.kill_key is None else printable(loaded.kill_key)


def _with_kill_key(loaded: Loaded, now: float) -> Document | None:
    # Perhaps no process runs that turns the key into a record; it must count all the same.
    lineage = secrets.token_hex(8)
    return with_kill_key(loaded.document, _reason(loaded), lineage=lineage, now=now)


def _odd(
    store: StateStore, document: Document | None, reports: Sequence[ProcessReport]
) -> Iterator[Odd]:
    for found in odd(document, reports):
        # Only who would be told to rebase has to know what earlier ones did.
        lines = store.history(found.rollout, LOOK_BACK) if found.command else []
        rebased = {line.old for line in lines if line.action == Verb.REBASE.value}
        yield undoes(found, reports, rebased)


def _named(rollout: str) -> str:
    # Nobody could declare it, and what nobody could read would spoil the state for all.
    if NAME.fullmatch(rollout):
        return rollout
    shown = printable(rollout, 80)
    raise VerbRefusedError(
        f"{shown!r} is not a name of a rollout", hint="letters, digits, - and _, at most 64"
    )


def _do(store: StateStore, by: str, command: Command) -> Document:
    command = replace(command, why=printable(command.why))
    for _ in range(ATTEMPTS):
        loaded = _load(store)
        now = time.time()
        before = _with_kill_key(loaded, now) or Document(secrets.token_hex(8))
        after = apply(before, command, now)
        audit = _audit(before, after, command, by=by, now=now)
        lifts_all = command.verb is Verb.REVIVE and command.rollout == EVERYTHING
        clears = loaded.kill_key if lifts_all else None
        expected = loaded.document.key if loaded.document else None
        if store.swap(expected, after, audit, clears=clears):
            return after
    raise StoreUnavailableError(f"lost {ATTEMPTS} races against other changes; try again")


def _audit(
    before: Document,
    after: Document,
    command: Command,
    *,
    by: str,
    now: float,
    evidence: Mapping[str, Any] | None = None,
) -> Audit:
    return Audit(
        at=now,
        by=printable(by, 200),
        action=command.verb.value,
        scope=command.rollout,
        old=_describe(before, command) + _gated(before, command),
        new=_describe(after, command),
        why=command.why,
        revision=after.revision,
        evidence=evidence or {},
    )


def _describe(document: Document, command: Command) -> str:
    if command.verb is Verb.REVIVE:
        return "killed" if command.rollout in document.kills else "revived"
    state = document.rollouts.get(command.rollout)
    release = command.release or (command.plan.canary if command.plan else None)
    entry = state.entries.get(release or state.current or "") if state else None
    if entry is None:
        return Phase.IDLE.value
    if command.verb is Verb.REBASE:
        return labelled(entry.release, entry.stable)
    return f"{entry.release} {entry.phase.value} {format_weight(entry.weight)}"


def _gated(document: Document, command: Command) -> str:
    """That a release is held by its webhook gate, so that history tells who went past it."""
    state = document.rollouts.get(command.rollout)
    entry = state.entries.get(command.release or state.current or "") if state else None
    return ", held by its gate" if entry is not None and entry.stopped == GATE else ""


def _rollouts(document: Document) -> tuple[RolloutStatus, ...]:
    return tuple(
        RolloutStatus(
            name=name,
            current=state.entries.get(state.current or ""),
            entries=tuple(state.entries.values()),
            killed=document.killed(name),
        )
        for name, state in sorted(document.rollouts.items())
    )
