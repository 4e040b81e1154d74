"""What a verb changes beside the phase: weight, step, epoch, period, run; one function per verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from canary_middleware.core.command import Command, refused
from canary_middleware.core.drill import LONGEST
from canary_middleware.core.gate import GATE, waiver
from canary_middleware.core.model import Policy
from canary_middleware.core.refusals import DRILLING, END, GATED, NAME, WITHOUT_RAMP
from canary_middleware.core.state import (
    KEPT_PERIODS,
    Baseline,
    Cap,
    Entry,
    Period,
    Phase,
    Verb,
)
from canary_middleware.core.weight import FULL, format_weight

BREACH: Final = "breach"
"""``Entry.stopped`` of a release that was paused because its canary was worse."""


class At(NamedTuple):
    """When a change is made: the revision that it makes, and wall-clock seconds."""

    revision: int
    now: float


QUIET: Final = frozenset({Verb.BASELINE, Verb.DRILL, Verb.NOTE})
"""Verbs that move nobody: phase, weight and their clock stay, and so does the reason for them."""
_ANEW: Final = frozenset({
    Verb.WEIGHT, Verb.RESUME, Verb.ROLLBACK, Verb.REBASE, Verb.PRECAUTION, Verb.BASELINE,
    Verb.SETTLE,
})  # fmt: skip
"""Verbs that open a period even where the weight stays."""
_VOIDS: Final = frozenset({Verb.ROLLBACK, Verb.PRECAUTION})
"""Verbs that take everybody off the canary, whoever a policy has pinned there."""
_UPWARD: Final = frozenset({Verb.ADVANCE, Verb.APPROVE, Verb.PROMOTE, Verb.RESUME})
"""Verbs that would show more people what a drill injects."""


def moved(entry: Entry, command: Command, phase: Phase, at: At) -> Entry:
    """The entry after a verb that leads to a phase.

    Raises:
        VerbRefusedError: the verb fits the phase, but not where the release stands in it.
    """
    verb = command.verb
    if command.step is not None and command.step != entry.step:
        here = f"it is at step {entry.step}, no longer at {command.step}"
        raise refused(command, here, "look at it again with `canary status`")
    if entry.drill is not None and verb in _UPWARD:
        raise refused(command, "a drill is under way", DRILLING)
    after = _EFFECTS.get(verb, _keep)(entry, command, at)
    passes = verb is Verb.RESUME and _held_by_gate(entry)
    if (verb in _ANEW and not passes) or after.weight != entry.weight:
        after = replace(after, period=at.revision)
    if verb in QUIET:
        return timed(after, at.now)
    if after.stopped == GATE != command.stopped:
        after = replace(after, stopped="")
    # Whoever is kept from an earlier run is no throw of this one, and stable alone would count.
    unkept = after.run != entry.run and entry.plan.policy is Policy.KEEP
    epoch = at.revision if verb in _VOIDS or unkept else entry.epoch
    same = (phase, after.period) == (entry.phase, entry.period)
    since = entry.since if same else at.now
    reached = max(after.reached, after.step)
    after = replace(after, phase=phase, epoch=epoch, since=since, why=command.why, reached=reached)
    return timed(after, at.now)


def timed(entry: Entry, now: float) -> Entry:
    """With its present period among those of the run that the judge knows the weight of."""
    if entry.periods and entry.periods[-1].revision == entry.period:
        return entry
    kept = [one for one in entry.periods if one.revision >= entry.run]
    periods = (*kept, Period(entry.period, entry.weight, now))
    return replace(entry, periods=periods[-KEPT_PERIODS:])


def step_above(entry: Entry) -> int | None:
    """The first step at or above the weight."""
    at = [step for step, weight in enumerate(entry.plan.steps) if weight >= entry.weight]
    return at[0] if at else None


def _keep(entry: Entry, command: Command, at: At) -> Entry:
    return entry


def _weight(entry: Entry, command: Command, at: At) -> Entry:
    if command.weight is None or not 0 <= command.weight <= FULL:
        raise refused(command, "no weight between 0% and 100% was given", 'write it as "5%"')
    # Whoever sets a weight goes another way: what was waived at a step was waived on this one.
    waived = tuple(one for one in entry.waived if not one.startswith(GATE))
    return replace(entry, weight=command.weight, step=-1, proven="", waived=waived)


def _resume(entry: Entry, command: Command, at: At) -> Entry:
    if not entry.plan.steps:
        raise refused(command, "it has no ramp to resume", WITHOUT_RAMP)
    step = step_above(entry)
    if step is None:
        last = format_weight(entry.plan.steps[-1])
        over = f"its weight {format_weight(entry.weight)} is above the last step, {last}"
        raise refused(command, over, f"go back to `canary weight {NAME} {last}`, or {END}")
    between = range(entry.reached + 1, step + 1)
    missing = [at for at in between if entry.plan.course.approval(at)]
    if missing and not command.skip_approval:
        first = format_weight(entry.plan.steps[missing[0]])
        raise refused(command, f"nobody has approved {first}, which it would skip", GATED)
    entry = replace(entry, weight=entry.plan.steps[step], step=step, noted="")
    if entry.stopped == BREACH:
        # The old evidence would stop it again at once; who goes on has seen it.
        return _from_zero(entry, at)
    past = waiver(step) if _held_by_gate(entry) else entry.stopped
    waived = sorted({*entry.waived, past} - {"", GATE})
    return replace(entry, stopped="", waived=tuple(waived))


def _held_by_gate(entry: Entry) -> bool:
    return entry.phase is Phase.HOLDING and entry.stopped == GATE


def _from_zero(entry: Entry, at: At) -> Entry:
    return replace(entry, run=at.revision, begun=at.now, stopped="", waived=(), proven="")


def _next(entry: Entry, command: Command) -> int:
    step = entry.step + 1
    if step >= len(entry.plan.steps):
        raise refused(command, "it is at its last step", END)
    return step


def _advance(entry: Entry, command: Command, at: At) -> Entry:
    step = _next(entry, command)
    if entry.plan.course.approval(step):
        gate = format_weight(entry.plan.steps[step])
        raise refused(command, f"nobody has approved {gate}", "a person must, once it awaits that")
    weight = entry.plan.steps[step]
    return replace(entry, weight=weight, step=step, noted="", proven=command.proven)


def _await(entry: Entry, command: Command, at: At) -> Entry:
    _next(entry, command)
    return replace(entry, proven=command.proven)


def _approve(entry: Entry, command: Command, at: At) -> Entry:
    step = _next(entry, command)
    return replace(entry, weight=entry.plan.steps[step], step=step, noted="")


def _stop(entry: Entry, command: Command, at: At) -> Entry:
    return replace(entry, stopped=command.stopped or entry.stopped)


def _promote(entry: Entry, command: Command, at: At) -> Entry:
    return replace(entry, weight=FULL, step=-1)


def _rollback(entry: Entry, command: Command, at: At) -> Entry:
    return replace(entry, weight=0, step=-1)


def _precaution(entry: Entry, command: Command, at: At) -> Entry:
    if not entry.weight:
        raise refused(command, "its weight is 0% already", "look at it with `canary status`")
    return replace(entry, weight=0, step=-1)


def _rebase(entry: Entry, command: Command, at: At) -> Entry:
    label = command.stable
    if label is None or label == entry.release:
        raise refused(
            command, "no label of a stable version was given", "name it with `--stable LABEL`"
        )
    if label == entry.stable:
        raise refused(command, f"{label} is its stable version already", "there is nothing to do")
    return replace(entry, stable=label, plan=replace(entry.plan, stable=label), proven="")


def _baseline(entry: Entry, command: Command, at: At) -> Entry:
    if command.cap is not None:
        return _cap(entry, command, *command.cap, at)
    if entry.baseline is not None:
        raise refused(command, "it has a baseline", "a run has one: start it again for another")
    if command.starts is None:
        raise refused(command, "no latencies were given", "the controller measures them")
    return replace(entry, baseline=Baseline(command.starts, at.revision))


def _cap(entry: Entry, command: Command, name: str, value: float, at: At) -> Entry:
    if name not in {guard.name for guard in entry.uncapped}:
        raise refused(command, f"{name} is no mean without a cap", "a run finds one for each")
    return replace(entry, caps=(*entry.caps, Cap(name, value, at.revision)))


def _drill(entry: Entry, command: Command, at: At) -> Entry:
    drill = command.drill
    if drill is None or not (0 < drill.share <= FULL and 0 < drill.seconds <= LONGEST):
        most = LONGEST // 60
        raise refused(command, "no share and time of a drill were given", f"at most {most} minutes")
    if entry.drill is not None:
        raise refused(command, "a drill is under way", DRILLING)
    if not entry.weight:
        nobody = "nobody is drawn at 0%, and what testers do is no evidence"
        raise refused(command, nobody, f"draw some with `canary weight {NAME} 5%`")
    return replace(entry, drill=drill)


def _settle(entry: Entry, command: Command, at: At) -> Entry:
    if entry.drill is None:
        raise refused(command, "there is no drill", "begin one with `canary drill ROLLOUT`")
    return replace(_from_zero(entry, at), drill=None)


def _note(entry: Entry, command: Command, at: At) -> Entry:
    return replace(entry, noted=command.note or command.why)


_EFFECTS: Final[Mapping[Verb, Callable[[Entry, Command, At], Entry]]] = {
    Verb.WEIGHT: _weight,
    Verb.PAUSE: _stop,
    Verb.RESUME: _resume,
    Verb.APPROVE: _approve,
    Verb.HOLD: _stop,
    Verb.ADVANCE: _advance,
    Verb.AWAIT: _await,
    Verb.PROMOTE: _promote,
    Verb.ROLLBACK: _rollback,
    Verb.REBASE: _rebase,
    Verb.PRECAUTION: _precaution,
    Verb.BASELINE: _baseline,
    Verb.DRILL: _drill,
    Verb.SETTLE: _settle,
    Verb.NOTE: _note,
}
