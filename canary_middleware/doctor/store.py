"""The store: does it answer, in time, may we do what we must, and does it keep what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Final

from canary_middleware.core.model import Memory
from canary_middleware.doctor.examined import Examined, File, Probed
from canary_middleware.doctor.finding import Finding, Kind, Level, ok

SLOW: Final = 0.1
"""Seconds of a round trip from which on a kill is felt to be late."""
SLOW_FOR_CLAIMS: Final = 0.01
"""Likewise where requests wait for it; their budget is 0.02 by default."""
FULL: Final = 0.9
"""Share of its memory from which on a server is nearly full."""
NETWORKED: Final = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs",
    "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
})  # fmt: skip
"""File systems whose locks do not hold what SQLite needs (sqlite.org/faq.html, question 5)."""


def check(seen: Examined) -> Iterator[Finding]:
    """All of it."""
    for problem in seen.unnamed:
        yield Finding(
            Kind.STORE_UNNAMED,
            Level.BAD,
            f"{problem.place}: {problem.message}",
            "so only what is at hand was examined",
            problem.hint,
        )
    if seen.error:
        yield _broken(seen)
    if seen.missing:
        yield Finding(
            Kind.STORE_MISSING,
            Level.WARNING,
            "there is no such file yet",
            "it is made by the first process; a wrong path looks the same",
            "compare it with the one in the application, and start the application",
            (seen.missing,),
        )
    if seen.probed is not None:
        yield from _answers(seen, seen.probed)
        yield from _permissions(seen.probed)
        yield from _server(seen, seen.probed)
        yield from _file(seen.probed.file)


def _broken(seen: Examined) -> Finding:
    if seen.corrupt:
        return Finding(
            Kind.STORE_CORRUPT,
            Level.BAD,
            "the state in the store cannot be read",
            f"{seen.error}; processes go on with what they hold",
            "`canary kill` works all the same; see docs/stores.md for how to begin anew",
        )
    return Finding(
        Kind.STORE_UNREACHABLE,
        Level.BAD,
        "the store does not answer",
        f"{seen.error}; running rollouts serve stable once it was silent for max_staleness",
        "see that it runs and that this machine reaches it; a kill file works without it "
        "(docs/runbook.md, The store is down)",
    )


def _answers(seen: Examined, probed: Probed) -> Iterator[Finding]:
    if not probed.trips:
        return
    usual = median(probed.trips)
    what = f"the store answers in {1000 * usual:.2g} ms (median of {len(probed.trips)})"
    claimed = any(
        plan.affinity is Memory.SHARED for one in seen.processes for plan in one.plans.values()
    )
    if usual < (SLOW_FOR_CLAIMS if claimed else SLOW):
        yield ok(Kind.STORE_OK, what)
        return
    waits = "requests with shared affinity wait for it, 20 ms by default; " if claimed else ""
    yield Finding(
        Kind.STORE_SLOW,
        Level.WARNING,
        what,
        f"{waits}each kill and each change takes so much longer",
        "put it near the application, and look for slow commands of others (SLOWLOG GET)",
    )


def _permissions(probed: Probed) -> Iterator[Finding]:
    if probed.refused:
        yield Finding(
            Kind.STORE_REFUSES,
            Level.BAD,
            f"this user may not do everything: {', '.join(probed.refused)}",
            "without it some verb, or some part of the agents, fails",
            "grant it; docs/redis.md has the rule for an ACL",
        )
    if probed.unseen:
        yield Finding(
            Kind.STORE_UNSEEN,
            Level.NOTE,
            f"could not be asked: {', '.join(probed.unseen)}",
            "the server does not tell this user; nothing else needs it",
            "ask again, as a user who may run them",
        )


def _server(seen: Examined, probed: Probed) -> Iterator[Finding]:
    for warning in probed.warnings:
        remedy = "change the server's configuration; see docs/redis.md"
        yield Finding(Kind.STORE_SETUP, Level.WARNING, warning, "", remedy)
    if probed.facts.get("role") == "slave":
        yield Finding(
            Kind.STORE_REPLICA,
            Level.BAD,
            "the server is a replica",
            "it takes no writes: no verb works, and no process can report",
            "name the master in the URL, or the Sentinels that know it (docs/redis.md)",
        )
    yield from _memory(probed)
    yield from _persistence(seen, probed)


def _memory(probed: Probed) -> Iterator[Finding]:
    used, most = (_whole(probed.facts.get(name)) for name in ("used_memory", "maxmemory"))
    if most and used >= FULL * most:
        yield Finding(
            Kind.STORE_FULL,
            Level.WARNING,
            f"the server uses {100 * used / most:.0f}% of its memory",
            "a full server refuses changes; a kill is pushed all the same, but not kept",
            "raise maxmemory, or find out what fills it",
        )


def _persistence(seen: Examined, probed: Probed) -> Iterator[Finding]:
    if probed.facts.get("rdb_last_bgsave_status") == "err":
        yield Finding(
            Kind.STORE_SAVING,
            Level.WARNING,
            "the server could not save itself to disk the last time",
            "by default it refuses every change from then on",
            "see its log; most often the disk is full",
        )
    if probed.saves == "" and probed.facts.get("aof_enabled") == "0":
        reports = [one.facts for one in seen.processes if one.facts]
        kept = bool(reports) and all(facts.snapshot for facts in reports)
        yield Finding(
            Kind.STORE_FORGETS,
            Level.NOTE,
            "the server keeps nothing over a restart",
            "processes that live put the state back, kills included; history, claims and what was "
            "counted are lost" + ("" if kept else ", and the state too if they restart with it"),
            "switch on AOF or RDB there"
            + (", or set snapshot_path in the application" * (not kept)),
        )


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _file(file: File | None) -> Iterator[Finding]:
    if file is None:
        return
    if not file.writable:
        yield Finding(
            Kind.STORE_REFUSES,
            Level.BAD,
            "this user may not write the file of the store, or beside it",
            "SQLite keeps two more files beside it",
            "run as the user of the application, or let the group write the directory",
            (file.path,),
        )
    if file.system in NETWORKED:
        yield Finding(
            Kind.STORE_NETWORK,
            Level.BAD,
            f"the file of the store is on a network file system ({file.system})",
            "its locks do not hold: two processes may write at once and destroy it, and the "
            "processes of several hosts cannot share it anyway",
            "use a local disk, or a Redis for several hosts",
            (file.path,),
        )
    if file.journal not in ("", "wal"):
        yield Finding(
            Kind.STORE_JOURNAL,
            Level.WARNING,
            f"the file of the store has the journal mode {file.journal}",
            "readers wait for writers, so that requests may wait for the agent",
            "see what changed it: our processes set it to WAL when they open it",
            (file.path,),
        )
