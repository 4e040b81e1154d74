"""What a process ships: often enough, nothing twice, and nothing lost that could be kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from canary_middleware import measures, verbs
from canary_middleware.agent.shipping import IDLE_EVERY, REPEAT_EVERY
from canary_middleware.core.codec_totals import decode
from canary_middleware.core.model import Cohort
from canary_middleware.core.totals import Ledgers
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.protocol import Entered, First
from tests.agent.site import NAME, RELEASE, Time, Worker, run, start


class Store(MemoryStore):
    """One that counts what it is told, and may refuse it."""

    def __init__(self, time: Time) -> None:
        super().__init__(lambda: time.wall)
        self.puts = 0
        self.takes_totals = self.takes_firsts = self.takes_entries = self.answers = True

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        self.puts += 1
        if not self.takes_totals:
            raise StoreUnavailableError("OOM")
        return super().put(rollout, release, boot, data)

    def first(self, rollout: str, release: str, run: int, events: Sequence[First]) -> None:
        if not self.takes_firsts:
            raise StoreUnavailableError("OOM")
        super().first(rollout, release, run, events)

    def enter(
        self, rollout: str, release: str, run: int, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        if not self.takes_entries:
            raise StoreUnavailableError("OOM")
        answers = super().enter(rollout, release, run, batch, entries)
        if not self.answers:
            raise StoreUnavailableError("timed out")
        return answers


class World:
    def __init__(self) -> None:
        self.time = Time()
        self.store = Store(self.time)
        start(self.store, self.time)
        self.worker = Worker("a", self.store, self.time)
        self.worker.turn()

    def shipped(self) -> Ledgers:
        (found,) = self.store.read(NAME, RELEASE)
        return decode(found.data)

    def visitors(self) -> tuple[int, int]:
        return measures.read(self.store, NAME, self.worker.entry).verdict.visitors


@pytest.fixture
def world() -> World:
    return World()


def test_what_was_counted_is_there_a_tick_later_and_judged_in_the_same_turn(world: World) -> None:
    world.worker.visitors(Cohort.CANARY, 10)
    world.worker.visitors(Cohort.STABLE, 190)
    run(world.time, 0.25, world.worker)
    assert world.visitors() == (10, 190)
    world.worker.failing(Cohort.CANARY, *range(10))
    run(world.time, 0.25, world.worker)
    assert world.worker.entry.weight == 0


def test_who_came_to_two_processes_at_once_is_judged_once(world: World) -> None:
    other = Worker("b", world.store, world.time)
    other.turn()
    world.worker.coming_back(Cohort.CANARY, "a1", *range(10))
    other.coming_back(Cohort.CANARY, "b2", *range(5, 15))
    run(world.time, 0.25, world.worker, other)
    assert world.visitors() == (15, 0), "in the same turn"
    assert world.worker.counted.settled == [[True] * 10]
    assert other.counted.settled == [[False] * 5 + [True] * 5]


def test_an_answer_about_entries_that_was_lost_is_asked_for_again(world: World) -> None:
    world.worker.coming_back(Cohort.CANARY, "a1", *range(10))
    world.store.answers = False
    run(world.time, 5, world.worker)
    assert world.visitors() == (0, 0)
    world.store.takes_entries, world.store.answers = False, True
    run(world.time, 5, world.worker)
    assert world.visitors() == (0, 0)
    world.store.takes_entries = True
    run(world.time, 5, world.worker)
    assert world.visitors() == (10, 0)


def test_a_repeated_flush_changes_nothing(world: World) -> None:
    world.worker.visitors(Cohort.CANARY, 10)
    world.worker.visitors(Cohort.STABLE, 190)
    world.worker.failing(Cohort.STABLE, 1, 2)
    run(world.time, 1, world.worker)
    once = measures.read(world.store, NAME, world.worker.entry)
    for _ in range(3):
        world.worker.failing(Cohort.STABLE, 1, 2)
        run(world.time, REPEAT_EVERY, world.worker)
    again = measures.read(world.store, NAME, world.worker.entry)
    assert (again.evidence, again.verdict) == (once.evidence, once.verdict)


def test_a_killed_process_loses_at_most_what_came_after_its_last_turn(world: World) -> None:
    for _ in range(20):
        world.worker.visitors(Cohort.STABLE, 19)
        world.worker.visitors(Cohort.CANARY, 1)
        run(world.time, 0.25, world.worker)
    world.worker.visitors(Cohort.STABLE, 19)  # and here it is killed
    assert world.visitors() == (20, 380)


def test_time_goes_on_without_visitors(world: World) -> None:
    run(world.time, 1, world.worker)
    world.store.puts = 0
    run(world.time, 4 * REPEAT_EVERY, world.worker)
    assert world.store.puts == 4
    assert world.shipped().upto >= world.time.wall - 1.0 - REPEAT_EVERY


def test_before_the_start_latency_is_shipped_slowly(world: World) -> None:
    store = Store(world.time)
    worker = Worker("a", store, world.time)
    mine = worker.counted.totals[NAME, RELEASE] = Ledgers()
    run(world.time, 2 * IDLE_EVERY, worker)
    assert store.puts == 0, "there is nothing to tell"
    for second in range(int(4 * IDLE_EVERY)):
        mine.before[40] += 1
        run(world.time, 1, worker, every=1.0)
        assert second >= IDLE_EVERY or store.puts == 1
    assert store.puts == 4


def test_who_ends_ships_what_is_left(world: World) -> None:
    world.worker.visitors(Cohort.STABLE, 20)
    world.worker.failing(Cohort.STABLE, 1)
    world.worker.measuring.leave(online=True)
    found = measures.read(world.store, NAME, world.worker.entry)
    assert found.verdict.visitors == (0, 20)
    assert sum(found.evidence.firsts.values()) == 1


def test_each_thing_that_fails_waits_and_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    world.store.takes_totals = world.store.takes_firsts = False
    world.worker.failing(Cohort.STABLE, 1, 2)
    world.worker.visitors(Cohort.STABLE, 20)
    world.store.puts = 0
    run(world.time, 10, world.worker)
    assert 5 <= world.store.puts <= 10, "not more than one try in a second"
    world.store.takes_totals = world.store.takes_firsts = True
    run(world.time, 3, world.worker)
    found = measures.read(world.store, NAME, world.worker.entry)
    assert sum(found.evidence.firsts.values()) == 2, "what was refused was kept"
    assert found.verdict.visitors == (0, 20)
    assert sorted(caplog.messages) == [
        "first events: degraded: OOM", "first events: recovered",
        "shipping checkout: degraded: OOM", "shipping checkout: recovered",
    ]  # fmt: skip


def test_while_the_store_is_away_it_is_booked_and_nothing_is_asked(world: World) -> None:
    world.store.puts = 0
    booked = len(world.worker.counted.booked)
    for _ in range(20):
        world.time.go(1.0)
        world.worker.measuring.turn(online=False)
    assert world.store.puts == 0
    assert len(world.worker.counted.booked) == booked + 20


def test_another_start_is_counted_from_zero(world: World) -> None:
    world.worker.visitors(Cohort.STABLE, 20)
    run(world.time, 1, world.worker)
    verbs.rollback(world.store, NAME, by="me")
    verbs.start(world.store, NAME, by="me", plan=world.worker.entry.plan, again=True)
    world.worker.turn()
    assert world.visitors() == (0, 0)
    world.worker.visitors(Cohort.STABLE, 5)
    run(world.time, 1, world.worker)
    assert world.visitors() == (0, 5)
