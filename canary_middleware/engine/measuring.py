"""The ledgers of this process: what requests leave behind, booked at a fixed age.

Requests only append to queues, which is atomic. One thread, the agent's, books what is old enough
(STATS section 4.4: both versions are looked at at the same age, so that a canary which fails faster
gains and loses nothing) and ships the sums.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.core.drill import DRILLED
from canary_middleware.core.gauge import SLOW_KIND, Gauge, Watch
from canary_middleware.core.model import Assignment, Cohort
from canary_middleware.core.outcomes import Cell as Counts
from canary_middleware.core.outcomes import OutcomeClass, add_counts, merge_observed
from canary_middleware.core.throw import Cell, Sight
from canary_middleware.core.totals import (
    Arm,
    Entries,
    Ledgers,
    Matured,
    Seen,
    Slot,
    bucket_of,
)
from canary_middleware.engine.recorder import Recorder, Series
from canary_middleware.engine.sighting import DROPPED, FAILED, OPEN, Arrival, Event
from canary_middleware.stores.protocol import First

if TYPE_CHECKING:
    from canary_middleware.core.snapshot import Snapshot
    from canary_middleware.core.verdict import Verdict

WAITING: Final = 65_536
"""Arrivals and events that wait to be booked, each; beyond that they are dropped and counted."""
FIRSTS: Final = 16_384
"""First events that wait for the store; likewise."""
REMEMBERED: Final = 8_192
"""Visitors of a release of whom this process knows what it has counted already."""
RIPE: Final = 12
"""Slots after which a slot of the present period has matured everywhere and joins the sum."""
HORIZON: Final = 4
"""Slots in a horizon."""

Release = tuple[str, str]
FirstBatch = tuple[str, str, int, list[First]]


class Tally:
    """What was booked of one run of one release."""

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self.ledgers = Ledgers(run=gauge.run)
        self.firsts: list[First] = []
        # By unit and period: bits of the matured metrics that were counted, or -1 for the entry.
        self._counted: OrderedDict[tuple[int, int], int] = OrderedDict()

    def arrival(self, arrival: Arrival) -> None:
        """Book an entry at its age."""
        gauge, sight = arrival.gauge, arrival.sight
        period = arrival.assignment.period
        if not gauge.per_request and not self._enter(arrival.unit, period):
            return  # its cookie came too late for the next request, which was booked as well
        arm = Arm(sight.cell(gauge.run), arrival.assignment.cohort)
        entries = self.ledgers.entries.get(arm)
        if entries is None:
            entries = self.ledgers.entries[arm] = Entries()
        entries.n += 1
        started = 0 <= arrival.start <= gauge.gate
        # However late it is looked at: an answer that starts after the gate was none at the gate.
        late = arrival.kind == OPEN or (arrival.kind >= 0 and arrival.start > gauge.gate)
        entries.failures += late or arrival.kind in FAILED
        entries.client_errors += arrival.kind == OutcomeClass.CLIENT_ERROR
        entries.latency[bucket_of(arrival.start) if started else -1] += 1
        if not gauge.per_request:
            self._matured(arm, sight).n += 1

    def event(self, event: Event) -> Iterator[tuple[str, int, int]]:
        """Book an event; yields what was observed, for display: guard, 1, whether it was bad."""
        gauge = event.gauge
        if event.failed:
            self._first("failures", event)
        if event.slow:
            self._first(SLOW_KIND, event)
        if event.drilled:
            self._first(DRILLED, event)
        hits = _followed(event)
        for name, total in event.observed.items():
            told = event.told.get(name)
            for watch in gauge.watches.get(name, ()):
                bad = watch.bad(total)
                if bad:
                    self._first(watch.guard.name, event)
                if (bucket := _bucket(watch, total, told, gauge)) is not None:
                    hits[watch.guard.name] = (1 << watch.bit, bucket)
                yield watch.guard.name, int(told is None), int(bad and not watch.bad(told or 0))
        if hits and gauge.per_request:
            self._hit_at_once(event.assignment, hits)
        elif hits and event.sight is not None and event.sight.counted:
            self._hit(event, event.sight, hits)

    def _first(self, kind: str, event: Event) -> None:
        one = event.assignment
        # One that was drawn in an earlier run would not count, and hide a later one that does.
        if event.gauge.per_request or one.period < event.gauge.run:
            return
        self.firsts.append(First(kind, event.unit, one.period, one.cohort))

    def _enter(self, unit: int, period: int) -> bool:
        place = unit, period
        if self._counted.get(place, 0) < 0:
            return False
        self._remember(place, -1)
        return True

    def _hit(self, event: Event, sight: Sight, hits: Mapping[str, tuple[int, int]]) -> None:
        """Within the horizon of the entry, once per visitor, period and metric."""
        gauge = event.gauge
        cell = sight.cell(gauge.run)
        weight = gauge.weights.get(cell.period)
        if weight is None or not cell.interval.throws(weight):
            return
        if gauge.slot_at(event.wall) > sight.entry + HORIZON:
            return
        place = ~event.unit, cell.period
        counted = self._counted.get(place, 0) | sight.seen
        matured = self._matured(Arm(cell, event.assignment.cohort), sight)
        for name, (bit, bucket) in hits.items():
            if counted & bit:
                continue
            matured.add(name, bucket)
            counted |= bit
        self._remember(place, counted)

    def _hit_at_once(self, assignment: Assignment, hits: Mapping[str, tuple[int, int]]) -> None:
        """A request of its own: nothing matures, and how many there were the entries say."""
        slot = Slot(Cell(assignment.period), assignment.cohort, 0)
        matured = self.ledgers.slots.setdefault(slot, Matured())
        for name, (_, bucket) in hits.items():
            matured.add(name, bucket)

    def _matured(self, arm: Arm, sight: Sight) -> Matured:
        slot = Slot(arm.cell, arm.cohort, sight.entry)
        found = self.ledgers.slots.get(slot)
        if found is None:
            found = self.ledgers.slots[slot] = Matured()
        return found

    def _remember(self, place: tuple[int, int], value: int) -> None:
        self._counted[place] = value
        if len(self._counted) > 2 * REMEMBERED:
            self._counted.popitem(last=False)

    def fold(self, wall: float) -> None:
        """Join slots that matured long ago and drop what never will, so that their number stays."""
        now, slots = self.gauge.slot_at(wall), self.ledgers.slots
        for slot in list(slots):
            if not self.gauge.matures(slot):
                del slots[slot]
            elif 0 < slot.number < now - RIPE:
                gone = slots.pop(slot)
                slots.setdefault(slot._replace(number=0), Matured()).merge(gone)


def _followed(event: Event) -> dict[str, tuple[int, int]]:
    """What a visitor counts for beside what is observed; of a request of its own, entries tell."""
    gauge = event.gauge
    if gauge.per_request:
        return {}
    hits = dict.fromkeys(gauge.failing, (gauge.failures, 0)) if event.failed else {}
    return hits | dict.fromkeys(gauge.returning, (gauge.returned, 0)) if event.again else hits


def _bucket(watch: Watch, total: float, told: float | None, gauge: Gauge) -> int | None:
    """What an observation counts as; where nobody is followed, each request counts once."""
    if gauge.per_request and told is not None and watch.hit(told) is not None:
        return None
    return watch.hit(total)


class Measuring:
    """The ledgers of all releases of this process.

    Args:
        recorder: counts requests, evidence or not.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        snapshot: the present one.

    Attributes:
        verdicts: by rollout and release, what the judge said when this process last asked.
    """

    def __init__(
        self,
        recorder: Recorder,
        clock: Callable[[], float],
        wall: Callable[[], float],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._wall = wall
        self._snapshot = snapshot
        # By gate, so that what is oldest in a queue is due first.
        self._arrivals: dict[float, deque[Arrival]] = {}
        self._events: dict[float, deque[Event]] = {}
        self._tallies: dict[Release, Tally] = {}
        self.verdicts: dict[Release, Verdict] = {}
        self._lock = Lock()

    # --- on the request path ---------------------------------------------------------------------

    def arrived(self, arrival: Arrival) -> None:
        """A visitor was put on a side by the coin for the first time in this period."""
        _append(self._arrivals, arrival.gauge.gate, arrival, self._recorder)

    def happened(self, event: Event) -> None:
        """Something that may count."""
        # What a drill hit is due at once, and must not wait behind what is not.
        gate = 0.0 if event.drilled else event.gauge.gate
        _append(self._events, gate, event, self._recorder)

    # --- in the agent's thread -------------------------------------------------------------------

    def book(self, now: float | None = None) -> None:
        """Book everything that is old enough.

        Args:
            now: monotonic seconds.
        """
        now = self._clock() if now is None else now
        with self._lock:
            self._overdue(now)
            self._book_arrivals(now)
            self._book_events(now)
            for tally in self._tallies.values():
                tally.fold(self._wall())

    def _overdue(self, now: float) -> None:
        """Requests whose answer does not start: failures at the gate, time-outs at the time-out."""
        for visit in list(self._recorder.running):
            visit.look(now)

    def _book_arrivals(self, now: float) -> None:
        for gate, arrivals in list(self._arrivals.items()):
            done = 0
            while arrivals and now >= arrivals[0].begun + gate:
                arrival = arrivals.popleft()
                if arrival.kind != DROPPED:
                    self._tally(arrival.gauge).arrival(arrival)
                done = _breathe(done)

    def _book_events(self, now: float) -> None:
        for events in list(self._events.values()):
            done = 0
            while events and now >= events[0].due:
                self._book_event(events.popleft())
                done = _breathe(done)

    def _book_event(self, event: Event) -> None:
        tally = self._tally(event.gauge)
        for name, times, bad in tally.event(event):
            self._recorder.observe(event.assignment, name, times, bad)
        if len(tally.firsts) > FIRSTS:
            self._recorder.count("firsts_dropped", len(tally.firsts) - FIRSTS)
            del tally.firsts[FIRSTS:]

    def _tally(self, gauge: Gauge) -> Tally:
        release = gauge.rollout, gauge.release
        tally = self._tallies.get(release)
        if tally is not None and gauge.run < tally.gauge.run:
            return Tally(gauge)  # what is left of an earlier run counts no more, in no ledger
        if tally is None or tally.gauge.run < gauge.run:
            tally = self._tallies[release] = Tally(gauge)
        elif max(tally.gauge.weights, default=0) < max(gauge.weights, default=0):
            tally.gauge = gauge
        return tally

    def ledgers(self) -> dict[Release, Ledgers]:
        """This process's cumulative totals of all declared releases; a copy."""
        snapshot = self._snapshot()
        gate = {lane.name: lane.gauge.gate for lane in snapshot.lanes if lane.gauge is not None}
        counts: dict[Release, list[tuple[Series, int | None, Counts]]] = {}
        for series, period, cell in self._recorder.all_cells():
            counts.setdefault((series.rollout, series.release), []).append((series, period, cell))
        with self._lock:
            told = {}
            for lane in snapshot.lanes:
                release = lane.name, lane.track.rollout.canary
                run = lane.entry.run if lane.entry is not None else 0
                upto = self._wall() - gate.get(lane.name, 0.0)
                told[release] = self._told(release, run, upto, counts.get(release, ()))
            return told

    def _told(
        self,
        release: Release,
        run: int,
        upto: float,
        counts: Iterable[tuple[Series, int | None, Counts]],
    ) -> Ledgers:
        tally = self._tallies.get(release)
        ledgers = Ledgers(run=run, upto=max(0.0, upto))
        if tally is not None and tally.gauge.run == run:
            ledgers.merge(replace(tally.ledgers, upto=ledgers.upto))
        for series, period, cell in counts:
            if period is None:
                if series.cohort is Cohort.STABLE:
                    add_counts(ledgers.before, cell.starts)
            elif period >= run:
                seen = ledgers.seen.setdefault(series.cohort, Seen())
                seen.kinds = [a + b for a, b in zip(seen.kinds, cell.counts, strict=True)]
                add_counts(seen.starts, cell.starts)
                merge_observed(seen.observed, cell.observed)
        return ledgers

    def take_firsts(self) -> list[FirstBatch]:
        """First events that the store has not been told of; :meth:`put_back` what it refused."""
        with self._lock:
            taken = [
                (*release, tally.gauge.run, tally.firsts)
                for release, tally in self._tallies.items()
                if tally.firsts
            ]
            for tally in self._tallies.values():
                tally.firsts = []
        return taken

    def put_back(self, batch: FirstBatch) -> None:
        """The store did not take these."""
        rollout, release, run, firsts = batch
        with self._lock:
            tally = self._tallies.get((rollout, release))
            if tally is not None and tally.gauge.run == run:
                tally.firsts = (firsts + tally.firsts)[:FIRSTS]

    def judged(self, rollout: str, release: str, verdict: Verdict) -> None:
        """What the judge says of all processes together; for telemetry."""
        self.verdicts[rollout, release] = verdict

    def restart(self, rollout: str, release: str) -> None:
        """Begin at 0: what was told of this release is in a sum, under an id that is closed."""
        with self._lock:
            tally = self._tallies.get((rollout, release))
            if tally is not None:
                # First events that wait are in no sum, and who was counted was counted.
                tally.ledgers = Ledgers(run=tally.gauge.run)
            self._recorder.forget_evidence(rollout, release)


BREATH: Final = 256
"""Bookings after which other threads get their turn: well below a millisecond."""


def _breathe(done: int) -> int:
    if done < BREATH:
        return done + 1
    time.sleep(0)
    return 0


def _append(queues: dict[float, deque[Any]], gate: float, item: object, recorder: Recorder) -> None:
    queue = queues.get(gate)
    if queue is None:
        queue = queues.setdefault(gate, deque())
    if len(queue) < WAITING:
        queue.append(item)
    else:
        recorder.count("measuring_full")
