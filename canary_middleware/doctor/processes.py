"""Processes: do their agents run, do they hear the store, and do they declare what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from canary_middleware.core.drift import RELEASE, listed
from canary_middleware.core.facts import Facts
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import ACTIVE
from canary_middleware.core.status import Status
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding, Kind, Level, named, ok, several
from canary_middleware.doctor.fleet import told
from canary_middleware.overview.wording import ago

TURN: Final = 2.0
"""Seconds of a turn of an agent from which on a poll is late."""
STALL: Final = 1.0
"""Seconds for which an event loop stood still, and all its requests with it."""
CATCHING_UP: Final = 6.0
"""Seconds after a change in which a report may still be of before: they come every 5."""


def check(seen: Examined) -> Iterator[Finding]:
    """All of it."""
    if seen.status is None:
        return
    threadless = [one for one, facts in told(seen.lately) if facts.threads is False]
    yield from _present(seen, seen.status)
    yield from _threads(threadless)
    yield from _silent(seen, [one for one in seen.lately if one not in threadless])
    yield from _hearing(seen, seen.status)
    yield from _working(seen)
    yield from _alike(seen)
    yield from _declaring(seen.status)


def _present(seen: Examined, status: Status) -> Iterator[Finding]:
    count = len(seen.processes)
    if count:
        behind = sum(map(status.behind, seen.processes))
        follows = "all follow the present state" if not behind else f"{behind} behind"
        who = several(count, "process reports", "processes report")
        where = tuple(
            f"{one.host} {one.pid}: {_described(facts)}" for one, facts in told(seen.processes)
        )
        yield replace(ok(Kind.PROCESSES_OK, f"{who}; {follows}"), where=where)
        return
    running = any(one.current and one.current.phase in ACTIVE for one in status.rollouts)
    yield Finding(
        Kind.PROCESSES_NONE,
        Level.BAD if running else Level.WARNING,
        f"no process of namespace {seen.namespace} reports",
        "a process begins with its first visit, or with its server's lifespan; none was heard in "
        "the last seconds",
        "see that namespace and store are those of the application, that it has had a request, "
        "and that its log says nothing of an agent; uWSGI needs enable-threads",
    )


def _described(facts: Facts) -> str:
    server = [facts.server] if facts.server else []
    since = f"for {ago(facts.uptime)}{', loaded before it was forked' * facts.preloaded}"
    return ", ".join([*server, f"Python {facts.python}", since])


def _threads(processes: Sequence[ProcessReport]) -> Iterator[Finding]:
    if processes:
        yield Finding(
            Kind.PROCESSES_THREADS,
            Level.BAD,
            f"uWSGI lets no threads run in {several(len(processes))}",
            "the agent is never given a turn between requests: nothing confirms the control state, "
            "so that all visitors are on stable, and a kill is heard late",
            "start uWSGI with enable-threads = true, or with threads = 2 or more",
            named(processes),
        )


def _silent(seen: Examined, lately: Sequence[ProcessReport]) -> Iterator[Finding]:
    alive = {one.id for one in seen.processes}
    gone = [one for one in lately if one.id not in alive]
    if gone:
        yield Finding(
            Kind.PROCESSES_SILENT,
            Level.WARNING,
            f"{several(len(gone))} fell silent in the last minutes without taking leave",
            "killed (out of memory?), cut off from the store, or stopped; one that still serves "
            "goes to stable after max_staleness",
            "look for these processes on their hosts; one that was replaced is forgotten in "
            "5 minutes",
            tuple(f"{one.host} {one.pid}: {seen.at - one.at:.0f} s ago" for one in gone),
        )


def _hearing(seen: Examined, status: Status) -> Iterator[Finding]:
    stale = [one for one in seen.processes if _stale(one)]
    if stale:
        yield Finding(
            Kind.PROCESSES_STALE,
            Level.BAD,
            f"{several(len(stale))} cannot confirm the state",
            "rollouts on their way out serve stable there",
            "see the log of the process: it says once what fails",
            named(stale),
        )
    behind = [
        one
        for one in seen.processes
        if status.behind(one) and one.at > seen.changed + CATCHING_UP and one not in stale
    ]
    if behind:
        yield Finding(
            Kind.PROCESSES_BEHIND,
            Level.WARNING,
            f"an older state than the store has is followed by {several(len(behind))}",
            "their visitors do not see the last change",
            "see their logs; if nothing is there, restart them",
            tuple(f"{one.host} {one.pid}: revision {one.revision}" for one in behind),
        )


def _stale(one: ProcessReport) -> bool:
    if one.staleness is None:
        return True
    limit = one.facts.max_staleness if one.facts else None
    return limit is not None and one.staleness > limit


def _working(seen: Examined) -> Iterator[Finding]:
    all_told = told(seen.processes)
    yield from _slow([(one, facts.turn) for one, facts in all_told if facts.turn > TURN])
    yield from _stalled([(one, facts.stall) for one, facts in all_told if facts.stall > STALL])
    yield from _troubled([(one, facts.troubles) for one, facts in all_told if facts.troubles])


def _slow(slow: Sequence[tuple[ProcessReport, float]]) -> Iterator[Finding]:
    if slow:
        yield Finding(
            Kind.PROCESSES_SLOW,
            Level.WARNING,
            f"the agent of {several(len(slow))} takes up to {max(t for _, t in slow):.1f} s a turn",
            "polls, reports and rollbacks are late by that; the store or the host is busy",
            "see the latency of the store, and whether the host has processor time left",
            named([one for one, _ in slow]),
        )


def _stalled(stalled: Sequence[tuple[ProcessReport, float]]) -> Iterator[Finding]:
    if stalled:
        yield Finding(
            Kind.PROCESSES_STALLED,
            Level.WARNING,
            f"an event loop stood still for up to {max(s for _, s in stalled):.1f} s",
            "something in the application blocks it: a call without await, or a long computation",
            "find it with PYTHONASYNCIODEBUG=1, and move it into a thread",
            named([one for one, _ in stalled]),
        )


def _troubled(troubled: Sequence[tuple[ProcessReport, Sequence[str]]]) -> Iterator[Finding]:
    if troubled:
        yield Finding(
            Kind.PROCESSES_TROUBLED,
            Level.WARNING,
            f"something fails now in {several(len(troubled))}",
            "each trouble was logged once when it began, with its reason",
            "see the logs for `degraded`",
            tuple(f"{one.host} {one.pid}: {', '.join(what)}" for one, what in troubled),
        )


def _alike(seen: Examined) -> Iterator[Finding]:
    all_told = told(seen.processes)
    yield from _trusting([one for one, facts in all_told if facts.max_staleness is None])
    yield from _forked([one for one, facts in all_told if facts.forked])
    yield from _versions([(one, facts.library) for one, facts in all_told])
    yield from _older([one for one in seen.processes if one.facts is None])


def _trusting(trusting: Sequence[ProcessReport]) -> Iterator[Finding]:
    if trusting:
        yield Finding(
            Kind.PROCESSES_TRUSTING,
            Level.NOTE,
            f"an old state is trusted for ever by {several(len(trusting))} (max_staleness is None)",
            "cut off from the store, they go on with the canary and hear of no kill",
            "set max_staleness, 60 s by default",
            named(trusting),
        )


def _forked(forked: Sequence[ProcessReport]) -> Iterator[Finding]:
    if forked:
        yield Finding(
            Kind.PROCESSES_FORKED,
            Level.NOTE,
            f"{several(len(forked))} began as a fork of one that served already",
            "each has begun anew and is well; what the parent counted stays with the parent",
            "serve nothing before the server forks",
            named(forked),
        )


def _versions(libraries: Sequence[tuple[ProcessReport, str]]) -> Iterator[Finding]:
    different = sorted({library for _, library in libraries})
    if len(different) > 1:
        yield Finding(
            Kind.PROCESSES_VERSIONS,
            Level.NOTE,
            f"processes run canary_middleware {' and '.join(different)}",
            "that is so during a deployment",
            "finish it",
            tuple(f"{one.host} {one.pid}: {library}" for one, library in libraries),
        )


def _older(older: Sequence[ProcessReport]) -> Iterator[Finding]:
    if older:
        yield Finding(
            Kind.PROCESSES_OLDER,
            Level.NOTE,
            f"nothing of clocks, keys, cookies and spans is said by {several(len(older))}",
            "they run a version of canary_middleware that does not tell",
            "upgrade them; what is said here of those is of the others only",
            named(older),
        )


def _declaring(status: Status) -> Iterator[Finding]:
    # What was deployed just now and waits for its start is no mistake.
    waiting = {(one.rollout, one.release) for one in status.waiting}
    for odd in status.odd:
        release = any(one.what == RELEASE for one in odd.differs)
        who = several(len(odd.processes), "process declares", "processes declare")
        expected = odd.replaced or (odd.rollout, odd.release) in waiting
        yield Finding(
            Kind.PROCESSES_RELEASE if release else Kind.PROCESSES_PLAN,
            Level.NOTE if expected else Level.WARNING,
            f"{odd.rollout}: {who} {listed(odd.differs)}",
            "each process goes by the entry of its own release"
            if release
            else "what was frozen at start is in force, and not this",
            _put_in_force(odd.command, release=release, replaced=odd.replaced),
            named(odd.processes),
        )
    for scoped in status.scopes:
        yield Finding(
            Kind.PROCESSES_SCOPE,
            Level.NOTE,
            f"{scoped.rollout} {scoped.release}: {scoped}",
            "processes of this release do not have the same in scope; each goes by its own",
            "nothing, if they are different services",
            named(scoped.processes),
        )


def _put_in_force(command: str | None, *, release: bool, replaced: bool) -> str:
    if command:
        return f"to put the new stable label in force: {command}"
    if replaced:
        return "that is the label from before the rebase: they are replaced by the deployment"
    if release:
        return "finish the deployment, or start the release that is deployed"
    return "declare it as it was, or start the next release with it"
