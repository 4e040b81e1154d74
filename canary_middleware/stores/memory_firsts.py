"""First events in the memory of one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from canary_middleware.stores.firsts import (
    ENTERED,
    ENTERED_LIFE,
    EVERYBODY,
    KINDS,
    LIFE,
    WATCHED,
    Count,
    entrances,
    steps,
)
from canary_middleware.stores.protocol import Entered, First


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


@dataclass(slots=True)
class _Told:
    """Who told of an entry first: the latest ones, and those before."""

    written: float
    latest: dict[Entered, str] = field(default_factory=dict)
    before: dict[Entered, str] = field(default_factory=dict)

    def enter(self, entry: Entered, batch: str) -> bool:
        told = self.latest.get(entry) or self.before.get(entry)
        if told is None:
            self.latest[entry] = batch
            if len(self.latest) >= ENTERED:
                self.latest, self.before = {}, self.latest
        return told in (None, batch)


class MemoryFirsts:
    """See :class:`~canary_middleware.stores.protocol.Firsts`."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._runs: dict[tuple[str, str, int], _Run] = {}
        self._entered: dict[tuple[str, str, int], _Told] = {}
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

    def enter(
        self, rollout: str, release: str, run: int, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        """Under one lock."""
        answers: list[bool] = []
        for step in entrances(batch, entries):
            with self._firsts_lock:
                now = self._wall()
                told = self._entered.get((rollout, release, run))
                if told is None:
                    oldest = now - ENTERED_LIFE
                    kept = {p: t for p, t in self._entered.items() if t.written > oldest}
                    told = kept[rollout, release, run] = _Told(now)
                    self._entered = kept
                told.written = now
                answers += [told.enter(entry, batch) for entry in step]
        return answers

    def _present(self) -> dict[tuple[str, str, int], _Run]:
        oldest = self._wall() - LIFE
        self._runs = {place: run for place, run in self._runs.items() if run.written > oldest}
        return self._runs
