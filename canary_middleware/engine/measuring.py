"""The ledgers of this process: what requests leave behind, booked at a fixed age.

Requests only append to queues, which is atomic. One thread, the agent's, books what is old enough
(STATS section 4.4: both versions are looked at at the same age, so that a canary which fails faster
gains and loses nothing) and ships the sums.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.core.gauge import Gauge
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import Cell as Counts
from canary_middleware.core.outcomes import add_counts, merge_observed
from canary_middleware.core.totals import Ledgers, Seen
from canary_middleware.engine.recorder import Recorder, Series
from canary_middleware.engine.sighting import DROPPED, Arrival, Event
from canary_middleware.engine.tally import Question, Tally
from canary_middleware.stores.protocol import First

if TYPE_CHECKING:
    from canary_middleware.core.snapshot import Snapshot
    from canary_middleware.core.verdict import Verdict

WAITING: Final = 65_536
"""Arrivals and events that wait to be booked, each; beyond that they are dropped and counted."""
FIRSTS: Final = 16_384
"""First events that wait for the store; likewise."""

Release = tuple[str, str]
FirstBatch = tuple[str, str, int, list[First]]


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
                if arrival.kind != DROPPED and not self._tally(arrival.gauge).arrival(arrival):
                    self._recorder.count("entries_dropped")
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
                upto = self._booked_upto(release, gate.get(lane.name, 0.0))
                told[release] = self._told(release, run, upto, counts.get(release, ()))
            return told

    def _booked_upto(self, release: Release, gate: float) -> float:
        """Wall-clock seconds before which everything is in the ledgers."""
        tally = self._tallies.get(release)
        oldest = tally.oldest() if tally is not None else None
        waiting = 0.0 if oldest is None else self._clock() - oldest
        return self._wall() - max(gate, waiting)

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

    def questions(self) -> list[Question]:
        """Entries of which the store shall say whether another process booked them."""
        with self._lock:
            return [
                question
                for release, tally in self._tallies.items()
                for question in tally.ask(*release, secrets.token_hex(4))
            ]

    def settle(self, question: Question, firsts: Sequence[bool]) -> None:
        """The store's answer to one of :meth:`questions`."""
        with self._lock:
            tally = self._tallies.get((question.rollout, question.release))
            if tally is not None and tally.gauge.run == question.run:
                tally.settle(question, firsts)

    def overdue(self, rollout: str, seconds: float) -> int:
        """Requests that wait for the start of their answer for longer than that."""
        now = self._clock()
        return sum(
            rollout in visit.exposed and visit.waits(now) > seconds
            for visit in list(self._recorder.running)
        )

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
