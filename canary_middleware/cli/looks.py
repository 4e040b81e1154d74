"""Verbs that only look: ``status`` and ``history``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from math import ceil
from typing import Final

import click

from canary_middleware import verbs
from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.naming import any_rollout_argument
from canary_middleware.cli.show import Row, paint, print_json, print_table, say
from canary_middleware.core.declared import FIRST_REPORT
from canary_middleware.core.drift import Odd, listed
from canary_middleware.core.records import Audit, OpenStreams, ProcessReport
from canary_middleware.core.state import ACTIVE, EVERYTHING, Entry, Kill, Phase
from canary_middleware.errors import StoreCorruptError
from canary_middleware.overview import shapes
from canary_middleware.overview.gathering import view
from canary_middleware.overview.killing import UNKNOWN, UNMOVED, astray
from canary_middleware.overview.progress import evidence, progress
from canary_middleware.overview.scene import View
from canary_middleware.overview.wording import ago, instant, shown, weighed
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import REPORT_LIFE
from canary_middleware.verbs import RolloutStatus, Status

NAMED: Final = 5
"""Processes that one line names."""

MINUTES: Final = 2
"""Up to so many of them, a limit is told in seconds."""


@click.command(
    epilog="""\b
Examples:
  canary status
  canary status --json
"""
)
@connected
def status(connection: Connection) -> None:
    """Rollouts, kills and processes at one glance."""
    with connection.store() as store:
        found = verbs.status(store)
        views = {rollout.name: view(store, found, rollout.name) for rollout in found.rollouts}
    say_missing(connection)
    if connection.as_json:
        print_json(shapes.status(connection.namespace, found, views, time.time()))
    else:
        _print_status(connection.namespace, found, views, time.time())


@click.command(
    epilog="""\b
Examples:
  canary history
  canary history checkout --limit 100 --json
