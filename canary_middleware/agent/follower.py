"""One process's view of the control state: what it holds, and what it makes of what it is told."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from canary_middleware.agent.claiming import Remembered
from canary_middleware.agent.measuring import Measures
from canary_middleware.core.adoption import decide, with_kill_key
from canary_middleware.core.codec import printable
from canary_middleware.core.model import Rollout
from canary_middleware.core.state import EVERYTHING, Document, Kill
from canary_middleware.stores.protocol import Key, Loaded


class Counts(Protocol):
    """Counts rare events."""

    def count(self, event: str) -> None:
        """One more."""


class Followed(Protocol):
    """The part of the engine that the agent talks to."""

    document: Document | None
    confirmed_at: float

    @property
    def recorder(self) -> Counts:
        """Of this process; a forked child gets a new one."""

    @property
    def claims(self) -> Remembered:
        """Of shared affinity."""

    @property
    def measuring(self) -> Measures:
        """What this process counts; likewise."""

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """What this process declares."""

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        """Swap the control state in."""

    def confirm(self, now: float) -> None:
        """The store confirmed it at ``now``, monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Restore:
    """What the store lacks: write ``document`` if it still is as ``expected``.

    Attributes:
        expected: key of what was loaded.
        document: what is followed instead.
        why: for the audit trail.
        kill: the kill that the plain kill key struck, if that is what the store lacks.
    """

    expected: Key | None
    document: Document
    why: str
    kill: Kill | None = None


class Follower:
    """Merges loads, pushes and the local kill file into the engine, one at a time.

    Args:
        engine: see :class:`Followed`.
        clock: monotonic seconds.
        wall: wall-clock seconds.
    """

    def __init__(
        self, engine: Followed, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._wall = wall
        self._lock = Lock()
        self._local_kill: Kill | None = None
        self._told = False
        self._pushed_at = -math.inf

    def pushed(self, document: Document) -> bool:
        """Follow a push at once; the answer says whether the chores have something to do.

        Nothing is confirmed: a push may have waited for minutes in the socket of a process that
        was stopped. Of a foreign lineage, which a fail-over may have delayed, only the kills are
        taken over; a look at the store settles the rest.
        """
        with self._lock:
            held = self._engine.document
            foreign = held is not None and held.lineage != document.lineage
            adoption = decide(document, held) if foreign else decide(held, document)
            if held is not None and not foreign and document.revision > held.revision + 1:
                self._engine.claims.doubt()  # a push between them never came
            news = self._adopt(adoption.document)
            if news:
                self._pushed_at = self._clock()
            return news or foreign or adoption.restore

    def loaded(self, loaded: Loaded, asked_at: float) -> Restore | None:
        """Follow a load; ``asked_at`` is the monotonic time before it."""
        with self._lock:
            document, note = self._merged(loaded, overtaken=asked_at <= self._pushed_at)
            if self._adopt(document) and loaded.document is not None:
                # Its push never came, so that of a revocation before it may not have come either.
                self._engine.claims.doubt()
            # An unreadable state is treated as an absent one, except that nobody overwrites it.
            if loaded.corrupt is not None:
                return None
            self._engine.confirm(asked_at)
        if document is None or document == loaded.document:
            return None
        expected = loaded.document.key if loaded.document else None
        return Restore(expected, document, note, _struck(loaded, document))

    def from_disk(self, document: Document | None) -> None:
        """Begin with what an earlier process left behind; nothing confirms it."""
        with self._lock:
            if self._engine.document is None:
                self._adopt(document)

    @property
    def kill_file(self) -> str | None:
        """Text of the kill file of this host; ``None`` without one."""
        return self._local_kill.why if self._local_kill is not None else None

    def set_local_kill(self, reason: str | None) -> bool:
        """The kill file of this host says so, or is gone; the answer says whether that is news."""
        with self._lock:
            # The first word counts always: a forked engine may hold the kill of a file now gone.
            if self._told and (reason is None) == (self._local_kill is None):
                return False
            news, self._told = self._told or reason is not None, True
            killed = Kill("kill file", reason, self._wall(), 0) if reason is not None else None
            self._local_kill = killed
            self._engine.adopt(self._engine.document, killed)
            return news

    def _merged(self, loaded: Loaded, *, overtaken: bool) -> tuple[Document | None, str]:
        held = self._engine.document
        if overtaken:
            # The key is as old as the state beside it: what was pushed may have lifted its kill.
            seen = loaded.document and self._with_kill_key(loaded.document, loaded.kill_key)
            adoption = decide(held, seen)
            return adoption.document, adoption.note
        adoption = decide(held, loaded.document)
        return self._with_kill_key(adoption.document, loaded.kill_key), adoption.note

    def _with_kill_key(self, document: Document | None, reason: str | None) -> Document | None:
        reason = None if reason is None else printable(reason)
        lineage = secrets.token_hex(8)
        return with_kill_key(document, reason, lineage=lineage, now=self._wall())

    def _adopt(self, document: Document | None) -> bool:
        news = document != self._engine.document
        if news:
            self._engine.adopt(document, self._local_kill)
        return news


def _struck(loaded: Loaded, document: Document) -> Kill | None:
    known = loaded.document is not None and EVERYTHING in loaded.document.kills
    return None if loaded.kill_key is None or known else document.kills.get(EVERYTHING)
