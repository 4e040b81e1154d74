"""What a rollout's page says in sentences: its state, what happens next and when, what is odd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from canary_middleware.core.drift import Odd, listed
from canary_middleware.core.effects import step_above
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.refusals import words
from canary_middleware.core.state import EVERYTHING, Entry, Kill, Phase
from canary_middleware.core.telling import lasting
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.killing import UNKNOWN, UNMOVED, astray
from canary_middleware.overview.scene import Bake, View, bake, drilling
from canary_middleware.overview.wording import ago, instant, number
from canary_middleware.panel.pages.looking import Look

NAMED: Final = 5
_FAR: Final = 43_200.0
"""Seconds from which on a time is told with its day."""


class State(NamedTuple):
    """A phase or a kill, as a badge: a shape, a colour and a word."""

    kind: str
    word: str


class Note(NamedTuple):
    """Something that a person should know; ``kind`` is ``bad``, ``warn`` or ``info``."""

    kind: str
    text: str


class Next(NamedTuple):
    """What happens next, and when or on which condition."""

    what: str
    when: str = ""


def state(view: View) -> State:
    """Where a rollout stands."""
    if view.killed:
        return State("killed", "killed")
    phase = view.entry.phase if view.entry else Phase.IDLE
    return State(phase.value, words(phase))


def killed(scope: str, kill: Kill, now: float) -> str:
    """Who struck a kill, when and why."""
    what = "everything" if scope == EVERYTHING else scope
    why = f": {kill.why}" if kill.why else ""
    return f"{what} was killed {ago(now - kill.at)} ago by {kill.by}{why}"


def following(view: View, now: float) -> Next:
    """What happens to a rollout by itself, or what it waits for."""
    entry = view.entry
    if view.killed:
        return Next("Everybody stays on stable until the kill is lifted.")
    if entry is None:
        return Next("Nobody has started it.", "Processes declare it and serve stable.")
    if entry.phase is Phase.RAMPING:
        return _ramping(entry, now)
    weight = format_weight(entry.weight)
    if entry.phase is Phase.AWAITING_APPROVAL:
        at = bake(entry, now)
        return Next(
            f"Waits for a person to approve {at.then if at and at.then else 'the next step'}."
        )
    if entry.phase in (Phase.PAUSED, Phase.HOLDING):
        step = step_above(entry)
        on = (
            f"`resume` goes on at {format_weight(entry.plan.steps[step])}."
            if step is not None
            else ""
        )
        return Next(f"Stays at {weight} until a person moves it.", on)
    if entry.phase is Phase.PROMOTED:
        until = f"A rollback to {entry.stable} is warm until {instant(entry.warm_until)} UTC."
        return Next(f"Everybody has {entry.release}; finish it to close the rollout.", until)
    if entry.phase is Phase.ROLLED_BACK:
        return Next(f"Everybody is back on {entry.stable}.", "It starts again only on purpose.")
    return Next(f"Done: {entry.stable} can leave the code.")


def _ramping(entry: Entry, now: float) -> Next:
    at = bake(entry, now)
    if at is None or not at.needed:
        then = f"; the next step is {at.then}" if at and at.then else ""
        return Next(f"Nothing moves it but people{then}.")
    target = f"a person is asked to approve {at.then}" if at.approval else at.goal
    observed = " (in words only: observe mode)" if entry.plan.course.observe else ""
    return Next(f"Next: {target}{observed},", _when(at, now))


def _when(at: Bake, now: float) -> str:
    gate = f" and its gate {at.gate} agrees" if at.gate and not at.approval else ""
    if at.left:
        soonest = instant(now + at.left)
        told = soonest if at.left >= _FAR else soonest[11:]
        return f"{told} UTC at the earliest, if the evidence allows it{gate}."
    return f"as soon as the evidence allows it{gate}."


def notes(look: Look, view: View) -> Iterator[Note]:
    """What is unusual about a rollout, the worst first."""
    entry = view.entry
    if view.killed:
        scope = EVERYTHING if EVERYTHING in look.status.kills else view.name
        yield Note("bad", killed(scope, view.killed, look.at).capitalize())
    if view.trouble:
        yield Note("bad", f"Its totals cannot be read: {view.trouble}")
    if entry is not None:
        yield from _of_entry(look, view.name, entry)
    for waiting in look.status.waiting:
        if waiting.rollout == view.name:
            yield Note("info", f"{waiting.release} is declared and was not started.")
    for odd in look.status.odd:
        if odd.rollout == view.name:
            yield Note("warn", _odd(odd))
    for one in look.status.streams:
        if one.rollout == view.name:
            yield Note("info", _streams(one))


def _of_entry(look: Look, name: str, entry: Entry) -> Iterator[Note]:
    drill = drilling(entry, look.at)
    if drill:
        hit = f"{drill.fault} in {format_weight(drill.share)} of canary requests"
        left = lasting(drill.begun + drill.seconds - look.at)
        yield Note("warn", f"A drill is on: {hit}, for another {left}")
    for label in (entry.release, entry.stable):
        if silence := look.status.silence(name, label):
            yield Note("bad", silence)
    if entry.noted:
        yield Note("warn", f"Observe mode, nothing was done: {entry.noted}")
    known = look.releases(name)
    if known and known.stable_rolled_back:
        yield Note("warn", f"{entry.stable}, its stable side, was rolled back earlier")
    if entry.why and entry.phase in (Phase.PAUSED, Phase.HOLDING, Phase.ROLLED_BACK):
        kind = "bad" if entry.phase is Phase.ROLLED_BACK else "warn"
        since = f"{words(entry.phase).capitalize()} {ago(look.at - entry.since)} ago"
        yield Note(kind, f"{since}: {entry.why}")


def _odd(odd: Odd) -> str:
    who = number(len(odd.processes), "process declares", "processes declare")
    names = ", ".join(f"{one.host} {one.pid}" for one in odd.processes[:NAMED])
    run = f"; to put it in force: {odd.command}" if odd.command else ""
    return f"{who} {listed(odd.differs)} ({names}){run}"


def _streams(one: OpenStreams) -> str:
    moving = f", {one.losing} of them moving on" if one.losing else ""
    return f"{number(one.open, 'stream', 'streams')} open on {one.version}{moving}"


def general(look: Look) -> Iterator[Note]:
    """What concerns the whole namespace."""
    for scope, kill in sorted(look.status.kills.items()):
        if scope == EVERYTHING or scope not in look.status.known:
            told = killed(scope, kill, look.at).capitalize()
            yield Note("bad", told if scope == EVERYTHING else f"{told}; {_astray(look, scope)}")
    files = {(p.host, p.kill_file) for p in look.status.processes if p.kill_file is not None}
    for host, text in sorted(files):
        why = f": {text}" if text else ""
        file = f"remove {look.namespace}.kill in its snapshot_path there"
        yield Note("bad", f"Host {host} is killed by its kill file{why}; {file}")
    for warning in look.status.warnings:
        yield Note("warn", warning)
    behind = sum(map(look.status.behind, look.status.processes))
    if behind:
        told = number(behind, "process does", "processes do")
        yield Note("warn", f"{told} not follow the present state yet")
    if not look.status.processes:
        yield Note("warn", "No process reports: is an application running, and in this namespace?")


def _astray(look: Look, scope: str) -> str:
    status = look.status
    told = astray(status.document, status.kills, status.known, scope)
    return f"{UNMOVED}: {UNKNOWN}{f'; {told}' if told else ''}"
