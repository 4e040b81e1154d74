from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.agent.recording import AT_ONCE, LASTS, SETTLES, Recording
from canary_middleware.agent.troubles import Troubles
from canary_middleware.core.codec_series import decode
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit
from canary_middleware.core.series import Counts, Point, Value, intervals
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Matured, Slot
from canary_middleware.core.transitions import Command, apply
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.protocol import Totals
from tests.agent.held import Held
from tests.agent.site import BAKE, NAME, PLAN, RELEASE, ROLLOUT, Time, Worker, moves, run, start

WINDOW = PLAN.rollback_window


class Store(MemoryStore):
    """One in which something can happen when a point is written."""

    def __init__(self, time: Time) -> None:
        super().__init__(lambda: time.wall)
        self.time = time
        self.on_append: Callable[[], object] = lambda: None
        self.lost: set[str] = set()

    def read(self, rollout: str, release: str) -> list[Totals]:
        return [one for one in super().read(rollout, release) if one.boot not in self.lost]

    def append(self, rollout: str, slot: int, data: bytes) -> None:
        self.on_append()
        super().append(rollout, slot, data)


class Older(MemoryStore):
    """One that somebody wrote for an earlier release: no points of charts."""

    append: Any = None
    series: Any = None


class Site:
    def __init__(self) -> None:
        self.time = Time()
        self.store = Store(self.time)

    def worker(self, name: str, *, skew: float = 0.0) -> Worker:
        return Worker(name, self.store, self.time, skew)

    def started(self, *names: str) -> list[Worker]:
        start(self.store, self.time)
        workers = [self.worker(name) for name in names]
        run(self.time, 0.5, *workers)
        return workers

    def points(self) -> list[Point]:
        return [decode(*one) for one in self.store.series(NAME)]

    def last(self, label: str) -> Counts:
        found = {one.label: one.counts for one in self.points()[-1].versions}
        return found.get(label, Counts())


@pytest.fixture
def site() -> Site:
    return Site()


def fails() -> None:
    raise StoreUnavailableError("no permission")


def test_one_process_writes_a_point_per_slot_of_what_all_have_counted(site: Site) -> None:
    first, second = site.started("a", "b")
    written: list[int] = []
    site.store.on_append = lambda: written.append(1)
    first.visitors(Cohort.CANARY, 3, 1)
    second.visitors(Cohort.STABLE, 90)
    second.visitors(Cohort.CANARY, 2)
    run(site.time, 30, first, second)
    points = site.points()
    assert len(written) == 3
    assert [one.head.slot for one in points] == list(
        range(points[0].head.slot, points[0].head.slot + 4)
    )
    assert {(one.head.weight, one.head.phase) for one in points} == {(5_000, "ramping")}
    assert site.last(RELEASE) == Counts(5, 1, 0, {40: 5})
    assert site.last("1") == Counts(90, latency={40: 90})


def test_who_goes_on_after_a_death_loses_and_doubles_nothing(site: Site) -> None:
    first, second = site.started("a", "b")
    for worker in (first, second):
        worker.visitors(Cohort.STABLE, 50)
    run(site.time, 20, first, second)
    before = len(site.points())
    run(site.time, 1, second)  # the first one is dead
    second.visitors(Cohort.STABLE, 7)
    run(site.time, 30, second)
    assert len(site.points()) > before
    assert site.last("1").requests == 107
    counted = [one.versions["1"].requests for one in intervals(site.points()) if one.versions]
    assert sum(counted) == 107


def test_two_that_take_themselves_for_the_one_change_nothing(site: Site) -> None:
    first, second = site.started("a", "b")
    first.visitors(Cohort.STABLE, 50)
    run(site.time, 20, first, second)
    site.store.release("a", of="series")
    site.store.release("b", of="series")
    run(site.time, 5, second)
    run(site.time, 20, first, second)
    slots = [one.head.slot for one in site.points()]
    assert slots == list(range(slots[0], slots[-1] + 1))
    assert sum(one.versions["1"].requests for one in intervals(site.points())) == 50


def closed(site: Site, verb: Verb, since: float = 0.0) -> None:
    before = site.store.load().document
    assert before is not None
    after = apply(before, Command(verb, NAME, "done"), site.time.wall - since)
    line = Audit(site.time.wall, "me", verb.value, NAME, "", "", "", after.revision)
    assert site.store.swap(before.key, after, line)


