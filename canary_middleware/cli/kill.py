"""``kill`` and ``revive``: everybody back to stable, and out of it again."""

from __future__ import annotations

import difflib
import socket
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import click

from canary_middleware import verbs
from canary_middleware.cli.connection import (
    Author,
    Connection,
    NoDirectoryError,
    a_rollout,
    authored,
    connected,
)
from canary_middleware.cli.show import Row, paint, print_json, print_table, say
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.snapshot import SERVING
from canary_middleware.core.state import ACTIVE, EVERYTHING, Document, Entry, Phase
from canary_middleware.core.status import silence
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import NotPersistedError, StoreError, StoreUnavailableError
from canary_middleware.overview import shapes
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.stores.protocol import REPORT_LIFE

_GLANCE = 0.5
"""Seconds for the look before a kill; what it shows is a courtesy and must not delay the kill."""
_STRIKE = 1.5

_NEVER_SENT: Final = (ConnectionRefusedError, FileNotFoundError, socket.gaierror)
"""What ends a connection before it is one; after anything else a command may have arrived."""
_UNHEARD: Final = frozenset({"AuthenticationError", "BusyLoadingError", "NoPermissionError"})
"""redis-py's names of what a server answers before it runs anything; redis-py is an extra."""
_REFUSED: Final = ("DB index is out of range", "Protocol error: unauthenticated")

Hit = tuple[str, Entry]
"""A rollout and the release of it that a kill moves."""


@click.command()
@click.argument("rollout", callback=a_rollout, required=False)
@connected
@authored
def kill(connection: Connection, author: Author, rollout: str | None) -> None:
    """Everybody back to stable.

    One rollout, or without a name the whole namespace. Never asks. Works when no application is
    running and when the store is empty. Lift it with `canary revive`.
    """
    scope = rollout or EVERYTHING
    before, missing = _glance(connection), connection.missing
    if not connection.as_json:
        _announce(_hits(before, scope))
    try:
        with connection.store(_STRIKE) as store:
            struck = verbs.kill(store, scope, by=author.by, why=author.why)
    except NotPersistedError:
        _report(connection, scope, before, persisted=False)
        raise
    except StoreError as error:
        raise StoreUnavailableError(f"{error}; {_fate(error)}") from error
    _report(connection, scope, struck, persisted=True)
    if missing is not None:
        created = f"canary: the store did not exist and was created: {shown(str(missing))}"
        say(f"{created}; is that the application's?", err=True)
    _warn(connection, scope, struck)


@click.command()
@click.argument("rollout", callback=a_rollout, required=False)
@connected
@authored
def revive(connection: Connection, author: Author, rollout: str | None) -> None:
    """Lift a kill; ramps stay paused.

    That of one rollout, or without a name that of the namespace.
    """
    scope = rollout or EVERYTHING
    with connection.store() as store:
        document = verbs.revive(store, scope, by=author.by, why=author.why)
    if connection.as_json:
        print_json({
            "scope": scope,
            "revision": document.revision,
            "still_killed": sorted(document.kills),
            "rollouts": [shapes.change(document, *found) for found in _current(document, scope)],
        })  # fmt: skip
        return
    say(f"revived {_named(scope)} in namespace {connection.namespace}")
    for name, entry in _current(document, scope):
        if not document.killed(name):
            say(sentence(name, document.rollouts[name], entry) + _next(name, entry))
    for other in sorted(document.kills):
        say(f"still killed: {_named(other)}; lift it with: {_revival(other)}")


def _glance(connection: Connection) -> Document | None:
    try:
        with connection.store(_GLANCE) as store:
            return store.load().document
    except StoreError:
        return None


