"""One finding: what is so, why that matters, what to do, and where."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.core.records import ProcessReport

NAMED: Final = 6
"""Places that one finding names."""


class Level(enum.IntEnum):
    """How bad it is; the worst is the largest."""

    OK = 0
    NOTE = 1
    WARNING = 2
    BAD = 3


class Kind(enum.StrEnum):
    """Everything that can be found, as area and word; docs/doctor.md has a section for each."""

    STORE_OK = "store.ok"
    STORE_UNREACHABLE = "store.unreachable"
    STORE_UNNAMED = "store.unnamed"
    STORE_CORRUPT = "store.corrupt"
    STORE_SLOW = "store.slow"
    STORE_REFUSES = "store.refuses"
    STORE_SETUP = "store.setup"
    STORE_FULL = "store.full"
    STORE_FORGETS = "store.forgets"
    STORE_SAVING = "store.saving"
    STORE_REPLICA = "store.replica"
    STORE_MISSING = "store.missing"
    STORE_NETWORK = "store.network"
    STORE_JOURNAL = "store.journal"
    STORE_UNSEEN = "store.unseen"
    CLOCKS_OK = "clocks.ok"
    CLOCKS_WORKER = "clocks.worker"
    CLOCKS_HERE = "clocks.here"
    KEYS_OK = "keys.ok"
    KEYS_UNKNOWN = "keys.unknown"
    KEYS_ROTATING = "keys.rotating"
    KEYS_BUCKETS = "keys.buckets"
    COOKIES_OK = "cookies.ok"
    COOKIES_LOST = "cookies.lost"
    COOKIES_UNRETURNED = "cookies.unreturned"
    COOKIES_OPEN = "cookies.open"
    SPANS_OK = "spans.ok"
    SPANS_UNTAGGED = "spans.untagged"
    SPANS_UNSAMPLED = "spans.unsampled"
    SPANS_INNER = "spans.inner"
    PROCESSES_OK = "processes.ok"
    PROCESSES_NONE = "processes.none"
    PROCESSES_THREADS = "processes.threads"
    PROCESSES_SILENT = "processes.silent"
    PROCESSES_STALE = "processes.stale"
    PROCESSES_BEHIND = "processes.behind"
    PROCESSES_SLOW = "processes.slow"
    PROCESSES_STALLED = "processes.stalled"
    PROCESSES_TROUBLED = "processes.troubled"
    PROCESSES_TRUSTING = "processes.trusting"
    PROCESSES_FORKED = "processes.forked"
    PROCESSES_VERSIONS = "processes.versions"
    PROCESSES_OLDER = "processes.older"
    PROCESSES_RELEASE = "processes.release"
    PROCESSES_PLAN = "processes.plan"
    PROCESSES_SCOPE = "processes.scope"
    ROLLOUTS_OK = "rollouts.ok"
    ROLLOUTS_KILLED = "rollouts.killed"
    ROLLOUTS_KILL_FILE = "rollouts.kill-file"
    ROLLOUTS_SILENT = "rollouts.silent"
    ROLLOUTS_STUCK = "rollouts.stuck"
    ROLLOUTS_UNFINISHED = "rollouts.unfinished"
    ROLLOUTS_LEFTOVER = "rollouts.leftover"
    ROLLOUTS_ABANDONED = "rollouts.abandoned"
    ROLLOUTS_UNDECLARED = "rollouts.undeclared"
    ROLLOUTS_UNGUARDED = "rollouts.unguarded"
    ROLLOUTS_OWNERLESS = "rollouts.ownerless"
    ROLLOUTS_STABLE = "rollouts.stable"
    CONFIGURATION_OK = "configuration.ok"
    CONFIGURATION_WRONG = "configuration.wrong"
    CODE_OK = "code.ok"
    CODE_UNFINISHED = "code.unfinished"
    APPLICATION_OK = "application.ok"
    APPLICATION_UNLOADED = "application.unloaded"
    APPLICATION_BARE = "application.bare"
    APPLICATION_SPANS = "application.spans"
    APPLICATION_ORDER = "application.order"
    APPLICATION_NAMESPACE = "application.namespace"
    APPLICATION_UNSEEN = "application.unseen"

    @property
    def area(self) -> str:
        """What it is about."""
        return self.value.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: stands for it in scripts, and in the docs.
        level: how bad it is.
        what: is so, in one line.
        why: it matters, or what was seen of it; may be empty.
        remedy: what to do; empty where there is nothing to do.
        where: processes, files and lines; all of them.
    """

    kind: Kind
    level: Level
    what: str
    why: str = ""
    remedy: str = ""
    where: tuple[str, ...] = ()


def ok(kind: Kind, what: str) -> Finding:
    """Something that is as it should be."""
    return Finding(kind, Level.OK, what)


def named(processes: Sequence[ProcessReport]) -> tuple[str, ...]:
    """Processes, for :attr:`Finding.where`."""
    return tuple(f"{one.host} {one.pid}" for one in processes)


def several(count: int, one: str = "process", many: str = "processes") -> str:
    """``"1 process"``, ``"2 processes"``."""
    return f"{count:,} {one if count == 1 else many}"
