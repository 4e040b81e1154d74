"""Sums over the totals of many processes, kept up to date by what changed, and folded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

from canary_middleware.core.codec_totals import (
    MAX_TOTALS,
    Head,
    add,
    encode_fitting,
    head,
    is_before,
    row,
    split,
)
from canary_middleware.core.gauge import UNKNOWN_GATE
from canary_middleware.core.state import Entry
from canary_middleware.core.totals import Arm, Ledgers, Matured, Pulse, Slot
from canary_middleware.errors import StoreCorruptError

LEEWAY: Final = 1.0
"""Seconds by which the clocks of two processes may differ without harm to matured visitors."""
BREATH: Final = 64
"""Unchanged totals after which other threads get their turn: far below a millisecond."""
FOLDED_AT_ONCE: Final = 100
"""Silent processes in one fold, at most."""


class Shipped(NamedTuple):
    """What one process wrote.

    Attributes:
        boot: its id; ``""`` for the sum of those that are gone.
        data: its totals, encoded.
        living: it is not taken for dead.
    """

    boot: str
    data: bytes
    living: bool


class Part(NamedTuple):
    """The totals of one process.

    Attributes:
        data: encoded.
        head: see there; ``None`` where they cannot be read, and none of them counts.
        why: they cannot be read.
    """

    data: bytes
    head: Head | None = None
    why: str = ""

    def lines(self, run: int) -> frozenset[bytes]:
        """Those that count in a run; made anew, for kept ones cost the garbage collector time."""
        if self.head is None:
            return frozenset()
        lines = self.data.split(b"\n")[1:]
        if self.head.run != run:
            lines = [line for line in lines if is_before(line)]
        return frozenset(lines)


class Fold(NamedTuple):
    """The totals of silent processes as one sum.

    Attributes:
        data: the new sum.
        boots: the totals that are in it, as they were read.
        old: the sum that it replaces; empty for none.
    """

    data: bytes
    boots: Mapping[str, bytes]
    old: bytes


class Sums:
    """The sum of all totals of one run.

    Args:
        breathe: lets other threads have their turn; called so often that less than a millisecond
            of work lies between two calls.

    Attributes:
        total: the sum; ``pulse`` and ``upto`` are those of living processes only.
        unreadable: some living process ships what is no totals.
    """

    def __init__(self, breathe: Callable[[], object]) -> None:
        self._breathe = breathe
        self._run = -1
        self._parts: dict[str, Part] = {}
        self._silent: list[str] = []
        self.total = Ledgers()
        self.unreadable = False

    @property
    def refused(self) -> dict[str, str]:
        """By id of a process, why its totals cannot be read; each is refused as a whole."""
        return {boot: part.why for boot, part in self._parts.items() if part.head is None}

    def update(self, run: int, found: Iterable[Shipped]) -> None:
        """Take in what was read of all processes."""
        if run != self._run:
            self._run, self._parts, self.total = run, {}, Ledgers(run=run)
        self._silent, self.unreadable = [], False
        self.total.pulse, self.total.upto = Pulse(), math.inf
        boots = set()
        for number, one in enumerate(found):
            boots.add(one.boot)
            known = self._parts.get(one.boot)
            if known is None or known.data != one.data:
                self._exchange(one.boot, one.data)
                self._breathe()
            self._look(one)
            if number % BREATH == 0:
                self._breathe()
        for boot in self._parts.keys() - boots:
            self._exchange(boot, None)
        self._breathe()

    def _look(self, one: Shipped) -> None:
        """What counts of the living only."""
        if not one.living:
            if one.boot:
                self._silent.append(one.boot)
            return
        begin = self._parts[one.boot].head
        if begin is None:
            # Nobody knows what it has booked.
            self.unreadable, self.total.upto = True, 0.0
            return
        self.total.upto = min(self.total.upto, begin.upto)
        if begin.run == self._run:
            self.total.pulse.merge(begin.pulse)

    def fold(self, entry: Entry) -> Fold | None:
        """The sum of the silent processes, as last read; ``None`` where there is nothing to do."""
        parts = {boot: self._parts[boot] for boot in self._silent}
        # One that is ahead of us knows of a start that we have not heard of.
        parts = {b: p for b, p in parts.items() if p.head is None or p.head.run <= entry.run}
        boots = {boot: parts[boot].data for boot in [*parts][:FOLDED_AT_ONCE]}
        old = self._parts.get("", Part(b""))
        folded = Ledgers(run=entry.run)
        for part in [old, *(parts[boot] for boot in boots)]:
            for line in part.lines(self._run):
                add(folded, row(line))
            self._breathe()
        folded.slots = _joined(entry, folded.slots, self.total.upto)
        data = encode_fitting(folded)
        return Fold(data, boots, old.data) if boots and len(data) <= MAX_TOTALS else None

    def _exchange(self, boot: str, data: bytes | None) -> None:
        """Take what a process wrote into the sum in place of what it wrote before.

        Only lines that changed are looked at: most of what a process counted lies behind it.
        """
        before = self._parts.pop(boot, Part(b"")).lines(self._run)
        after: frozenset[bytes] = frozenset()
        if data is not None:
            part = self._parts[boot] = _read(data)
            after = part.lines(self._run)
            try:
                rows = [row(line) for line in after - before]
            except StoreCorruptError as error:
                self._parts[boot], after, rows = Part(data, why=str(error)), frozenset(), []
            for one in rows:
                add(self.total, one)
        for line in before - after:
            add(self.total, row(line), -1)


def _read(data: bytes) -> Part:
    try:
        return Part(data, head(split(data)[0]))
    except StoreCorruptError as error:
        return Part(data, why=str(error))


# --- matured visitors ---------------------------------------------------------------------------


def matured(entry: Entry, slots: Mapping[Slot, Matured], upto: float) -> dict[Arm, Matured]:
    """Sums of the slots that are complete (STATS sections 4.2 and 4.5).

    Args:
        entry: the release.
        slots: ledger C.
        upto: wall-clock seconds up to which every living process has booked everything.
    """
    found: dict[Arm, Matured] = {}
    complete = _completeness(entry, upto)
    for slot, one in slots.items():
        if complete(slot):
            found.setdefault(Arm(slot.cell, slot.cohort), Matured()).merge(one)
    return found


def _joined(entry: Entry, slots: Mapping[Slot, Matured], upto: float) -> dict[Slot, Matured]:
    """With the complete ones in slot 0, and without those that never will be."""
    joined: dict[Slot, Matured] = {}
    complete = _completeness(entry, upto)
    for slot, one in slots.items():
        done = complete(slot)
        if done is not None:
            joined.setdefault(slot._replace(number=0) if done else slot, Matured()).merge(one)
    return joined


def _completeness(entry: Entry, upto: float) -> Callable[[Slot], bool | None]:
    """Tells whether all that can belong to a slot was booked; ``None``: its period ended before."""
    ends = {one.revision: after.at for one, after in pairwise(entry.periods)} | {
        one.revision: math.inf for one in entry.periods[-1:]
    }
    since = entry.baseline.since if entry.baseline is not None else 0
    horizon, length = entry.plan.course.horizon, entry.plan.slot

    def complete(slot: Slot) -> bool | None:
        period = slot.cell.period
        ripe = entry.begun + slot.number * length + horizon
        if period not in ends or (slot.number and ripe > ends[period]):
            return None
        # What was to be booked at the age that held before the baseline may come later still.
        late = UNKNOWN_GATE if period < since else LEEWAY
        return not slot.number or upto >= ripe + late

    return complete
