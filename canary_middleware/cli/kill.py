"""``kill`` and ``revive``: everybody back to stable, and out of it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from canary_middleware import verbs
from canary_middleware.cli.asking import asks, be_sure, yes_option
from canary_middleware.cli.changing import unknown
from canary_middleware.cli.connection import (
    Author,
    Connection,
    NoDirectoryError,
    authored,
    connected,
)
from canary_middleware.cli.naming import any_rollout_argument
from canary_middleware.cli.show import Row, paint, print_json, print_table, say, unheard
from canary_middleware.core.command import Command
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.snapshot import SERVING
from canary_middleware.core.state import EVERYTHING, Document, Entry, Phase, Verb
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import (
    NotPersistedError,
    StoreError,
    StoreUnavailableError,
    VerbRefusedError,
)
from canary_middleware.overview import shapes
from canary_middleware.overview.consequences import foreseen, revival
from canary_middleware.overview.killing import (
    NOTHING_WRITTEN,
    UNKNOWN,
    UNMOVED,
    Hit,
    astray,
    beside_files,
    current_of,
    declares,
    fate,
    kill_files,
    knows,
    struck_by,
    warnings,
)
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore

_GLANCE = 0.5
"""Seconds for the look before a kill; what it shows is a courtesy and must not delay the kill."""
_STRIKE = 1.5


@click.command(
    epilog="""\b
Examples:
  canary kill
  canary kill checkout --why "orders fail"
"""
)
@any_rollout_argument
@connected
@authored
def kill(connection: Connection, author: Author, rollout: str | None) -> None:
    """Everybody back to stable.

    One rollout, or without a name the whole namespace. Never asks. Works when no application is
    running and when the store is empty. Lift it with `canary revive`.
    """
    scope = rollout or EVERYTHING
    (before, reports), missing = _glance(connection), connection.missing
    with unheard():
        if not connection.as_json:
            _announce(struck_by(before, scope, reports))
    try:
        with connection.store(_STRIKE) as store:
            struck = verbs.kill(store, scope, by=author.by, why=author.why)
            # Whoever was too slow before may have time now; without reports less can be told.
            reports = _reports(store) if reports is None else reports
    except NotPersistedError:
        with unheard():
            _report(connection, scope, before, reports, persisted=False)
        raise
    except StoreError as error:
        nowhere = isinstance(error, NoDirectoryError)
        told = NOTHING_WRITTEN if nowhere else fate(error, connection.namespace)
        raise StoreUnavailableError(f"{error}; {told}") from error
    with unheard():
        _report(connection, scope, struck, reports, persisted=True)
        if missing is not None:
            created = f"canary: the store did not exist and was created: {shown(str(missing))}"
            say(f"{created}; is that the application's?", err=True)
        for warning in warnings(connection.namespace, scope, struck, reports):
            say(f"canary: {warning}", err=True)


@click.command(
    epilog="""\b
Examples:
  canary revive
  canary revive checkout --yes --why "fixed in 1.5.1"
