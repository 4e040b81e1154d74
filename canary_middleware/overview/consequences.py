"""Whom a verb would hit, in words: what a person should read before it is done.

Nothing is changed here: a verb is tried on the state that was loaded, so that what does not fit is
refused before anybody is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.model import Policy
from canary_middleware.core.state import EVERYTHING, Document, Entry, Verb
from canary_middleware.core.transitions import apply
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore


def foreseen(store: StateStore, command: Command) -> tuple[Document, Document]:
    """The state as it is, and as the verb would leave it.

    Raises:
        VerbRefusedError: it does not fit.
        StoreError: the store is away, or what it holds cannot be read.
    """
    found = verbs.status(store)
    # The kill key counts, although perhaps no process has made a record of it yet.
    before = replace(found.document or Document("0"), kills=found.kills)
    return before, apply(before, command, time.time())


def consequence(before: Document, after: Document, command: Command) -> str:
    """What a verb makes of one rollout; no full stop at its end.

    Args:
        before: the state as it is.
        after: as the verb would leave it; see :func:`foreseen`.
        command: what is to be done; any verb but ``revive``.
    """
    release = command.release or (command.plan.canary if command.plan else None)
    state = after.rollouts[command.rollout]
    then = state.entries[release or state.current or ""]
    now = before.entry(command.rollout, then.release) or then
    return shown(f"{command.rollout}: {_told(command, now, then)}")


def _told(command: Command, now: Entry, then: Entry) -> str:
    release, share = then.release, format_weight(now.weight)
    sessions = ", as open sessions end" if then.plan.policy is Policy.SESSION else ""
    if command.verb is Verb.PROMOTE:
        return f"everybody gets {release}{sessions} (now {share})"
    if command.verb is Verb.ROLLBACK:
        again = f"{release} returns only with `start --again`"
        return f"everybody gets {then.stable} ({release} has {share} now), and {again}"
    if command.verb is Verb.FINISH:
        kept = f"{release} stays for everybody"
        return f"{kept}, and no rollback to {then.stable} is possible any more"
    if command.verb is Verb.RESUME and command.skip_approval:
        skipped = "without the approval on the way"
        return f"{release} gets {format_weight(then.weight)} (now {share}) {skipped}"
    if command.verb is Verb.START and command.acknowledge:
        why = f": {now.why}" if now.why else ""
        whom = f"{format_weight(then.weight)} of visitors" if then.weight else "testers"
        return f"{whom} get {release} again, which was rolled back{why}"
    return f"{release} gets {format_weight(then.weight)} (now {share})"


def revival(after: Document, scope: str) -> Iterator[str]:
    """Who is back on a canary once a kill is lifted, one line per rollout.

    Args:
        after: the state once it is lifted; see :func:`foreseen`.
        scope: of the kill.
    """
    for name, state in sorted(after.rollouts.items()):
        entry = state.entries.get(state.current or "")
        if scope in (EVERYTHING, name) and entry is not None and not after.killed(name):
            yield sentence(name, state, entry)
