from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from canary_middleware.core.model import Assignment, Cohort, Reason
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.rescue import FLOOR
from canary_middleware.engine.recorder import MAX_CELLS, MAX_PLACES, Faults, Recorder, Series

CANARY = Assignment("checkout", "2", Cohort.CANARY, "2", Reason.WEIGHT)
STABLE = Assignment("checkout", "2", Cohort.STABLE, "1", Reason.WEIGHT)
SERIES = Series("checkout", "2", Cohort.CANARY, "2")


@dataclass(eq=False)
class Request:
    exposed: Mapping[str, Assignment]

    def waits(self, now: float) -> float:
        return now

    def look(self, now: float) -> None:
        """Nothing here is overdue."""


def test_outcomes_by_series() -> None:
    recorder = Recorder()
    recorder.end([CANARY], OutcomeClass.SUCCESS, 0.5)
    recorder.end([CANARY, STABLE], OutcomeClass.SERVER_ERROR, 0.25)
    recorder.end([], OutcomeClass.SUCCESS, 9.0)
    cells = recorder.cells()
    assert set(cells) == {SERIES, Series("checkout", "2", Cohort.STABLE, "1")}
    assert cells[SERIES].total == 2
    assert cells[SERIES].seconds == 0.75


def test_assignments_of_many_snapshots_share_one_cell() -> None:
    """S23: a long life with many changes of state costs nothing but a bounded index."""
    recorder = Recorder()
    for period in range(10_000):
        drawn = replace(CANARY, period=period, measured=period % 2 == 0)
        recorder.end([drawn], OutcomeClass.SUCCESS, 0.0)
    recorder.end([CANARY], OutcomeClass.SUCCESS, 0.0)
    assert [cell.total for cell in recorder.cells().values()] == [10_001]
    kept = {found.period for found in recorder.evidence()}
    assert len(kept) <= MAX_CELLS
    assert kept == set(range(min(kept), 10_000, 2)), "the newest periods are kept"


def test_the_copy_of_the_index_is_the_readers_own() -> None:
    recorder = Recorder()
    recorder.end([CANARY], OutcomeClass.SUCCESS, 0.0)
    recorder.cells().clear()
    assert recorder.cells()[SERIES].total == 1


def test_in_flight_counts_every_exposure_of_running_requests() -> None:
    recorder = Recorder()
    one, two = Request({"checkout": CANARY, "search": STABLE}), Request({"checkout": CANARY})
    recorder.running.update({one: None, two: None})
    assert recorder.in_flight()[SERIES] == 2
    del recorder.running[one]
    assert recorder.in_flight() == {SERIES: 1}


def test_threads_lose_nothing() -> None:
    recorder = Recorder()

    def work(number: int) -> None:
        recorder.end([CANARY, STABLE], OutcomeClass.SUCCESS, 1.0)
        recorder.count("seen")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(2000)))
    assert [cell.total for cell in recorder.cells().values()] == [2000, 2000]
    assert recorder.cells()[SERIES].seconds == 2000.0
    assert recorder.events == {"seen": 2000}


def test_the_rescue_budget_has_a_floor_and_places_come_back() -> None:
    recorder = Recorder()
    assert [recorder.enter_rescue(20_000) for _ in range(FLOOR + 2)] == [True] * FLOOR + [False] * 2
    recorder.leave_rescue()
    assert recorder.enter_rescue(20_000)
    assert recorder.events == {"rescues": FLOOR + 1, "rescues_over_budget": 2}


def test_the_rescue_budget_grows_with_the_running_requests() -> None:
    recorder = Recorder()
    recorder.running.update({Request({}): None for _ in range(100)})
    assert sum(recorder.enter_rescue(20_000) for _ in range(50)) == 20


# --- faults ---------------------------------------------------------------------------------------


def test_a_fault_is_counted_always_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    faults = Faults(recorder, debug=False)
    for _ in range(5):
        faults.report("identify", ValueError("boom"))
    faults.report("audience", ValueError("boom"))
    assert recorder.events == {"error_identify": 5, "error_audience": 1}
    assert [record.getMessage().split()[0] for record in caplog.records] == ["identify", "audience"]
    assert all(record.exc_info for record in caplog.records)


def test_in_debug_it_is_raised() -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="boom"):
        Faults(recorder, debug=True).report("identify", ValueError("boom"))
    assert recorder.events == {"error_identify": 1}


def test_a_warning_is_counted_by_kind_and_logged_once_per_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    faults = Faults(recorder, debug=True)
    for place in ("late:a", "late:a", "late:b"):
        faults.warn(place, "about %s", place)
    assert recorder.events == {"late": 3}
    assert [record.getMessage() for record in caplog.records] == ["about late:a", "about late:b"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_places_that_visitors_choose_fill_neither_memory_nor_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """S23, S24: an application may pass what came in a query to current()."""
    recorder = Recorder()
    faults = Faults(recorder, debug=False)
    for number in range(2 * MAX_PLACES):
        faults.warn(f"unknown_rollout:{number}", "%r", f"{number}\r\nGET /forged")
    assert len(caplog.records) == MAX_PLACES
    assert not any("\n" in record.getMessage() for record in caplog.records)
    assert recorder.events == {"unknown_rollout": 2 * MAX_PLACES}


def test_only_what_was_drawn_is_evidence_and_periods_never_mix() -> None:
    recorder = Recorder()
    drawn = replace(CANARY, measured=True, period=4)
    later = replace(drawn, period=5)
    tester = replace(CANARY, reason=Reason.TESTER)
    recorder.end([drawn, drawn, later, tester], OutcomeClass.SUCCESS, 0.5)
    told = {found.period: cell.total for found, cell in recorder.evidence().items()}
    assert told == {4: 2, 5: 1}
    assert recorder.cells()[SERIES].total == 4, "telemetry counts everybody"
    assert recorder.cells()[SERIES].seconds == 2.0