"""
)
@any_rollout_argument
@yes_option
@connected
@authored
def revive(connection: Connection, author: Author, rollout: str | None, yes: bool) -> None:
    """Lift a kill; ramps stay paused.

    That of one rollout, or without a name that of the namespace. Visitors are back on the canary at
    the old weight at once: it asks on a terminal and needs --yes elsewhere.
    """
    scope = rollout or EVERYTHING
    if asks(connection, yes=yes):
        _ask(connection, scope)
    with connection.store() as store:
        try:
            document = verbs.revive(store, scope, by=author.by, why=author.why)
        except VerbRefusedError as error:
            raise _better(store, connection, scope, error) from None
        reports = _reports(store) or ()
    if connection.as_json:
        print_json(shapes.revived(document, scope, reports))
        return
    say(f"revived {_named(scope)} in namespace {connection.namespace}")
    for name, entry in current_of(document, scope):
        if not document.killed(name):
            say(sentence(name, document.rollouts[name], entry) + _next(name, entry))
    for other in sorted(document.kills):
        say(f"still killed: {_named(other)}; lift it with: {_revival(other)}")
    for told in kill_files(connection.namespace, reports):
        say(told)


def _ask(connection: Connection, scope: str) -> None:
    with connection.store() as store:
        try:
            _, after = foreseen(store, Command(Verb.REVIVE, scope))
        except VerbRefusedError as error:
            raise _better(store, connection, scope, error) from None
        files = list(kill_files(connection.namespace, _reports(store) or ()))
    name = None if scope == EVERYTHING else scope
    lifted = f"the kill of {_named(scope)} in namespace {connection.namespace} is lifted"
    be_sure(*revival(after, scope), *files, lifted, rollout=name)


def _better(
    store: StateStore, connection: Connection, scope: str, error: VerbRefusedError
) -> VerbRefusedError:
    if scope != EVERYTHING and (better := unknown(store, connection, scope)):
        return better
    return beside_files(connection.namespace, _reports(store) or (), error)


def _glance(connection: Connection) -> tuple[Document | None, Sequence[ProcessReport] | None]:
    document = None
    try:
        with connection.store(_GLANCE) as store:
            document = store.load().document
            return document, _reports(store)
    except StoreError:
        return document, None


def _reports(store: StateStore) -> Sequence[ProcessReport] | None:
    try:
        return store.processes()
    except StoreError:
        return None


def _announce(hits: Iterable[Hit]) -> None:
    for name, entry in hits:
        if entry.phase in SERVING:
            say(shown(
                f"{name} is {entry.phase.value}: this moves everybody from {entry.release} "
                f"back to {entry.stable}"
            ))  # fmt: skip


def _report(
    connection: Connection,
    scope: str,
    document: Document | None,
    reports: Sequence[ProcessReport] | None,
    *,
    persisted: bool,
) -> None:
    if connection.as_json:
        print_json(shapes.struck(document, scope, reports, persisted=persisted))
        return
    if persisted and document and scope not in document.kills:
        scope = EVERYTHING  # the state was unreadable
    killed = f"KILLED {_named(scope)} in namespace {connection.namespace}"
    if knows(document, reports, scope) is False:
        say(paint(f"{killed}, but {UNMOVED}: {UNKNOWN}", "red"))
        known = {*(document.rollouts if document else ()), *_declared(reports or ())}
        if told := astray(document, document.kills if document else (), known, scope):
            say(told)
    else:
        say(paint(killed, "red"))
        _print_hits(struck_by(document, scope, reports), reports)
    say(f"Lift it with: {_revival(scope)}")


def _declared(reports: Sequence[ProcessReport]) -> set[str]:
    return {name for report in reports for name in report.plans}


def _print_hits(hits: Sequence[Hit], reports: Sequence[ProcessReport] | None) -> None:
    if hits:
        head = ("ROLLOUT", "PHASE", "WEIGHT", "RELEASE", "EVERYBODY BACK ON")
        print_table(head, [Row(_cells(*hit, declares(reports, *hit))) for hit in hits])
    else:
        say("No started rollout was hit; what starts later stays on stable, too.")


def _cells(name: str, entry: Entry, declared: bool) -> tuple[str, ...]:
    phase = entry.phase.value.replace("_", " ")
    release = entry.release if declared else f"{entry.release} (no process declares it)"
    return (name, phase, format_weight(entry.weight), release, entry.stable)


def _next(name: str, entry: Entry) -> str:
    ramps = entry.phase is Phase.PAUSED and entry.plan.steps
    return f"; its ramp goes on with: canary resume {name}" if ramps else ""


def _revival(scope: str) -> str:
    return "canary revive" if scope == EVERYTHING else f"canary revive {scope}"


def _named(scope: str) -> str:
    return "everything" if scope == EVERYTHING else shown(scope)