def _fate(error: BaseException) -> str:
    """What became of a kill that was not confirmed, as far as it can be known."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error | NoDirectoryError):
            return "nothing was written, so nothing was killed"
        if isinstance(cause, _NEVER_SENT):
            return "there was no connection, so nothing was killed"
        if _is_refusal(cause):
            return "the server refused it, so nothing was killed"
        cause = cause.__cause__ or cause.__context__
    return "whether it arrived is unknown: look at `canary status`, or kill again"


def _is_refusal(cause: BaseException) -> bool:
    # What our script meets while it runs may come after the kill.
    named = type(cause).__name__ in _UNHEARD and "script" not in str(cause)
    return named or str(cause).startswith(_REFUSED)


def _hits(document: Document | None, scope: str) -> list[Hit]:
    return [
        (name, entry)
        for name, state in sorted(document.rollouts.items() if document else ())
        if scope in (EVERYTHING, name)
        for entry in state.entries.values()
        if entry.phase in ACTIVE or entry.phase in SERVING
    ]


def _announce(hits: Iterable[Hit]) -> None:
    for name, entry in hits:
        if entry.phase in SERVING:
            say(shown(
                f"{name} is {entry.phase.value}: this moves everybody from {entry.release} "
                f"back to {entry.stable}"
            ))  # fmt: skip


def _report(
    connection: Connection, scope: str, document: Document | None, *, persisted: bool
) -> None:
    hits = _hits(document, scope)
    struck = document.kills.get(scope) if document and persisted else None
    if connection.as_json:
        print_json({
            "scope": scope,
            "persisted": persisted,
            "revision": struck.revision if struck else None,
            "kills": sorted(document.kills) if document else [],
            "hit": [
                {"rollout": name, **shapes.release(entry), "everybody_on": entry.stable}
                for name, entry in hits
            ],
        })  # fmt: skip
        return
    say(paint(f"KILLED {_named(scope)} in namespace {connection.namespace}", "red"))
    if hits:
        head = ("ROLLOUT", "PHASE", "WEIGHT", "RELEASE", "EVERYBODY BACK ON")
        print_table(head, [Row(_cells(*hit)) for hit in hits])
    else:
        say("No started rollout was hit; what starts later stays on stable, too.")
    say(f"Lift it with: {_revival(scope)}")


def _cells(name: str, entry: Entry) -> tuple[str, ...]:
    phase = entry.phase.value.replace("_", " ")
    return (name, phase, format_weight(entry.weight), entry.release, entry.stable)


def _warn(connection: Connection, scope: str, struck: Document) -> None:
    if scope not in struck.kills:
        say("canary: the state was unreadable, so everything was killed instead", err=True)
        return
    reports = _reports(connection)
    if reports is None:
        return
    declared = {name for report in reports for name in report.plans}
    known = sorted({*struck.rollouts, *declared})
    if scope != EVERYTHING and scope not in known:
        names = ", ".join(map(shown, known)) or "none"
        near = difflib.get_close_matches(scope, known, 1)
        meant = f"; did you mean {shown(near[0])}?" if near else ""
        say(f"canary: nobody knows a rollout {scope} (known: {names}){meant}", err=True)
    for name, entry in _current(struck, scope):
        if silent := silence(reports, name, entry.stable):
            say(f"canary: {shown(f'{name}: {silent}')}", err=True)
    if not reports:
        say(
            f"canary: no process has reported in namespace {connection.namespace} in the last "
            f"{REPORT_LIFE:g} s; is the namespace right?",
            err=True,
        )


def _reports(connection: Connection) -> Sequence[ProcessReport] | None:
    try:
        with connection.store(_GLANCE) as store:
            return store.processes()
    except StoreError:
        return None


def _current(document: Document, scope: str) -> Iterator[Hit]:
    for name, state in sorted(document.rollouts.items()):
        if scope in (EVERYTHING, name) and state.current:
            yield name, state.entries[state.current]


def _next(name: str, entry: Entry) -> str:
    ramps = entry.phase is Phase.PAUSED and entry.plan.steps
    return f"; its ramp goes on with: canary resume {name}" if ramps else ""


def _revival(scope: str) -> str:
    return "canary revive" if scope == EVERYTHING else f"canary revive {scope}"


def _named(scope: str) -> str:
    return "everything" if scope == EVERYTHING else shown(scope)
