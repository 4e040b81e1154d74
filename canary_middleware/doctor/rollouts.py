"""Rollouts: what is stopped, what nobody finished, and what nobody watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from canary_middleware.core.state import ACTIVE, EVERYTHING, Entry, Phase
from canary_middleware.core.status import RolloutStatus, Status
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding, Kind, Level, named, ok, several
from canary_middleware.overview.killing import UNKNOWN, UNMOVED
from canary_middleware.overview.wording import ago

DAY: Final = 86_400.0
STUCK: Final = 3 * DAY
"""Seconds after which a release that waits for somebody is forgotten rather than watched."""
UNFINISHED: Final = 7 * DAY
"""Seconds after which two versions in one application are a debt rather than a precaution."""

_WAITING: Final = frozenset({Phase.PAUSED, Phase.HOLDING, Phase.AWAITING_APPROVAL})
_GO_ON: Final = {
    Phase.PAUSED: "`canary resume {0}`, `canary promote {0}` or `canary rollback {0}`",
    Phase.HOLDING: "`canary watch {0}` says what it waits for; else `canary rollback {0}`",
    Phase.AWAITING_APPROVAL: "`canary approve {0}` or `canary rollback {0}`",
}


def check(seen: Examined) -> Iterator[Finding]:
    """All of it."""
    status = seen.status
    if status is None:
        return
    yield from _killed(seen, status)
    for one in status.rollouts:
        if one.current is not None:
            yield from _watched(status, one, one.current)
            yield from _answering(status, one, one.current)
        for entry in one.entries:
            yield from _forgotten(seen, status, one, entry)
    count = len({one.name for one in status.rollouts} | {one.rollout for one in status.waiting})
    waiting = [f"{one.rollout} waits for `{one.command}`" for one in status.waiting]
    yield ok(Kind.ROLLOUTS_OK, "; ".join([several(count, "rollout", "rollouts"), *waiting]))


def _killed(seen: Examined, status: Status) -> Iterator[Finding]:
    for scope, kill in sorted(status.kills.items()):
        everything = scope == EVERYTHING
        known = everything or scope in status.known
        served = "everybody is on stable" if known else f"{UNMOVED}: {UNKNOWN}"
        name = "everything" if everything else scope
        yield Finding(
            Kind.ROLLOUTS_KILLED,
            Level.WARNING,
            f"{name} is killed, since {ago(seen.at - kill.at)}",
            f"by {kill.by}{f': {kill.why}' if kill.why else ''}; {served}",
            f"{'when the cause is gone: ' if known else ''}"
            f"canary revive{'' if everything else ' ' + scope}",
        )
    files = [one for one in seen.processes if one.kill_file is not None]
    if files:
        yield Finding(
            Kind.ROLLOUTS_KILL_FILE,
            Level.WARNING,
            f"a kill file keeps {several(len(files))} on stable",
            "only who removes that file on that host lifts it",
            "when the cause is gone, remove <namespace>.kill in snapshot_path there",
            named(files),
        )


def _watched(status: Status, one: RolloutStatus, entry: Entry) -> Iterator[Finding]:
    if entry.phase not in ACTIVE:
        return
    if not entry.plan.guards:
        yield Finding(
            Kind.ROLLOUTS_UNGUARDED,
            Level.WARNING if entry.plan.course.automatic else Level.NOTE,
            f"{one.name} {entry.release} has no guard",
            "nothing is compared: nobody is rolled back but by hand",
            "declare guards=Guard.defaults() (docs/guards.md), or watch it yourself",
        )
    if not entry.plan.owner:
        yield Finding(
            Kind.ROLLOUTS_OWNERLESS,
            Level.NOTE,
            f"{one.name} {entry.release} has no owner",
            "whoever is on call does not know whom to ask",
            'declare owner="team@example.com"',
        )
    declared = (one.name, entry.release) in status.declared
    if status.processes and not declared:
        yield Finding(
            Kind.ROLLOUTS_UNDECLARED,
            Level.WARNING,
            f"no process declares {one.name} {entry.release}, which is {_phase(entry)}",
            "nobody can get this release; processes of others serve stable",
            f"deploy it, or end it with `canary rollback {one.name}`",
        )


def _answering(status: Status, one: RolloutStatus, entry: Entry) -> Iterator[Finding]:
    for label in (entry.release, entry.stable):
        if silence := status.silence(one.name, label):
            yield Finding(
                Kind.ROLLOUTS_SILENT,
                Level.BAD if entry.phase in ACTIVE else Level.WARNING,
                f"{one.name}: {silence}",
                "what does not answer gets no visitors while the other version does",
                "start its server, or see in the application's log why the target did not start",
            )
    if one.stable_rolled_back:
        yield Finding(
            Kind.ROLLOUTS_STABLE,
            Level.WARNING,
            f"{one.name}: {entry.stable}, the stable side of {entry.release}, was rolled back",
            "processes of this release serve it all the same",
            "deploy with the last good version as stable, then `canary rebase`",
        )


def _forgotten(
    seen: Examined, status: Status, one: RolloutStatus, entry: Entry
) -> Iterator[Finding]:
    name, age = f"{one.name} {entry.release}", seen.at - entry.since
    where = seen.mentions(one.name)
    declared = (one.name, entry.release) in status.declared
    if entry.phase in _WAITING and age > STUCK:
        yield _stuck(one.name, entry, age, where)
    elif entry.phase is Phase.PROMOTED and age > entry.plan.rollback_window:
        yield Finding(
            Kind.ROLLOUTS_UNFINISHED,
            Level.WARNING if age > UNFINISHED else Level.NOTE,
            f"{name} is promoted, since {ago(age)}, and nobody finished it",
            "the old version is kept in the code and tested by nobody",
            f"`canary finish {one.name}`, then remove it and the old version from the code",
            where,
        )
    elif entry.phase is Phase.FINISHED and declared:
        yield Finding(
            Kind.ROLLOUTS_LEFTOVER,
            Level.WARNING if age > UNFINISHED else Level.NOTE,
            f"{name} is finished, since {ago(age)}, and still in the code",
            "every request of its scope is decided about for nothing",
            "remove the rollout and the old version from the code, or declare the next release",
            where,
        )
    elif entry.phase is Phase.ROLLED_BACK and declared and one.current is entry:
        yield _abandoned(one.name, entry, age, where)


def _stuck(name: str, entry: Entry, age: float, where: tuple[str, ...]) -> Finding:
    return Finding(
        Kind.ROLLOUTS_STUCK,
        Level.WARNING,
        f"{name} {entry.release} is {_phase(entry)}, since {ago(age)}",
        f"it waits for somebody{f' ({entry.plan.owner})' if entry.plan.owner else ''}",
        _GO_ON[entry.phase].format(name),
        where,
    )


def _abandoned(name: str, entry: Entry, age: float, where: tuple[str, ...]) -> Finding:
    return Finding(
        Kind.ROLLOUTS_ABANDONED,
        Level.WARNING if age > DAY else Level.NOTE,
        f"{name} {entry.release} was rolled back {ago(age)} ago and is still deployed",
        f"because: {entry.why}" if entry.why else "",
        "deploy a repaired release under a new label, remove it, or try the same one again: "
        f"`canary start {name} --again`",
        where,
    )


def _phase(entry: Entry) -> str:
    return entry.phase.value.replace("_", " ")
