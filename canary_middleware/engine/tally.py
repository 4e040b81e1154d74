"""What one process booked of one run of one release: entries, events, matured visitors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from canary_middleware.core.drill import DRILLED
from canary_middleware.core.gauge import SLOW_KIND, Gauge, Watch
from canary_middleware.core.model import Assignment
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.throw import Cell, Sight
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Slot, bucket_of
from canary_middleware.engine.sighting import FAILED, OPEN, Arrival, Event
from canary_middleware.stores.protocol import Entered, First

REMEMBERED: Final = 8_192
"""Visitors of a release of whom this process knows what it has counted already."""
RIPE: Final = 12
"""Slots after which a slot of the present period has matured everywhere and joins the sum."""
HORIZON: Final = 4
"""Slots in a horizon."""
UNASKED: Final = 16_384
"""Entries that wait to be asked about; beyond that they are dropped and counted. As many may wait
for an answer of the store, and a last question more."""


class Entrance(NamedTuple):
    """An entry that is old enough: who, where, and what it adds.

    Attributes:
        entered: the visitor and the period.
        arm: cell and cohort.
        sight: what the cookie keeps of it.
        begun: monotonic seconds of the request's arrival.
        failed: the answer failed, or did not start within the gate.
        client_error: it was a 4xx.
        bucket: of the latency histogram.
    """

    entered: Entered
    arm: Arm
    sight: Sight
    begun: float
    failed: bool
    client_error: bool
    bucket: int


class Question(NamedTuple):
    """Entries of which the store shall say whether another process booked them.

    Attributes:
        rollout: its name.
        release: canary label.
        run: revision of its start.
        batch: random id, so that the same question is answered alike a second time.
        entrances: what is asked about.
    """

    rollout: str
    release: str
    run: int
    batch: str
    entrances: tuple[Entrance, ...]

    @property
    def entered(self) -> list[Entered]:
        """As the store is asked."""
        return [one.entered for one in self.entrances]


class Tally:
    """What was booked of one run of one release."""

    def __init__(self, gauge: Gauge) -> None:
        self.gauge = gauge
        self.ledgers = Ledgers(run=gauge.run)
        self.firsts: list[First] = []
        self.unasked: list[Entrance] = []
        self.questions: list[Question] = []
        # By unit and period: bits of the matured metrics that were counted, or -1 for the entry.
        self._counted: OrderedDict[tuple[int, int], int] = OrderedDict()

    def arrival(self, arrival: Arrival) -> bool:
        """Book an entry at its age, or ask about it first; whether there was room to ask.

        A coin that was drawn for this very request is nobody else's. Of an older one, parallel
        requests may have entered in several processes, each with the cookie of before.
        """
        gauge, sight = arrival.gauge, arrival.sight
        period = arrival.assignment.period
        if not gauge.per_request and not self._is_first(arrival.unit, period):
            return True  # its cookie came too late for the next request, which was booked as well
        started = 0 <= arrival.start <= gauge.gate
        # However late it is looked at: an answer that starts after the gate was none at the gate.
        late = arrival.kind == OPEN or (arrival.kind >= 0 and arrival.start > gauge.gate)
        entrance = Entrance(
            Entered(arrival.unit, period),
            Arm(sight.cell(gauge.run), arrival.assignment.cohort),
            sight,
            arrival.begun,
            failed=late or arrival.kind in FAILED,
            client_error=arrival.kind == OutcomeClass.CLIENT_ERROR,
            bucket=bucket_of(arrival.start) if started else -1,
        )
        if gauge.per_request or arrival.sole:
            self.enter(entrance)
        elif len(self.unasked) < UNASKED:
            self.unasked.append(entrance)
        else:
            return False
        return True

    def enter(self, entrance: Entrance) -> None:
        """Book an entry that nobody else did."""
        arm = entrance.arm
        entries = self.ledgers.entries.get(arm)
        if entries is None:
            entries = self.ledgers.entries[arm] = Entries()
        entries.n += 1
        entries.failures += entrance.failed
        entries.client_errors += entrance.client_error
        entries.latency[entrance.bucket] += 1
        if not self.gauge.per_request:
            self._matured(arm, entrance.sight).n += 1

    def ask(self, rollout: str, release: str, batch: str) -> list[Question]:
        """What the store has not answered yet; each stays until :meth:`settle`.

        Of a store that refuses them no more is asked than is kept, so that nothing grows for ever.
        """
        waiting = sum(len(question.entrances) for question in self.questions)
        if self.unasked and waiting < UNASKED:
            run, asked = self.gauge.run, tuple(self.unasked)
            self.questions.append(Question(rollout, release, run, batch, asked))
            self.unasked = []
        return list(self.questions)

    def settle(self, question: Question, firsts: Sequence[bool]) -> None:
        """Book those of a question that are the first of their visitor and period."""
        if question in self.questions:
            self.questions.remove(question)
            for entrance, first in zip(question.entrances, firsts, strict=True):
                if first:
                    self.enter(entrance)

    def oldest(self) -> float | None:
        """Monotonic seconds of the oldest entry that waits for the store's word."""
        waiting = [one.entrances[0].begun for one in self.questions]
        waiting += [one.begun for one in self.unasked[:1]]
        return min(waiting, default=None)

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

    def _is_first(self, unit: int, period: int) -> bool:
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
