"""Whether a drill could prove anything: asked before it begins, by every surface."""

from __future__ import annotations

import time

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.effects import BREACH
from canary_middleware.core.gauge import gate_of
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.state import Entry, Verb
from canary_middleware.core.transitions import apply
from canary_middleware.core.weight import FULL
from canary_middleware.errors import VerbRefusedError
from canary_middleware.stores import StateStore


def prospects(
    store: StateStore, rollout: str, release: str | None, drill: Drill
) -> tuple[Entry, tuple[Guard, ...]]:
    """The release and the guards that could see the drill.

    Raises:
        VerbRefusedError: it could prove nothing, or does not fit the phase.
    """
    found = verbs.status(store)
    state = found.document.rollouts.get(rollout) if found.document else None
    if found.document is None or state is None:
        known = ", ".join(sorted(found.known)) or "none"
        begin = f"start it with `canary start {rollout}`"
        hint = begin if rollout in found.known else f"known are: {known}"
        raise _refused(rollout, "it was never started", hint)
    apply(found.document, Command(Verb.DRILL, rollout, release=release, drill=drill), time.time())
    entry = state.entries[release or state.current or ""]
    plan = entry.plan
    if entry.weight == FULL:
        lower = f"go back with `canary weight {rollout} 50%`"
        raise _refused(rollout, "at 100% there is nobody to compare with", lower)
    if (rollout, entry.release) not in found.declared:
        raise _refused(rollout, f"no process serves {entry.release}", "start the application first")
    if entry.stopped == BREACH:
        again = f"`canary resume {rollout}` begins evidence anew"
        raise _refused(rollout, "it is paused because its canary was worse", again)
    if plan.course.observe:
        raise _refused(rollout, "its ramp only observes", "nothing would be rolled back")
    watching = drill.seen_by(plan.guards, gate_of(entry))
    if not watching:
        raise _refused(rollout, *_unseen(drill, plan.guards))
    if entry.baseline is None:  # nobody bets on latency before it is known
        watching = tuple(one for one in watching if one.metric is not Metric.LATENCY)
    if not watching:
        wait = "it is measured in the first minutes of a run"
        raise _refused(rollout, "nobody knows yet how long stable takes", wait)
    return entry, watching


def _refused(rollout: str, message: str, hint: str) -> VerbRefusedError:
    return VerbRefusedError(f"{rollout}: {message}", rollout=rollout, hint=hint)


def _unseen(drill: Drill, guards: tuple[Guard, ...]) -> tuple[str, str]:
    """Why no guard would roll back for it, and what can be done."""
    declared = ", ".join(one.name for one in guards if one.breaches) or "none"
    if drill.fault is not Fault.EVENTS:
        return f"no guard would roll back for {drill.fault}", f"those that roll back: {declared}"
    looking = [one for one in guards if one.of == drill.of]
    names = ", ".join(sorted({one.of for one in guards if one.of})) or "none"
    if not looking:
        return f"no guard looks at {drill.of}", f"observed are: {names}"
    if not any(one.breaches for one in looking):
        return f"{looking[0].name} only warns", f"those that roll back: {declared}"
    return f"more of {drill.of} is better, so that no guard minds it", "drill another metric"
