"""First events in the memory of one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from canary_middleware.stores.firsts import EVERYBODY, KINDS, LIFE, WATCHED, Count, steps
from canary_middleware.stores.protocol import First


@dataclass(slots=True)
class _Watch:
    """Who is watched for one kind of event, and has had it."""

    limit: int = EVERYBODY
    visitors: set[int] = field(default_factory=set)

    def add(self, visitor: int) -> bool:
        """Whether it is somebody new."""
        if visitor >= self.limit or visitor in self.visitors:
            return False
        self.visitors.add(visitor)
        while len(self.visitors) >= WATCHED:
            self.limit //= 2
            self.visitors = {other for other in self.visitors if other < self.limit}
        return True


@dataclass(slots=True)
class _Run:
    written: float
    watches: dict[str, _Watch] = field(default_factory=dict)
    counts: Counter[Count] = field(default_factory=Counter)

    def add(self, event: First) -> None:
        watch = self.watches.get(event.kind)
        if watch is None:
            if len(self.watches) >= KINDS:
                return
            watch = self.watches[event.kind] = _Watch()
        if watch.add(event.visitor):
            self.counts[event.kind, event.period, event.cohort] += 1


class MemoryFirsts:
    """See :class:`~canary_middleware.stores.protocol.Firsts`."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._runs: dict[tuple[str, str, int], _Run] = {}
        self._firsts_lock = Lock()

    def first(self, rollout: str, release: str, run: int, events: Sequence[First]) -> None:
        """Under one lock."""
        for step in steps(events):
            with self._firsts_lock:
                found = self._present().setdefault((rollout, release, run), _Run(self._wall()))
                found.written = self._wall()
                for event in step:
                    found.add(event)

    def firsts(self, rollout: str, release: str, run: int) -> dict[Count, int]:
        """As they are now."""
        with self._firsts_lock:
            found = self._present().get((rollout, release, run))
            return {} if found is None else dict(found.counts)

    def _present(self) -> dict[tuple[str, str, int], _Run]:
        oldest = self._wall() - LIFE
        self._runs = {place: run for place, run in self._runs.items() if run.written > oldest}
        return self._runs
