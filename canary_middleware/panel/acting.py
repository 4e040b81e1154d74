"""Verbs on behalf of a person: what a form and the JSON API do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from canary_middleware import verbs
from canary_middleware.core.state import EVERYTHING, Document, Entry
from canary_middleware.core.status import silence
from canary_middleware.errors import (
    NotPersistedError,
    StoreError,
    StoreUnavailableError,
    VerbRefusedError,
)
from canary_middleware.overview import doubts, shapes
from canary_middleware.overview.killing import (
    UNKNOWN,
    UNMOVED,
    beside_files,
    current_of,
    fate,
    kill_files,
    knows,
    struck_by,
    warnings,
)
from canary_middleware.overview.rehearsal import prospects
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.panel.action import VERBS, Action, BadInputError, read, read_form
from canary_middleware.panel.failing import (
    Failure,
    NotAllowedError,
    UnconfirmedError,
    status_of,
)
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.site import Site
from canary_middleware.panel.unchanged import OutdatedError, Unchanged
from canary_middleware.stores import ProcessReport, StateStore

__all__ = [
    "VERBS", "Action", "BadInputError", "Done", "Failure", "NotAllowedError", "OutdatedError",
    "UnconfirmedError", "act", "doubt", "read", "read_form", "status_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """What was done.

    Attributes:
        action: that was asked for.
        document: the state that everybody follows now.
        entry: the release that it was done to; ``None`` for ``kill`` and ``revive``.
        lines: what is the case now, for people; at least one.
        warnings: what they should know beside that.
        reports: of the processes that live, where ``kill`` and ``revive`` could ask for them.
    """

    action: Action
    document: Document
    entry: Entry | None
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    reports: Sequence[ProcessReport] | None = None

    @property
    def shape(self) -> Mapping[str, Any]:
        """As JSON: what the CLI prints for the same verb, and the warnings."""
        return {**self._shape(), "warnings": list(self.warnings)}

    def _shape(self) -> Mapping[str, Any]:
        scope = self.action.rollout or EVERYTHING
        if self.action.verb == "kill":
            return shapes.struck(self.document, scope, self.reports, persisted=True)
        if self.action.verb == "revive" or self.entry is None:
            return shapes.revived(self.document, scope, self.reports or ())
        return shapes.change(self.document, scope, self.entry)


async def act(site: Site, person: Person, address: str, action: Action) -> Done:
    """Do it.

    Args:
        site: where.
        person: who asks.
        address: from where, for the audit trail.
        action: what.

    Raises:
        NotAllowedError: they may only look.
        VerbRefusedError: it does not fit, is outdated or unconfirmed, or the rollout is unknown.
        NotPersistedError: a kill was told to everybody who listens, but not kept.
        StoreError: the store does not answer; of a kill the message says what became of it.
    """
    if not person.role.covers(Role.OPERATE):
        raise NotAllowedError(f"{shown(person.name)} may look, and nothing else")
    by = person.origin(address)
    if action.verb == "kill":
        return await site.urgently(_kill, site, by, action)
    return await site.ask(_do, site, by, action)


def doubt(store: StateStore, action: Action) -> str:
    """Why somebody should think again, for the page that asks; ``""`` where nothing is wrong.

    Raises:
        StoreError: the store does not answer.
    """
    rollout = action.rollout or ""
    if action.verb == "promote":
        return doubts.early_promotion(store, rollout, action.release)
    if action.verb in ("rollback", "weight"):
        return doubts.silent_stable(store, rollout, action.release, action.weight or 0)
    return ""


# --- private ------------------------------------------------------------------------------------


def _kill(site: Site, by: str, action: Action) -> Done:
    scope = action.rollout or EVERYTHING
    try:
        struck = verbs.kill(site.store, scope, by=by, why=action.why)
    except NotPersistedError:
        raise
    except StoreError as error:
        raise StoreUnavailableError(f"{error}; {fate(error, site.namespace)}") from error
    reports = _reports(site.store)
    told = warnings(site.namespace, scope, struck, reports)
    return Done(action, struck, None, (_killed(struck, scope, reports),), tuple(told), reports)


def _reports(store: StateStore) -> list[ProcessReport] | None:
    try:
        return store.processes()
    except StoreError:
        return None


def _killed(struck: Document, scope: str, reports: Sequence[ProcessReport] | None) -> str:
    if scope in struck.kills and knows(struck, reports, scope) is False:
        return shown(f"killed {scope}, but {UNMOVED}: {UNKNOWN}")
    hits = struck_by(struck, scope if scope in struck.kills else EVERYTHING, reports)
    who = ", ".join(f"{name} is back on {entry.stable}" for name, entry in hits)
    what = "everything" if EVERYTHING in (scope, *struck.kills) else shown(scope)
    return shown(f"killed {what}: {who or 'no started rollout was hit'}")


def _do(site: Site, by: str, action: Action) -> Done:
    scope = action.rollout or EVERYTHING
    store = site.store
    if action.if_revision is not None:
        store = Unchanged(store, scope, action.if_revision)
    try:
        # Not by the guarded store, which only has the state and nothing that was measured.
        _check_meant(site.store, action)
        document = _CALLS[action.verb](store, scope, by, action)
    except OutdatedError:
        raise
    except VerbRefusedError as error:
        raise _better(site, action, error) from None
    if action.verb == "revive":
        return _revived(site, action, document, scope)
    state = document.rollouts[scope]
    entry = state.entries[action.release or state.current or ""]
    told = _silent(site.store, scope, entry)
    line = f"{sentence(scope, state, entry)}; revision {document.revision}"
    return Done(action, document, entry, (line,), tuple(told))


def _check_meant(store: StateStore, action: Action) -> None:
    if not action.anyway and (why := doubt(store, action)):
        hint = "do it all the same with `anyway`"
        raise UnconfirmedError(why, rollout=action.rollout, hint=hint)


def _better(site: Site, action: Action, error: VerbRefusedError) -> VerbRefusedError:
    if better := _unknown(site, action.rollout):
        return better
    if action.verb != "revive":
        return error
    return beside_files(site.namespace, _reports(site.store) or (), error)


def _unknown(site: Site, rollout: str | None) -> VerbRefusedError | None:
    """The better refusal where neither the state nor any process knows the rollout."""
    if rollout is None:
        return None
    known = verbs.status(site.store).known
    if rollout in known:
        return None
    nothing = "nothing is known there: start an application that declares it"
    return doubts.unknown_rollout(rollout, site.namespace, known, nothing)


def _silent(store: StateStore, rollout: str, entry: Entry) -> Iterator[str]:
    found = silence(_reports(store) or (), rollout, entry.release)
    if entry.weight and found:
        yield shown(f"{rollout}: {found}; stable answers there")


def _revived(site: Site, action: Action, document: Document, scope: str) -> Done:
    what = "everything" if scope == EVERYTHING else shown(scope)
    now = [
        sentence(name, document.rollouts[name], entry)
        for name, entry in current_of(document, scope)
        if not document.killed(name)
    ]
    still = ["everything" if one == EVERYTHING else shown(one) for one in sorted(document.kills)]
    reports = _reports(site.store)
    files = kill_files(site.namespace, reports or ())
    told = (*(f"still killed: {one}" for one in still), *files)
    return Done(action, document, None, (f"revived {what}", *now), told, reports)


Call = Callable[[StateStore, str, str, Action], Document]


def _plain(verb: Callable[..., Document], *names: str) -> Call:
    """Call a verb with these fields of the action."""

    def call(store: StateStore, rollout: str, by: str, action: Action) -> Document:
        options = {name: getattr(action, name) for name in names}
        return verb(store, rollout, by=by, why=action.why, **options)

    return call


def _drill(store: StateStore, rollout: str, by: str, action: Action) -> Document:
    if action.drill is None:
        raise BadInputError([])
    drill = replace(action.drill, begun=time.time(), by=by)
    prospects(store, rollout, action.release, drill)
    release, why = action.release, action.why
    return verbs.drill(store, rollout, drill, by=by, why=why, release=release)


_CALLS: Final[Mapping[str, Call]] = {
    "start": _plain(verbs.start, "release", "weight", "again"),
    "weight": _plain(verbs.weight, "release", "weight"),
    "resume": _plain(verbs.resume, "release", "skip_approval"),
    "finish": _plain(verbs.finish, "release", "early"),
    "rebase": _plain(verbs.rebase, "release", "stable"),
    "drill": _drill,
    "revive": _plain(verbs.revive),
    **{
        verb.__name__: _plain(verb, "release")
        for verb in (verbs.pause, verbs.approve, verbs.promote, verbs.rollback, verbs.settle)
    },
}
