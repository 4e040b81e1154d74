"""What happened in this process, in plain counters that any thread may read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple, Protocol

from canary_middleware.core.model import Assignment, Cohort, Reason
from canary_middleware.core.outcomes import Cell, OutcomeClass
from canary_middleware.core.rescue import within_budget

logger = logging.getLogger("canary_middleware")

MAX_PLACES: Final = 256
"""Places of which the first fault is logged; beyond that faults are only counted."""


@dataclass(frozen=True, slots=True)
class Series:
    """What a cell is counted by: bounded by configuration, never by what visitors send."""

    rollout: str
    release: str
    cohort: Cohort
    version: str


MAX_CELLS: Final = 1024
"""Cells kept: far more than the rollouts of a process have sides and periods in its life."""


class Evidence(NamedTuple):
    """What a judge may count by: outcomes of different periods never mix.

    Attributes:
        series: of the rollout.
        period: in which the arm was drawn.
    """

    series: Series
    period: int


class Running(Protocol):
    """A visit with exposures that has not ended."""

    def look(self, now: float) -> None:
        """Notice that its answer is overdue; ``now`` in monotonic seconds."""

    def waits(self, now: float) -> float:
        """Seconds for which its answer has not started, but for those that the client took."""

    @property
    def exposed(self) -> Mapping[str, Assignment]:
        """Its assignments by rollout."""


class Recorder:
    """Counts exposures and outcomes. One per process: after a fork the child starts its own.

    Attributes:
        running: visits under way, by identity. Single dictionary operations are atomic in CPython,
            so requests add and remove themselves without a lock.
        events: rare things by name: late exposures, rescues, refused cookies, errors of hooks.
    """

    def __init__(self) -> None:
        self.running: dict[Running, None] = {}
        self.events: Counter[str] = Counter()
        self._lock = Lock()
        # What is no evidence (testers, overrides, kills, ...) has no period.
        self._cells: dict[tuple[Series, int | None], Cell] = {}
        # Assignments are prebuilt per snapshot, so their identity finds the cell without hashing
        # four strings; emptied when snapshots have replaced enough of them.
        self._of: dict[Assignment, Cell] = {}
        self._rescuing = 0

    def end(
        self,
        exposed: Iterable[Assignment],
        kind: OutcomeClass,
        seconds: float,
        start: float = -1.0,
    ) -> None:
        """The request of these exposures ended.

        Args:
            exposed: what mattered.
            kind: how it ended.
            seconds: how long it took.
            start: seconds until its answer started; negative if it never did.
        """
        cells = self._of
        self._lock.acquire()  # at half the cost of `with`, once per exposed request
        try:
            for assignment in exposed:
                (cells.get(assignment) or self._find(assignment)).add(kind, seconds, start)
        finally:
            self._lock.release()

    def observe(self, assignment: Assignment, name: str, times: int, bad: int) -> None:
        """A guard's declared metric was observed in one more request of this exposure."""
        with self._lock:
            cell = self._of.get(assignment) or self._find(assignment)
            both = cell.observed.setdefault(name, [0, 0])
            both[0] += times
            both[1] += bad

    def _find(self, assignment: Assignment) -> Cell:
        if len(self._of) > 4096:
            self._of.clear()
        cell = self._of[assignment] = self._cell(assignment)
        return cell

    def _cell(self, assignment: Assignment) -> Cell:
        if assignment.reason is Reason.NO_VISITOR:
            # Stable for want of a cookie, whatever the own version is: no outcome.
            return Cell()
        series = Series(
            assignment.rollout, assignment.release, assignment.cohort, assignment.version
        )
        if not assignment.measured:
            return self._cells.setdefault((series, None), Cell())
        if len(self._cells) >= MAX_CELLS:
            self._fold()
        return self._cells.setdefault((series, assignment.period), Cell())

    def _fold(self) -> None:
        """Give up the evidence of the older half of all periods; telemetry loses nothing."""
        periods = sorted({period for _, period in self._cells if period is not None})
        for series, period in list(self._cells):
            if period is not None and period < periods[len(periods) // 2]:
                gone = self._cells.pop((series, period))
                self._cells.setdefault((series, None), Cell()).merge(gone)
        self._of.clear()  # it leads to cells that are gone

    def enter_rescue(self, share: int) -> bool:
        """Take a place in the rescue budget, if there is one; :meth:`leave_rescue` frees it."""
        with self._lock:
            allowed = within_budget(self._rescuing, len(self.running), share)
            self._rescuing += allowed
            self.events["rescues" if allowed else "rescues_over_budget"] += 1
        return allowed

    def leave_rescue(self) -> None:
        """The second run of a rescued request ended."""
        with self._lock:
            self._rescuing -= 1

    def count(self, event: str, times: int = 1) -> None:
        """Count a rare event."""
        with self._lock:
            self.events[event] += times

    def cells(self) -> dict[Series, Cell]:
        """Everything that was counted, by series; for telemetry."""
        merged: dict[Series, Cell] = {}
        with self._lock:
            for (series, _), cell in self._cells.items():
                merged.setdefault(series, Cell()).merge(cell)
        return merged

    def all_cells(self) -> list[tuple[Series, int | None, Cell]]:
        """What was counted, by series and period; the cells themselves go on counting."""
        with self._lock:
            return [(series, period, cell) for (series, period), cell in self._cells.items()]

    def forget_evidence(self, rollout: str, release: str) -> None:
        """Begin the periods of a release at 0; telemetry loses nothing."""
        with self._lock:
            for series, period in list(self._cells):
                if period is not None and (series.rollout, series.release) == (rollout, release):
                    gone = self._cells.pop((series, period))
                    self._cells.setdefault((series, None), Cell()).merge(gone)
            self._of.clear()

    def evidence(self) -> dict[Evidence, Cell]:
        """What was drawn by bucket at a known weight; the cells themselves go on counting."""
        with self._lock:
            return {
                Evidence(series, period): cell
                for (series, period), cell in self._cells.items()
                if period is not None
            }

    def in_flight(self) -> Counter[Series]:
        """Exposures that have not ended, by series."""
        return Counter(
            Series(found.rollout, found.release, found.cohort, found.version)
            for visit in list(self.running)
            for found in list(visit.exposed.values())
        )


class Faults:
    """The guard around all that is the user's or the network's: counted, logged once, stable.

    Args:
        debug: raise instead, so that a test or a developer sees the mistake where it happens.
    """

    def __init__(self, recorder: Recorder, *, debug: bool) -> None:
        self._recorder = recorder
        self._debug = debug
        self._seen: set[str] = set()

    def report(self, place: str, error: BaseException) -> None:
        """Note a failure of ``place`` (one of a fixed set of words)."""
        self._recorder.count(f"error_{place}")
        if self._debug:
            raise error
        if self._first(place):
            logger.error("%s failed; stable is served (logged once)", place, exc_info=error)

    def warn(self, place: str, message: str, *args: object) -> None:
        """Note something that the user should change; logged once per place."""
        self._recorder.count(place.partition(":")[0])
        if self._first(place):
            logger.warning(message, *args)

    def _first(self, place: str) -> bool:
        # Bounded: a place can hold a name that the application took from a visitor.
        if place in self._seen or len(self._seen) >= MAX_PLACES:
            return False
        self._seen.add(place)
        return True
