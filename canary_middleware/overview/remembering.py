"""The points of a chart, remembered between two looks: a store is asked for new ones only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Final

from canary_middleware.core.codec_series import decode, head
from canary_middleware.core.model import Cohort
from canary_middleware.core.series import Head, Interval, Point, between, slot_of
from canary_middleware.errors import StoreCorruptError
from canary_middleware.overview.pace import unhurried
from canary_middleware.stores.protocol import SeriesStore
from canary_middleware.stores.series import POINTS

GAP: Final = 60.0
"""Seconds between two points from which on there is a gap: what happened in it is not shown."""
LOOK_BACK: Final = 6
"""Slots that are asked for again: the newest may be written once more, and a new writer's clock may
be a little behind."""
ROLLOUTS: Final = 16
"""Remembered at most."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Of the points of all of them together, but for those of the last one."""

AT_ONCE: Final = 100
"""Points that are gone through in less than a millisecond."""


class Known:
    """The points of one rollout, in the order of time.

    Attributes:
        slots: of each.
        heads: of each.
        size: bytes of all of them.
    """

    def __init__(self, store: SeriesStore, rollout: str) -> None:
        self._store = store
        self._rollout = rollout
        self._data: list[bytes] = []
        self._points: dict[int, Point] = {}
        self._breaks: list[int] = []
        self._spoiled: set[int] = set()
        self.turn = Lock()
        self.slots: list[int] = []
        self.heads: list[Head] = []
        self.size = 0

    @property
    def refused(self) -> int:
        """How many are left out, for they cannot be read."""
        return len(self._spoiled)

    def update(self, until: float) -> None:
        """Ask for what is new.

        Args:
            until: wall-clock seconds, about now; a point from a clock that was ahead of it does not
                hide those that come.

        Raises:
            StoreError: the store does not answer.
        """
        newest = min(self.slots[-1], slot_of(until)) if self.slots else 0
        since = max(0, newest - LOOK_BACK)
        found = self._store.series(self._rollout, since)
        before = self.slots[bisect_right(self.slots, since) :]
        if not {slot for slot, _ in found} >= {*before}:
            # The store has lost what it had.
            since, found = 0, self._store.series(self._rollout)
        self._spoiled = {slot for slot in self._spoiled if slot <= since}
        self._forget(bisect_right(self.slots, since), len(self.slots))
        for slot, data in unhurried(found, AT_ONCE):
            self._take(slot, data)
        self._forget(0, max(0, len(self.slots) - POINTS))
        oldest = self.slots[0] if self.slots else 0
        self._spoiled = {slot for slot in self._spoiled if slot >= oldest}
        places = unhurried(range(len(self.heads)), AT_ONCE)
        self._breaks = [at for at in places if not self._continues(at)]
        self.size = sum(map(len, self._data))

    def follows(self, at: int) -> bool:
        """Whether there is a point here and one before, of the same run and without a gap."""
        place = bisect_left(self._breaks, at)
        return 0 < at < len(self.heads) and self._breaks[place : place + 1] != [at]

    def breaks(self, begin: int, end: int) -> Sequence[int]:
        """Places of points in this range that do not follow those before them."""
        return self._breaks[bisect_left(self._breaks, begin) : bisect_left(self._breaks, end)]

    def between(self, first: int, last: int) -> Interval | None:
        """What happened between two points; ``None`` where that cannot be known."""
        one, other = self._point(first), self._point(last)
        return None if one is None or other is None else between(one, other)

    def cohorts(self) -> dict[str, Cohort]:
        """The versions of the last point, the canary first."""
        last = self._point(len(self.heads) - 1) if self.heads else None
        return {} if last is None else {one.label: one.cohort for one in last.versions}

    def prune(self, used: int) -> None:
        """Forget decoded points where there are more than that: each takes ten kilobytes."""
        for slot in [*self._points][: max(0, len(self._points) - used)]:
            del self._points[slot]

    # --- private --------------------------------------------------------------------------------

    def _forget(self, begin: int, end: int) -> None:
        for slot in self.slots[begin:end]:
            self._points.pop(slot, None)
        for of_each in (self.slots, self._data, self.heads):
            del of_each[begin:end]

    def _take(self, slot: int, data: bytes) -> None:
        try:
            begin = head(slot, data)
        except StoreCorruptError:
            self._spoiled.add(slot)
            return
        self.slots.append(slot)
        self._data.append(data)
        self.heads.append(begin)

    def _continues(self, at: int) -> bool:
        before, after = self.heads[at - 1], self.heads[at]
        return at > 0 and before.run == after.run and 0 < after.at - before.at <= GAP

    def _point(self, at: int) -> Point | None:
        slot = self.slots[at]
        found = self._points.pop(slot, None)
        if found is None:
            try:
                found = decode(slot, self._data[at])
            except StoreCorruptError:
                self._spoiled.add(slot)
                return None
        self._points[slot] = found  # as the last one that was used
        return found


class Remembered:
    """Those that were asked for last; for any number of threads."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._lock = Lock()
        self._known: OrderedDict[str, Known] = OrderedDict()

    @contextmanager
    def known(self, rollout: str, until: float) -> Iterator[Known]:
        """The points of a rollout as they are now, for one thread at a time.

        Raises:
            StoreError: the store does not answer.
        """
        with self._lock:
            found = self._known.pop(rollout, None) or Known(self._store, rollout)
            self._known[rollout] = found
        with found.turn:
            found.update(until)
            yield found
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            size = sum(one.size for one in self._known.values())
            while len(self._known) > 1 and (size > MAX_BYTES or len(self._known) > ROLLOUTS):
                size -= self._known.popitem(last=False)[1].size
