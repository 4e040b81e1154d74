"""What is asked before a verb is done: whom it hits, in words, and what speaks against it.

Blocks on the store, so it runs in a thread. Nothing is changed here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.declared import declared_plan, declared_stable
from canary_middleware.core.state import EVERYTHING, Document, Entry, Phase, Verb
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.errors import StoreError, VerbRefusedError
from canary_middleware.overview.consequences import consequence, foreseen, revival
from canary_middleware.overview.killing import (
    UNKNOWN,
    beside_files,
    current_of,
    declares,
    kill_files,
    knows,
    struck_by,
)
from canary_middleware.overview.sentences import sentence
from canary_middleware.panel.acting import doubt
from canary_middleware.panel.action import Action
from canary_middleware.panel.pages.looking import Look
from canary_middleware.panel.pages.offers import startable
from canary_middleware.stores import StateStore

_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "start": ("Start {what}", "Start it"),
    "weight": ("Set the weight of {what}", "Set the weight"),
    "pause": ("Pause {what}", "Pause it"),
    "resume": ("Resume {what}", "Resume it"),
    "approve": ("Approve the next step of {what}", "Approve"),
    "promote": ("Promote {what}", "Promote: everybody gets {release}"),
    "rollback": ("Roll back {what}", "Roll back: everybody gets {stable}"),
    "finish": ("Finish {what}", "Finish it"),
    "rebase": ("Take over a new stable label of {what}", "Take it over"),
    "kill": ("Kill {what}", "Kill {what} now"),
    "revive": ("Revive {what}", "Revive it"),
}
_NOBODYS: Final = "no process declares it"
_DANGER: Final = frozenset({"kill", "rollback"})
ASKED: Final = tuple(_TITLES)
"""Verbs that have a page."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the page shows.

    Attributes:
        verb: what would be done.
        scope: to which rollout; ``"*"`` is everything.
        title: of the page.
        button: what the button says.
        danger: it takes something away from people.
        now: who gets what now, a sentence each.
        then: who gets what afterwards, likewise.
        doubts: what speaks against it; it has to be meant then.
        refused: why it does not fit now; ``""`` if it does.
        hint: what to do instead.
        revision: of the state that all this is about.
        releases: labels to choose from (``start``).
        again: they were rolled back earlier (``start``).
        weights: suggestions (``weight``).
        early: the rollback window is open (``finish``).
        gated: an approval would be skipped (``resume``).
        trouble: why nothing can be said about it.
    """

    verb: str
    scope: str
    title: str
    button: str
    danger: bool = False
    now: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    refused: str = ""
    hint: str = ""
    revision: int | None = None
    releases: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    early: bool = False
    gated: bool = False
    trouble: str = ""


def question(store: StateStore, namespace: str, verb: str, scope: str) -> Question:
    """What to ask.

    Raises:
        StoreError: the store does not answer; a kill is asked for all the same.
    """
    try:
        # No numbers: a page that a kill waits behind asks no long question.
        seen = Look(namespace, time.time(), verbs.status(store), {})
    except StoreError as error:
        if verb != "kill":
            raise
        return replace(_blank(verb, scope), trouble=str(error))
    document = seen.status.document
    made = _blank(verb, scope, _entry(document, scope))
    made = replace(made, now=tuple(_now(document, scope)), revision=seen.revision)
    if verb == "kill":
        return replace(made, then=tuple(_killed(seen, scope)))
    try:
        return _ASKS.get(verb, _plain)(store, seen, made)
    except VerbRefusedError as error:
        words = str(error).removesuffix(f" ({error.hint})") if error.hint else str(error)
        return replace(made, refused=words, hint=error.hint)


def _blank(verb: str, scope: str, entry: Entry | None = None) -> Question:
    title, button = _TITLES[verb]
    words = {
        "what": "everything" if scope == EVERYTHING else scope,
        "release": entry.release if entry else "the canary",
        "stable": entry.stable if entry else "stable",
    }
    return Question(
        verb, scope, title.format(**words), button.format(**words), danger=verb in _DANGER
    )


def _entry(document: Document | None, scope: str) -> Entry | None:
    state = document.rollouts.get(scope) if document else None
    return state.entries.get(state.current or "") if state else None


def _now(document: Document | None, scope: str) -> Iterator[str]:
    for name, entry in current_of(document, scope) if document else ():
        if document and (kill := document.killed(name)):
            why = f": {kill.why}" if kill.why else ""
            yield f"{name}: killed by {kill.by}{why}; {entry.stable} for everybody"
        elif document:
            yield sentence(name, document.rollouts[name], entry)


def _killed(seen: Look, scope: str) -> Iterator[str]:
    document, reports = seen.status.document, seen.status.processes
    hits = struck_by(document, scope, reports)
    for name, entry in hits:
        who = "everybody" if entry.weight == FULL else f"{format_weight(entry.weight)} of visitors"
        if entry.phase in (Phase.PROMOTED, Phase.FINISHED):
            who = f"it is {entry.phase.value}: everybody"
        on = entry.release if declares(reports, name, entry) else f"{entry.release} ({_NOBODYS})"
        yield f"{name}: {who} on {on} and all testers go back to {entry.stable} at once"
    if knows(document, reports, scope) is False:
        yield f"Nobody is moved: {UNKNOWN}."
    elif not hits:
        yield "No started rollout is hit; what starts later stays on stable, too."
    yield "Requests that run are finished; streams of the canary end within the grace of the kill."


def _plain(store: StateStore, seen: Look, made: Question) -> Question:
    command = Command(Verb(made.verb), made.scope)
    then = consequence(*foreseen(store, command), command)
    doubts = doubt(store, Action(made.verb, made.scope))
    return replace(made, then=(then,), doubts=(doubts,) if doubts else ())


def _rebase(store: StateStore, seen: Look, made: Question) -> Question:
    entry = _entry(seen.status.document, made.scope)
    if entry is None:
        return _plain(store, seen, made)
    label = declared_stable(seen.status.processes, made.scope, entry)
    command = Command(Verb.REBASE, made.scope, stable=label)
    foreseen(store, command)
    then = (
        f"{made.scope}: {label} takes the place of {entry.stable}; a new period of evidence begins"
    )
    return replace(made, then=(then, "Nobody is moved: phase, weight and places stay."))


def _start(store: StateStore, seen: Look, made: Question) -> Question:
    labels = startable(seen, made.scope)
    known = seen.releases(made.scope)
    entries = known.entries if known else ()
    back = [one.release for one in entries if one.phase is Phase.ROLLED_BACK]
    again = tuple(label for label in labels if label in back)
    then = tuple(
        f"{label}: {made.scope} begins at {format_weight(plan.steps[0]) if plan.steps else '0%'}"
        f"{_way(plan.steps)}; {plan.stable} for the others"
        for label in labels
        for plan in [declared_plan(seen.status.processes, made.scope, label)]
    )
    if not labels:
        declared_plan(seen.status.processes, made.scope)
        foreseen(store, Command(Verb.START, made.scope))
    return replace(made, releases=tuple(labels), again=again, then=then)


def _way(steps: tuple[int, ...]) -> str:
    return f" and goes by {', '.join(map(format_weight, steps[1:]))}" if len(steps) > 1 else ""


def _weight(store: StateStore, seen: Look, made: Question) -> Question:
    entry = _entry(seen.status.document, made.scope)
    foreseen(store, Command(Verb.WEIGHT, made.scope, weight=entry.weight if entry else 0))
    doubts = doubt(store, Action("weight", made.scope, weight=0)) if entry and entry.weight else ""
    steps = {0, *(entry.plan.steps if entry else ())}
    return replace(
        made,
        weights=tuple(format_weight(one) for one in sorted(steps)),
        then=("Its ramp is paused at the weight that you set; `resume` goes on from there.",),
        doubts=(f"if the weight is lowered: {doubts}",) if doubts else (),
    )


def _resume(store: StateStore, seen: Look, made: Question) -> Question:
    try:
        return _plain(store, seen, made)
    except VerbRefusedError as refused:
        command = Command(Verb.RESUME, made.scope, skip_approval=True)
        try:
            then = consequence(*foreseen(store, command), command)
        except VerbRefusedError:
            raise refused from None
        return replace(made, then=(then,), gated=True)


def _finish(store: StateStore, seen: Look, made: Question) -> Question:
    try:
        return _plain(store, seen, made)
    except VerbRefusedError as refused:
        command = Command(Verb.FINISH, made.scope, early=True)
        try:
            then = consequence(*foreseen(store, command), command)
        except VerbRefusedError:
            raise refused from None
        return replace(made, then=(then,), early=True, doubts=(str(refused),))


def _revive(store: StateStore, seen: Look, made: Question) -> Question:
    namespace, reports = seen.namespace, seen.status.processes
    try:
        _, after = foreseen(store, Command(Verb.REVIVE, made.scope))
    except VerbRefusedError as error:
        raise beside_files(namespace, reports, error) from None
    then = tuple(revival(after, made.scope)) or ("No started rollout is concerned.",)
    files = kill_files(namespace, reports)
    return replace(made, then=(*then, *files, "Ramps stay paused until a person resumes them."))


_ASKS: Final = {
    "start": _start,
    "weight": _weight,
    "rebase": _rebase,
    "resume": _resume,
    "finish": _finish,
    "revive": _revive,
}