"""
)
@any_rollout_argument
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Lines at most."
)
@connected
def history(connection: Connection, rollout: str | None, limit: int) -> None:
    """Who changed what, when and why; the newest first."""
    with connection.store() as store:
        lines = verbs.history(store, rollout, limit)
        near = "" if lines or not rollout else _near(store, rollout)
    say_missing(connection)
    if connection.as_json:
        print_json([shapes.audit(line) for line in lines])
        return
    for line in lines:
        _print_audit(line)
    if not lines:
        say(f"no history of {rollout or f'namespace {connection.namespace}'}{near}")


def _near(store: StateStore, rollout: str) -> str:
    """Names that may have been meant."""
    try:
        known = verbs.status(store).known - {rollout}
    except StoreCorruptError:
        return ""
    found = get_close_matches(rollout, sorted(known), 1)
    return f"; did you mean {shown(found[0])}?" if found else ""


def say_missing(connection: Connection) -> None:
    """An empty answer from a file that nobody wrote may be that of a wrong path."""
    if connection.missing is not None:
        say(f"canary: there is no such file yet: {shown(str(connection.missing))}", err=True)


def _print_status(namespace: str, found: Status, views: Mapping[str, View], now: float) -> None:
    if found.document is None:
        say(f"namespace {namespace}: nothing was ever started or killed")
    else:
        say(f"namespace {namespace}, revision {found.document.revision}")
    for warning in found.warnings:
        say(paint(f"WARNING: {shown(warning)}", "yellow"))
    _print_kills(namespace, found, now)
    rows = [row for rollout in found.rollouts for row in _rows(found, rollout, now)]
    if rows:
        say()
        head = ("ROLLOUT", "PHASE", "WEIGHT", "RELEASE", "STABLE", "POLICY", "SINCE", "OWNER")
        print_table(head, rows)
    if found.waiting:
        say()
    for waiting in found.waiting:
        say(shown(f"{waiting.rollout}: idle, run: {waiting.command}"))
    for name, entry in _warm(found, now):
        until = f"a rollback is warm until {instant(entry.warm_until)} UTC"
        say(shown(f"{name}: {entry.release} is promoted, {until}"))
    _print_rolled_back(found)
    _print_silent(found)
    _print_streams(found)
    _print_progress(views, now)
    say()
    _print_processes(found)
    for odd in found.odd:
        _print_odd(odd)
    _print_scopes(found)


def _warm(found: Status, now: float) -> Iterator[tuple[str, Entry]]:
    for rollout in found.rollouts:
        for entry in rollout.entries:
            if entry.phase is Phase.PROMOTED and entry.warm_until > now:
                yield rollout.name, entry


def _print_rolled_back(found: Status) -> None:
    for rollout in found.rollouts:
        entry = rollout.current
        if entry and rollout.stable_rolled_back:
            stable = f"{entry.stable}, the stable side of {entry.release}, was rolled back"
            served = f"processes of {entry.release} serve it all the same"
            say(paint(shown(f"{rollout.name}: {stable}; {served}"), "yellow"))


def _print_silent(found: Status) -> None:
    for rollout in found.rollouts:
        entry = rollout.current
        for label in (entry.release, entry.stable) if entry else ():
            if silence := found.silence(rollout.name, label):
                say(paint(shown(f"{rollout.name}: {silence}"), "yellow"))


def _print_streams(found: Status) -> None:
    for one in found.streams:
        say(shown(f"{one.rollout}: {_streams(one)}"))


def _streams(one: OpenStreams) -> str:
    count = "1 stream" if one.open == 1 else f"{one.open} streams"
    if one.within is None:
        return f"{count} open on {one.version}"
    end = f"ended in {_soon(one.within)} at the latest"
    if one.losing == one.open:
        return f"{count} still on {one.version}, {end}"
    return f"{count} open on {one.version}; {one.losing} of them moving on, {end}"


def _soon(seconds: float) -> str:
    """Rounded up, for a limit."""
    return f"{ceil(seconds)} s" if seconds <= MINUTES * 60 else f"{ceil(seconds / 60)} min"


def _print_progress(views: Mapping[str, View], now: float) -> None:
    for one in views.values():
        lines = list(progress(one, now))
        if lines:
            say()
        for line in lines:
            say(shown(line))


def _print_scopes(found: Status) -> None:
    told = ("", "")
    for one in found.scopes:
        if told != (told := (one.rollout, one.release)):
            say()
            say(shown(f"{one.rollout} {one.release}: each process goes by its own scope"))
        say(f"  {_names(one.processes)}: {shown(str(one))}")


def _names(processes: Sequence[ProcessReport]) -> str:
    names = [f"{process.host} {process.pid}" for process in processes[:NAMED]]
    more = [f"and {len(processes) - NAMED} more"] if len(processes) > NAMED else []
    return shown(", ".join(names + more))


def _print_odd(odd: Odd) -> None:
    count = len(odd.processes)
    who = "1 process declares" if count == 1 else f"{count} processes declare"
    what = listed(odd.differs)
    say()
    say(paint(f"{shown(odd.rollout)}: {who} {shown(what)}", "yellow"))
    say(f"  {_names(odd.processes)}")
    if odd.replaced:
        say("  that is the label from before the rebase, there is nothing to type")
    if odd.command:
        say(f"  to put the new stable label in force: {shown(odd.command)}")


def _print_kills(namespace: str, found: Status, now: float) -> None:
    for scope, kill in sorted(found.kills.items()):
        _print_kill(found, scope, kill, now)
    files = {(p.host, p.kill_file) for p in found.processes if p.kill_file is not None}
    for host, text in sorted(files):
        why = f": {shown(text)}" if text else ""
        say(paint(f"KILLED on host {shown(host)} by its kill file{why}", "red"))
        file = f"{namespace}.kill in its snapshot_path"
        say(f"  everybody is on stable there until that file is removed: {file}")


def _print_kill(found: Status, scope: str, kill: Kill, now: float) -> None:
    everything = scope == EVERYTHING
    known = everything or scope in found.known
    name = "everything" if everything else shown(scope)
    who = f"{shown(kill.by)} {ago(now - kill.at)} ago{f': {shown(kill.why)}' if kill.why else ''}"
    killed = f"KILLED {name}" if known else f"KILLED {name}, but {UNMOVED},"
    say(paint(f"{killed} by {who}", "red"))
    lift = f"lift it with: canary revive{'' if everything else ' ' + name}"
    if known:
        say(f"  everybody is on stable; {lift}")
        return
    say(f"  {UNKNOWN}; {lift}")
    if told := astray(found.document, found.kills, found.known, scope):
        say(f"  {told}")


def _rows(found: Status, rollout: RolloutStatus, now: float) -> Iterator[Row]:
    current = rollout.current
    others = [entry for entry in rollout.entries if entry is not current]
    for entry in ([current] if current else []) + others:
        declared = (rollout.name, entry.release) in found.declared
        back = entry.phase is Phase.ROLLED_BACK and declared
        if entry is current or back or entry.phase in ACTIVE or entry.phase is Phase.PROMOTED:
            yield Row(_cells(rollout, entry, now), "red" if rollout.killed else "")


def _cells(rollout: RolloutStatus, entry: Entry, now: float) -> tuple[str, ...]:
    phase = entry.phase.value.replace("_", " ")
    return (
        rollout.name,
        f"killed ({phase})" if rollout.killed else phase,
        weighed(entry, killed=rollout.killed is not None),
        entry.release,
        entry.stable,
        f"{entry.plan.policy.value}, {entry.plan.affinity.value}",
        f"{ago(now - entry.since)} ago",
        entry.plan.owner or "-",
    )


def _print_processes(found: Status) -> None:
    if not found.processes:
        doubt = "" if found.document else "; is the namespace right?"
        say(f"no process reports: none was heard in the last {REPORT_LIFE:g} s{doubt}")
        say(f"  {FIRST_REPORT}")
        return
    head = ("HOST", "PID", "KIND", "REVISION", "HEARD", "RUNNING", "STREAMS", "DECLARES")
    print_table(head, [_process(found, process) for process in found.processes])


def _process(found: Status, process: ProcessReport) -> Row:
    behind = found.behind(process)
    follows = str(process.revision) if process.revision >= 0 else "none"
    heard = "never" if process.staleness is None else f"{ago(process.staleness)} ago"
    declares = ", ".join(f"{name} {plan.canary}" for name, plan in sorted(process.plans.items()))
    cells = (
        process.host,
        str(process.pid),
        process.kind,
        f"{follows}, behind" if behind else follows,
        heard,
        str(process.in_flight),
        str(sum(one.open for one in process.streams)),
        declares,
    )
    return Row(cells, "yellow" if behind else "")


def _print_audit(line: Audit) -> None:
    scope = "everything" if line.scope == EVERYTHING else shown(line.scope)
    change = f"{shown(line.old)} -> {shown(line.new)}" if line.old else shown(line.new)
    why = f": {shown(line.why)}" if line.why else ""
    say(f"{instant(line.at)} UTC  {scope}  {shown(line.action)}  {change}")
    say(f"  revision {line.revision}, by {shown(line.by)}{why}")
    for told in evidence(line):
        say(f"    {shown(told)}")
