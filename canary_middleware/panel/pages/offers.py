"""What a person may do to a rollout now: the verbs that fit, as buttons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from canary_middleware.core.state import EVERYTHING, Phase, Verb
from canary_middleware.core.transitions import TABLE
from canary_middleware.overview.scene import drilling
from canary_middleware.panel.pages.looking import Look


class Offer(NamedTuple):
    """One button.

    Attributes:
        verb: what is done.
        word: on the button.
        look: ``main``, ``danger`` or ``""``.
        asks: it leads to a page that says whom it hits; else it is done at once.
    """

    verb: str
    word: str
    look: str = ""
    asks: bool = True


_OFFERS: Final = (
    Offer("approve", "Approve", "main", asks=False),
    Offer("resume", "Resume", "main"),
    Offer("pause", "Pause", asks=False),
    Offer("weight", "Set weight…"),
    Offer("promote", "Promote…"),
    Offer("rollback", "Roll back…", "danger"),
    Offer("finish", "Finish…", "main"),
)


def offers(look: Look, name: str) -> Iterator[Offer]:
    """Those that fit, in the order of the buttons; ``kill`` is on every page anyway."""
    kills, view = look.status.kills, look.views[name]
    phase = view.entry.phase if view.entry else Phase.IDLE
    if EVERYTHING in kills or name in kills:
        if name in kills:
            yield Offer("revive", "Revive…", "main")
        return
    if startable(look, name):
        yield Offer("start", "Start…", "main" if phase is not Phase.PROMOTED else "")
    if view.entry and drilling(view.entry, look.at):
        yield Offer("settle", "End the drill", asks=False)
    if any(odd.rollout == name and odd.command for odd in look.status.odd):
        yield Offer("rebase", "Take over the new stable…")
    for offer in _OFFERS:
        if isinstance(TABLE[phase, Verb(offer.verb)], Phase):
            yield offer


def startable(look: Look, name: str) -> list[str]:
    """Releases that processes declare and that ``start`` would take now, the newest last."""
    known = look.releases(name)
    entries = {one.release: one for one in known.entries} if known else {}
    active = [one for one in entries.values() if Verb.PAUSE in _verbs(one.phase)]
    if active or any(one.phase is Phase.PAUSED for one in entries.values()):
        return []
    declared = sorted(label for rollout, label in look.status.declared if rollout == name)
    free = (Phase.IDLE, Phase.ROLLED_BACK)
    return [one for one in declared if one not in entries or entries[one].phase in free]


def _verbs(phase: Phase) -> set[Verb]:
    return {verb for verb in Verb if isinstance(TABLE[phase, verb], Phase)}
