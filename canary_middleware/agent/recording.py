"""Writes a point of the chart of each rollout every ten seconds: one process does, for all of them.

Counts are cumulative and a slot has one point. So it does no harm if two processes take themselves
for the one, and when it dies the next one goes on where it was.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol, runtime_checkable

from canary_middleware.agent.troubles import Attempts, Troubles
from canary_middleware.core.codec_series import encode
from canary_middleware.core.guards import Metric
from canary_middleware.core.merging import Shipped, Sums
from canary_middleware.core.series import Point, between, point, slot_of
from canary_middleware.core.state import ACTIVE, Document, Entry, Phase
from canary_middleware.core.totals import Ledgers
from canary_middleware.measures import SILENT, WATCHERS
from canary_middleware.stores.protocol import Lease, SeriesStore, TotalsStore

logger = logging.getLogger("canary_middleware")

WHAT: Final = "series"
"""Name of the lease: who leads has other things to do, and there is something to record when nobody
leads any more, as after a promotion."""
LASTS: Final = 6.0
"""Seconds that the lease lasts."""
RENEW_EVERY: Final = 2.0
"""Seconds between two renewals of it."""
ASK_EVERY: Final = 5.0
"""Seconds between two questions of one of a few who do not have it, more or less."""
LONGEST_PAUSE: Final = 24.0
"""Seconds of it, among however many: after a death the next one records within half a minute."""
AT_ONCE: Final = 0.1
"""Seconds after which no other rollout is begun in a turn: judging comes next."""
SETTLES: Final = 10.0
"""Seconds in which the totals of all processes are back in a store that has lost them."""

_DRAWN: Final = (b'["seen"', b'["slot"')
"""Beginnings of lines of totals; the second kind has the values of means."""
RECORDED: Final = ACTIVE | {Phase.PROMOTED, Phase.ROLLED_BACK}
"""Phases that a person on call looks at; of ended releases for as long as the rollback window."""


@runtime_checkable
class RecordedStore(TotalsStore, Lease, SeriesStore, Protocol):
    """A store that has what is recorded, and keeps it."""


class Recording:
    """Body of a turn, after everything that is more urgent.

    Args:
        store: where totals are read, and points written.
        owner: random id of this process.
        followed: the document that is followed now.
        troubles: tells what fails.
        count: counts a rare event; see docs/telemetry.md.
        clock: monotonic seconds.
        wall: wall-clock seconds.
    """

    def __init__(
        self,
        store: RecordedStore,
        *,
        owner: str,
        followed: Callable[[], Document | None],
        troubles: Troubles,
        count: Callable[[str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._owner = owner
        self._followed = followed
        self._troubles = troubles
        self._count = count
        self._clock = clock
        self._wall = wall
        self._attempts = partial(Attempts, troubles=troubles, count=count, clock=clock)
        self._lease = self._attempts("charts: the lease")
        self._series: dict[str, _Series] = {}
        self._ask_at = self._until = -math.inf

    def turn(self, processes: int = 1) -> None:
        """Write the points that are due; the more others there are, the more rarely it asks."""
        self._guarded(partial(self._turn, processes))

    def leave(self) -> None:
        """Nothing is to be recorded, or this process ends."""
        self._guarded(self._leave)

    # --- private --------------------------------------------------------------------------------

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # whatever it is, a chart must not keep anybody from judging
            logger.debug("recording", exc_info=error)
            self._count("error_recording")
            self._troubles.begin("charts", repr(error))

    def _turn(self, processes: int) -> None:
        document, began = self._followed(), self._clock()
        work = dict(recorded(document, self._wall()))
        self._series = {name: one for name, one in self._series.items() if name in work}
        if document is None or not work:
            self._leave()
            return
        if not self._held(began, processes):
            return
        slot = slot_of(self._wall())
        for name, entry in sorted(work.items(), key=lambda found: self._tried(found[0])):
            late = self._clock() - began > AT_ONCE
            # What one store refuses of one rollout it may refuse slowly of all of them.
            if late or self._tried(name) >= slot or not self._allowed:
                return
            self._write(name, entry, killed=document.killed(name) is not None)

    def _leave(self) -> None:
        if self._clock() < self._until:
            self._lease.make(lambda: self._store.release(self._owner, of=WHAT))
        self._ask_at = self._until = -math.inf

    def _held(self, now: float, processes: int) -> bool:
        """Whether this process records; asks now and then."""
        if now >= self._ask_at:
            answers: list[bool] = []
            self._lease.make(lambda: answers.append(self._store.hold(self._owner, LASTS, of=WHAT)))
            if True in answers:
                self._until, self._ask_at = now + LASTS, now + RENEW_EVERY
            elif False in answers:
                pause = min(ASK_EVERY * max(1.0, processes / WATCHERS), LONGEST_PAUSE)
                self._until, self._ask_at = -math.inf, now + pause * random.uniform(0.7, 1.0)
        return now < self._until

    @property
    def _allowed(self) -> bool:
        return all(one.attempts.allowed for one in self._series.values())

    def _tried(self, name: str) -> int:
        found = self._series.get(name)
        return -1 if found is None else found.tried

    def _write(self, name: str, entry: Entry, *, killed: bool) -> None:
        one = self._series.get(name)
        if one is None:
            one = self._series[name] = _Series(
                self._store, name, self._attempts(f"chart of {name}")
            )
        write = partial(one.write, entry, self._wall(), self._clock(), killed=killed)
        if one.attempts.make(write):
            self._troubles.end("charts")


class _Series:
    """What is remembered of one rollout between two points.

    Attributes:
        attempts: to write one.
        tried: the slot for which a point was written last, or failed.
    """

    def __init__(self, store: RecordedStore, name: str, attempts: Attempts) -> None:
        self.attempts = attempts
        self._store = store
        self._name = name
        self._release = ""
        self._sums = Sums(_next_thread)
        self._last: Point | None = None
        self._fell_at = math.inf
        self.tried = -1

    def write(self, entry: Entry, wall: float, now: float, *, killed: bool) -> None:
        """Write a point.

        Raises:
            StoreError: the store does not answer, or refuses it.
        """
        slot = slot_of(wall)
        before, self.tried = self.tried, slot
        found = point(entry, self._ledgers(entry), wall, killed=killed)
        if self._is_settling(found, now):
            self.tried = before
            return
        self._store.append(self._name, slot, encode(found))
        self._last = found

    def _ledgers(self, entry: Entry) -> Ledgers:
        if self._release != entry.release:
            self._release, self._sums = entry.release, Sums(_next_thread)
        kinds = _DRAWN if any(one.metric is Metric.MEAN for one in entry.guards) else _DRAWN[:1]
        self._sums.update(entry.run, (
            Shipped(boot, _drawn(data, kinds), living=bool(boot) and age <= SILENT)
            for boot, data, age in self._store.read(self._name, entry.release)
        ))  # fmt: skip
        return self._sums.total

    def _is_settling(self, found: Point, now: float) -> bool:
        """Whether the store has less than it had: the next point would make a peak of the rest."""
        if self._last is None or not fell(self._last, found):
            self._fell_at = math.inf
            return False
        self._fell_at = min(self._fell_at, now)
        return now - self._fell_at < SETTLES


def fell(before: Point, after: Point) -> bool:
    """Whether something that was counted in a run is counted no more."""
    found = between(before, after)
    return found is not None and not {one.label for one in before.versions} <= found.versions.keys()


def recorded(document: Document | None, now: float) -> Iterator[tuple[str, Entry]]:
    """The current releases that are on their way, or ended within their rollback window."""
    if document is None:
        return
    for name, state in document.rollouts.items():
        entry = document.entry(name, state.current) if state.current is not None else None
        if entry is None:
            continue
        kill = document.killed(name)
        if kill is not None:
            ended_at = max(kill.at, entry.since)
        else:
            ended_at = math.inf if entry.phase in ACTIVE else entry.since
        if entry.phase in RECORDED and now <= ended_at + entry.plan.rollback_window:
            yield name, entry


def _drawn(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """The lines that a chart is drawn of: of 1,000 processes the others take half a second."""
    first, *lines = data.split(b"\n")
    return b"\n".join([first, *(line for line in lines if line.startswith(kinds))])


def _next_thread() -> None:
    time.sleep(0)