@pytest.mark.parametrize(
    ("verb", "head"),
    [(Verb.PROMOTE, (100_000, "promoted")), (Verb.ROLLBACK, (0, "rolled_back"))],
)
def test_what_was_promoted_or_rolled_back_is_recorded_within_its_window(
    site: Site, verb: Verb, head: tuple[int, str]
) -> None:
    (worker,) = site.started("a")
    worker.visitors(Cohort.STABLE, 50)
    run(site.time, 5, worker)
    closed(site, verb)
    worker.visitors(Cohort.CANARY, 9)
    run(site.time, 30, worker)
    last = site.points()[-1]
    assert (last.head.weight, last.head.phase) == head
    assert site.last(RELEASE).requests == 9, "processes ship on, and so it is recorded"
    site.time.go(WINDOW)
    run(site.time, 20, worker)
    assert site.points()[-1] == last
    assert site.store.hold("somebody", 5, of="series"), "the lease was given back"


def test_a_rollout_under_a_kill_is_recorded_for_a_while_too(site: Site) -> None:
    (worker,) = site.started("a")
    site.store.kill("*", by="me", why="", now=site.time.wall)
    run(site.time, 12, worker)
    last = site.points()[-1]
    assert (last.head.weight, last.head.phase) == (0, "killed")
    site.time.go(WINDOW)
    run(site.time, 20, worker)
    assert site.points()[-1] == last


def test_nobody_who_does_not_measure_asks_for_anything() -> None:
    site = Site()
    worker = site.worker("a")
    run(site.time, 20, worker)
    assert site.points() == []
    assert site.store.hold("somebody", 5, of="series")


