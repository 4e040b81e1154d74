"""How far a measured rollout is, for ``status``, and why something was done, for ``history``."""

from __future__ import annotations

from collections.abc import Iterator

from canary_middleware.core.effects import step_above
from canary_middleware.core.evidence import Told, read
from canary_middleware.core.records import Audit
from canary_middleware.core.state import ACTIVE, Entry, Phase
from canary_middleware.core.telling import lasting
from canary_middleware.core.verdict import Finding
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import StoreCorruptError
from canary_middleware.overview.scene import View, bake, drilling
from canary_middleware.overview.wording import ago, percent, standing, told_of, totals


def progress(view: View, now: float) -> Iterator[str]:
    """The lines of one rollout; none for a release that nothing measures or that has ended."""
    entry, told = view.entry, view.told(now)
    if entry is None or not (told or view.trouble or entry.plan.course.automatic):
        return
    if entry.phase not in ACTIVE:
        if view.last and view.last.evidence:
            yield f"{view.name} {entry.release}: {told_of(view.last)}"
        return
    yield f"{view.name} {entry.release}: {_ramp(view, entry, now)}"
    if entry.noted:
        yield f"  observe mode, nothing was done: {entry.noted}"
    if view.trouble:
        yield f"  its totals cannot be read: {view.trouble}"
    if told and view.numbers:
        if entry.phase is not Phase.RAMPING and entry.why:
            # Its numbers are those of then; the next line has those of now.
            yield f"  {_phase(entry)}, {ago(now - entry.since)} ago: {entry.why}"
        yield f"  {standing(told, entry)}"
        yield f"  {totals(view.numbers.processes, view.numbers.age)}"


def _ramp(view: View, entry: Entry, now: float) -> str:
    if view.killed:
        return f"killed, off its ramp; it was at {format_weight(entry.weight)}"
    drill = drilling(entry, now)
    left = lasting(drill.begun + drill.seconds - now) if drill else ""
    drilled = f"; DRILL: {drill.fault} for another {left}" if drill else ""
    at = bake(entry, now)
    if at is None:
        return f"{by_hand(view.name, entry)}{drilled}"
    then = f", {at.onward}" if at.onward else ""
    if not at.needed:
        return f"step {at.step} of {at.steps}, moved by hand{then}{drilled}"
    baked = f"{lasting(at.left)} of {lasting(at.needed)} left" if at.left else "baked"
    return f"step {at.step} of {at.steps}, {baked}{then}{drilled}"


def by_hand(name: str, entry: Entry) -> str:
    """Where no ramp runs: paused, or at a weight that a person has set."""
    where, step = f"at {format_weight(entry.weight)}", step_above(entry)
    if entry.phase is Phase.PAUSED:
        where = f"paused {where}"
    if step is None:
        return f"{where}, on no step of a ramp"
    target = format_weight(entry.plan.steps[step])
    return f"{where}, off its ramp: `canary resume {name}` goes on at {target}"


def _phase(entry: Entry) -> str:
    return entry.phase.value.replace("_", " ")


def evidence(line: Audit) -> Iterator[str]:
    """What was known when something was done; nothing for what people do."""
    if not line.evidence:
        return
    try:
        told = read(line.evidence)
    except StoreCorruptError as error:
        yield f"its evidence cannot be told ({error}); --json shows it"
        return
    if not line.why:
        yield told.sentence()
    yield _known(told)
    for found in told.verdict.findings:
        yield _finding(told, found)
    if told.omitted:
        yield f"and {told.omitted} more guards"


def _known(told: Told) -> str:
    canary, stable = told.verdict.visitors
    requests = ""
    if told.requests and told.unit != "requests":
        requests = f", {told.requests[0]:,} and {told.requests[1]:,} requests"
    drill = f", during a drill ({told.drill})" if told.drill else ""
    at = f"{lasting(told.in_step)} at {told.weight}"
    return f"known then: {canary:,} canary and {stable:,} stable {told.unit}{requests}, {at}{drill}"


def _finding(told: Told, found: Finding) -> str:
    words, how = told.compared(found), _strength(found)
    # Words of a declared metric begin with its name.
    named = words if words.startswith(found.guard) else f"{found.guard}: {words}"
    return f"{named}; {how}"


def _strength(found: Finding) -> str:
    if found.breach:
        return "worse"
    if found.proven:
        return "proven"
    back = percent(max(0.0, found.log_e / found.threshold)) if found.threshold > 0 else "0%"
    share = f"{back} of what a rollback needs"
    if found.proof is None or found.needed <= 0:
        return share
    return f"{share}, {percent(max(0.0, found.proof / found.needed))} of what a promotion needs"
