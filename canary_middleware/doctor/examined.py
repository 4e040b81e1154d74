"""Everything that was seen of a namespace, as values; the checks need nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.status import Status
from canary_middleware.errors import Problem


@dataclass(frozen=True, slots=True)
class File:
    """The file of an SQLite store.

    Attributes:
        path: as it was named.
        system: type of the file system that it is on; empty where that is not known.
        writable: whether this user may write it, and beside it.
        journal: mode of its journal; empty where that cannot be read.
    """

    path: str
    system: str = ""
    writable: bool = True
    journal: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the store was asked besides its state.

    Attributes:
        trips: seconds of some round trips.
        refused: commands that it does not let us run.
        facts: what the server says of itself, as ``INFO`` does.
        saves: its setting ``save``; ``None`` where that may not be asked.
        warnings: of the store itself.
        ahead: seconds by which its clock is ahead of this machine's; ``None`` if they are one.
        unseen: what could not be asked.
        file: of an SQLite store.
    """

    trips: tuple[float, ...] = ()
    refused: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    saves: str | None = None
    warnings: tuple[str, ...] = ()
    ahead: float | None = None
    unseen: tuple[str, ...] = ()
    file: File | None = None


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found in the code.

    Attributes:
        root: directory that was searched.
        mentions: by rollout, file and line.
        files: that were read.
        whole: whether none was left out for want of time or room.
    """

    root: str
    mentions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Examined:
    """One look.

    Attributes:
        namespace: that was looked at.
        at: wall-clock seconds of the store when it was.
        status: what ``canary status`` shows; ``None`` where it cannot be had.
        changed: wall-clock seconds of the last line of history; 0 without one.
        error: why the store does not answer, or its state cannot be read.
        corrupt: whether it is the state that cannot be read.
        missing: file of the store that does not exist yet.
        lately: last reports of the last minutes, of those who are silent by now too.
        probed: ``None`` if the store does not answer.
        searched: ``None`` if no code was searched.
        unnamed: why there is no store to look at.
        problems: of the configuration at hand.
        configured: whether there is any.
    """

    namespace: str
    at: float
    status: Status | None = None
    changed: float = 0.0
    error: str = ""
    corrupt: bool = False
    missing: str = ""
    lately: tuple[ProcessReport, ...] = ()
    probed: Probed | None = None
    searched: Searched | None = None
    unnamed: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    configured: bool = False

    @property
    def processes(self) -> tuple[ProcessReport, ...]:
        """Who lives."""
        return self.status.processes if self.status else ()

    def mentions(self, rollout: str) -> tuple[str, ...]:
        """Where the code says its name."""
        return self.searched.mentions.get(rollout, ()) if self.searched else ()