def test_what_cannot_be_written_is_told_once_and_keeps_nobody_from_judging(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = site.started("a", "b")
    before = site.points()
    site.store.on_append = fails
    first.visitors(Cohort.CANARY, 10)
    first.visitors(Cohort.STABLE, 190)
    with caplog.at_level(logging.WARNING):
        run(site.time, BAKE + 4, first, second)
    assert [action for action, _ in moves(site.store)] == ["advance"]
    told = [line.getMessage() for line in caplog.records if "chart" in line.getMessage()]
    assert told == [f"chart of {NAME}: degraded: no permission"]
    assert site.points() == before
    site.store.on_append = lambda: None
    run(site.time, 12, first, second)
    assert site.last("1").requests == 190


def test_so_does_what_nobody_foresaw(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    (worker,) = site.started("a")

    def stumbles() -> None:
        raise LookupError("a mistake of ours")

    site.store.on_append = stumbles
    worker.visitors(Cohort.CANARY, 10)
    worker.visitors(Cohort.STABLE, 190)
    with caplog.at_level(logging.WARNING):
        run(site.time, BAKE + 4, worker)
    assert [action for action, _ in moves(site.store)] == ["advance"]
    assert worker.held.recorder.events["error_recording"] >= 4
    assert sum("a mistake of ours" in line.getMessage() for line in caplog.records) == 1


class Unnamed(Store):
    """One that somebody wrote for charts, but who never heard of leases with names."""

    def hold(self, owner: str, seconds: float, *rest: Any) -> bool:
        return super().hold(owner, seconds, *rest)

    def release(self, owner: str, *rest: Any) -> None:
        super().release(owner, *rest)


def test_a_store_without_named_leases_is_told_and_judged_by() -> None:
    site = Site()
    site.store = Unnamed(site.time)
    (worker,) = site.started("a")
    worker.visitors(Cohort.CANARY, 10)
    worker.visitors(Cohort.STABLE, 190)
    run(site.time, BAKE + 4, worker)
    assert [action for action, _ in moves(site.store)] == ["advance"]
    assert worker.held.recorder.events["error_recording"] > 0
    worker.measuring.leave(online=True)


def lossy(site: Site) -> tuple[Worker, Worker]:
    """Both are recorded; then the store has lost what one of them counted."""
    first, second = site.started("a", "b")
    first.visitors(Cohort.STABLE, 1_000)
    second.visitors(Cohort.STABLE, 500)
    run(site.time, 21, first, second)
    assert site.last("1").requests == 1_500
    site.store.lost = {"b"}
    return first, second


def test_a_store_that_lost_its_totals_shows_no_peak_when_they_are_back(site: Site) -> None:
    first, second = lossy(site)
    lost_at = site.time.wall
    run(site.time, SETTLES + 2, first, second)
    assert site.points()[-1].head.at < lost_at, "nobody knows what is missing"
    site.store.lost = set()
    first.visitors(Cohort.STABLE, 1)
    run(site.time, 20, first, second)
    told = [one.versions["1"].requests for one in intervals(site.points())]
    assert sum(told[-3:]) == 1
    assert site.points()[-1].head.at > lost_at + SETTLES


def test_after_a_while_what_is_lost_is_lost(site: Site) -> None:
    first, second = lossy(site)
    run(site.time, 3 * SETTLES, first, second)
    assert site.last("1").requests == 1_000
    assert {} in [one.versions for one in intervals(site.points())], "it begins anew"


def test_a_store_without_points_of_charts_goes_on_as_before() -> None:
    time = Time()
    store = Older(lambda: time.wall)
    start(store, time)
    worker = Worker("a", store, time)
    run(time, 0.5, worker)
    worker.visitors(Cohort.CANARY, 10)
    worker.visitors(Cohort.STABLE, 190)
    run(time, BAKE + 4, worker)
    assert [action for action, _ in moves(store)] == ["advance"]
    assert not worker.held.recorder.events


def test_a_slow_store_holds_a_turn_up_for_one_rollout_only() -> None:
    time = Time()
    store, held = Store(time), Held()
    document = Document("ab12")
    names = [f"r{number}" for number in range(5)]
    for name in names:
        document = apply(document, Command(Verb.START, name, plan=PLAN), time.wall)
    held.adopt(document)
    recording = Recording(
        store, owner="a", followed=lambda: held.document, troubles=Troubles(),
        count=held.recorder.count, clock=lambda: time.monotonic, wall=lambda: time.wall,
    )  # fmt: skip
    store.on_append = lambda: time.go(2 * AT_ONCE)
    for number in range(1, 6):
        recording.turn()
        assert [len(store.series(name)) for name in names] == [1] * number + [0] * (5 - number)
    time.go(10)
    recording.turn()
    assert [len(store.series(name)) for name in names] == [2, 1, 1, 1, 1]


def test_values_of_means_are_recorded(site: Site) -> None:
    plan = replace(PLAN, guards=(Guard.errors(), Guard.mean("revenue", cap=160.0)))
    start(site.store, site.time, plan)
    worker = site.worker("a")
    run(site.time, 0.5, worker)
    worker.visitors(Cohort.STABLE, 20)
    slot = Slot(Cell(worker.entry.period), Cohort.STABLE, 1)
    worker.ledgers().slots[slot] = Matured(20, {"revenue": [0, 3, 4]})
    run(site.time, 20, worker)
    assert site.last("1").values == {Value("revenue", 160.0): {1: 3, 2: 4}}


def test_totals_that_cannot_be_read_do_not_count_and_the_others_do(site: Site) -> None:
    (worker,) = site.started("a")
    worker.visitors(Cohort.STABLE, 20)
    for boot, data in {"x": b"", "y": b"[1]\n[", "z": b'[1,0,0,0,0,0]\n["seen",1]'}.items():
        site.store.put(NAME, RELEASE, boot, data)
    run(site.time, 20, worker)
    assert site.last("1") == Counts(20, latency={40: 20})
    assert not worker.held.recorder.events["error_recording"]


def test_a_rollout_that_is_moved_by_hand_is_recorded_too(site: Site) -> None:
    plan = Plan(stable="1", canary=RELEASE)
    start(site.store, site.time, plan)
    worker = site.worker("a")
    worker.hear()
    worker.visitors(Cohort.STABLE, 20)
    run(site.time, 20, worker)
    assert site.last("1").requests == 20
    assert verbs.history(site.store, NAME, 9)[0].action == "start"
    assert ROLLOUT.name == NAME


def test_the_more_processes_there_are_the_more_rarely_each_asks_who_records() -> None:
    time = Time()
    store = Store(time)
    start(store, time)
    asked: list[float] = []

    class Counting(Store):
        def hold(self, owner: str, seconds: float, of: str = "") -> bool:
            asked.append(self.time.monotonic)
            super().hold("somebody", seconds, of)
            return super().hold(owner, seconds, of)

    other = Counting(time)
    document = store.load().document
    recording = Recording(
        other, owner="b", followed=lambda: document, troubles=Troubles(), count=lambda _: None,
        clock=lambda: time.monotonic, wall=lambda: time.wall,
    )  # fmt: skip
    found = {}
    for processes in (1, 24, 1_000):
        asked.clear()
        for _ in range(1_000):
            recording.turn(processes)
            time.go(1.0)
        pauses = [after - before for before, after in pairwise(asked[1:])]
        found[processes] = min(pauses), max(pauses)
    assert found[1][1] <= 6.0
    assert found[24][0] >= 10.0
    assert found[1_000][0] >= 16.0
    assert found[1_000][1] + LASTS <= 31.0, "half a minute after a death, to the next turn"
