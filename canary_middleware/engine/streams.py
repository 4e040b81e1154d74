"""Open streams of a process: which of them belong to a version that has lost their visitor.

A kill gives them ``kill_grace`` seconds, every other move ``drain``. The shells open and close them
here and end them; the engine has them looked at whenever a control state has moved something.
"""

from __future__ import annotations

import logging
from math import inf
from threading import Lock
from typing import TYPE_CHECKING

from canary_middleware.core.draining import lost
from canary_middleware.core.model import Assignment
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.routing import Place
from canary_middleware.core.snapshot import Lane
from canary_middleware.engine.superseding import KILLED

if TYPE_CHECKING:
    from canary_middleware.engine.engine import Engine
    from canary_middleware.engine.visit import Visit

logger = logging.getLogger("canary_middleware")


class Stake:
    """What a stream holds of one rollout.

    Attributes:
        given: the assignment.
        place: where its visitor stands.
        lost_at: monotonic seconds since when another version is the visitor's by a planned move.
        ends_at: monotonic seconds of the end that follows; infinite where none does.
    """

    __slots__ = ("ends_at", "given", "lost_at", "place")

    def __init__(self, given: Assignment, place: Place) -> None:
        self.given = given
        self.place = place
        self.lost_at = inf
        self.ends_at = inf

    def review(self, engine: Engine, lane: Lane, opened: float) -> None:
        """Find out when it ends under the present control state."""
        ready = lane.name not in engine.unready
        if not lost(lane, self.given, self.place, ready=ready):
            self.lost_at = self.ends_at = inf
            return
        settings = engine.settings
        struck = inf
        if lane.gate is KILLED:  # a planned move before it goes on counting, and none begins
            struck = max(engine.killed_at[lane.name], opened)
        elif self.lost_at == inf:
            self.lost_at = engine.clock()
        self.ends_at = min(self.lost_at + settings.drain, struck + settings.kill_grace)


class Stream:
    """One open stream of a visit.

    Attributes:
        visit: whose it is.
        opened: monotonic seconds.
        ends_at: monotonic seconds at which it is to be ended; infinite while nothing is lost.
        stakes: by rollout, what it holds.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.opened = visit.engine.clock()
        self.ends_at = inf
        self.stakes: dict[str, Stake] = {}
        self._registry = visit.engine.streams

    @property
    def over(self) -> bool:
        """Whether its time has come."""
        return self.visit.engine.clock() >= self.ends_at

    @property
    def watched(self) -> bool:
        """Whether it is open."""
        return self in self._registry

    def open(self) -> None:
        """Have it watched from now on, under what was heard already."""
        self._registry.add(self)

    def close(self) -> None:
        """It has ended; nobody watches it any more."""
        self._registry.discard(self)

    def moved(self) -> None:
        """``ends_at`` has changed; may be called in any thread."""

    def review(self) -> None:
        """Find out when it has to end; what it asked for while it was open is found here too."""
        engine, before = self.visit.engine, self.ends_at
        lanes = engine.snapshot.by_name
        ends_at = inf
        for given in [*self.visit.exposed.values()]:
            stake = self.stakes.get(given.rollout)
            if stake is None:
                stake = self.stakes[given.rollout] = Stake(given, self.visit.stands(given))
            stake.review(engine, lanes[given.rollout], self.opened)
            ends_at = min(ends_at, stake.ends_at)
        self.ends_at = ends_at
        if ends_at != before:
            self.moved()


class Streams:
    """All open streams of a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        # They come and go in their own threads and loops: single operations only.
        self._open: dict[Stream, None] = {}

    def __contains__(self, stream: Stream) -> bool:
        return stream in self._open

    def add(self, stream: Stream) -> None:
        """Watch a stream until it is discarded."""
        self._open[stream] = None
        self._review(stream)  # a move may have been heard while it was being opened

    def discard(self, stream: Stream) -> None:
        """Watch it no longer."""
        self._open.pop(stream, None)

    def review(self) -> None:
        """Look at all of them under the newest control state."""
        for stream in [*self._open]:
            self._review(stream)

    def _review(self, stream: Stream) -> None:
        with self._lock:  # so that whoever comes last has seen the newest
            try:
                stream.review()
            except Exception as error:  # what a server or a hook left behind may raise anything
                logger.warning("an open stream did not take in a move", exc_info=error)

    def counts(self, now: float) -> tuple[OpenStreams, ...]:
        """How many are open, by rollout and version.

        Args:
            now: monotonic seconds.
        """
        found: dict[tuple[str, str], list[float]] = {}
        for stream in [*self._open]:
            for given in [*stream.visit.exposed.values()]:
                stake = stream.stakes.get(given.rollout)
                ends_at = inf if stake is None else stake.ends_at
                found.setdefault((given.rollout, given.version), []).append(ends_at)
        return tuple(_counted(*key, ends, now) for key, ends in sorted(found.items()))


def _counted(rollout: str, version: str, ends: list[float], now: float) -> OpenStreams:
    losing = [end for end in ends if end < inf]
    within = max(0.0, max(losing) - now) if losing else None
    return OpenStreams(rollout, version, len(ends), len(losing), within)
