"""One process's view of the control state: what it holds, and what it makes of what it is told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from canary_middleware.core.adoption import KILL_KEY, decide, with_kill_key
from canary_middleware.core.codec import printable
from canary_middleware.core.model import Rollout
from canary_middleware.core.state import Document, Kill
from canary_middleware.stores.protocol import Key, Loaded


class Followed(Protocol):
    """The part of the engine that the agent talks to."""

    document: Document | None
    confirmed_at: float

    @property
    def rollouts(self) -> Sequence[Rollout]:
        """What this process declares."""

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        """Swap the control state in."""

    def confirm(self, now: float) -> None:
        """The store confirmed it at ``now``, monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Restore:
    """What the store lacks: write ``document`` if it still is as ``expected``."""

    expected: Key | None
    document: Document
    why: str


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

    def pushed(self, document: Document) -> bool:
        """Follow a push at once; the answer says whether the store needs a look.

        A push of a foreign lineage may be an old one that was delayed by a fail-over, so only a
        kill in it is taken at its word.
        """
        with self._lock:
            held = self._engine.document
            foreign = held is not None and held.lineage != document.lineage
            if foreign and not document.kills:
                return True
            adoption = decide(held, document)
            self._adopt(adoption.document)
            if not adoption.restore:
                self._engine.confirm(self._clock())
            return adoption.restore or foreign

    def loaded(self, loaded: Loaded, asked_at: float) -> Restore | None:
        """Follow a load; ``asked_at`` is the monotonic time before it."""
        with self._lock:
            # An unreadable state is treated as an absent one, except that nobody overwrites it.
            adoption = decide(self._engine.document, loaded.document)
            document = self._with_kill_key(adoption.document, loaded.kill_key)
            self._adopt(document)
            if loaded.corrupt is not None:
                return None
            self._engine.confirm(asked_at)
        if document is None or document == loaded.document:
            return None
        expected = loaded.document.key if loaded.document else None
        return Restore(expected, document, adoption.note or KILL_KEY)

    def from_disk(self, document: Document | None) -> None:
        """Begin with what an earlier process left behind; nothing confirms it."""
        with self._lock:
            if self._engine.document is None:
                self._adopt(document)

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

    def _with_kill_key(self, document: Document | None, reason: str | None) -> Document | None:
        reason = None if reason is None else printable(reason)
        lineage = secrets.token_hex(8)
        return with_kill_key(document, reason, lineage=lineage, now=self._wall())

    def _adopt(self, document: Document | None) -> None:
        if document != self._engine.document:
            self._engine.adopt(document, self._local_kill)
