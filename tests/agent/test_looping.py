from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from canary_middleware.agent.looping import MOST, Loops
from tests.support.servers import wait_until


class Running:
    """An event loop in a thread, that can be made to stand still."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._gate = threading.Event()

    def block(self) -> None:
        self._gate.clear()
        blocked = threading.Event()

        def stand_still() -> None:
            blocked.set()
            self._gate.wait(10)

        self.loop.call_soon_threadsafe(stand_still)
        assert blocked.wait(10)

    def go_on(self) -> None:
        self._gate.set()
        self.turned()

    def turned(self) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def end(self) -> None:
        self._gate.set()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@dataclass
class World:
    now: float = 100.0
    loops: Loops = field(init=False)

    def __post_init__(self) -> None:
        self.loops = Loops(lambda: self.now)

    def look(self, after: float = 0.25) -> float:
        self.now += after
        self.loops.look()
        return self.loops.stall(5.0)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.end()


def test_a_loop_that_turns_has_no_stall(world: World, running: Running) -> None:
    world.loops.watch(running.loop)
    for _ in range(5):
        assert world.look() == 0.0
        running.turned()


def test_a_loop_that_stands_still_is_seen_while_it_does_and_for_a_while(
    world: World, running: Running
) -> None:
    world.loops.watch(running.loop)
    running.block()
    assert [world.look() for _ in range(9)][-1] == pytest.approx(2.0)
    running.go_on()
    assert world.look() == pytest.approx(2.0)
    for _ in range(17):
        running.turned()
        world.look()
    assert world.loops.stall(5.0) > 0
    for _ in range(4):
        running.turned()
        world.look()
    assert world.loops.stall(5.0) == 0.0


def test_one_stall_may_be_a_pause_of_the_machine_and_two_are_not(
    world: World, running: Running
) -> None:
    world.loops.watch(running.loop)
    for stalls in range(1, 3):
        running.block()
        for _ in range(5):
            world.look()
        assert world.loops.stall(5.0) == pytest.approx(1.0)
        assert (world.loops.stalls(5.0) >= 1.0 - 1e-9) is (stalls == 2)
        running.go_on()
        world.look()
        running.turned()
        world.look()


def test_a_stall_of_the_whole_window_counts_by_itself(world: World, running: Running) -> None:
    world.loops.watch(running.loop)
    running.block()
    for _ in range(22):
        world.look()
    assert world.loops.stalls(5.0) >= 5.0
    running.go_on()


def test_a_process_that_was_stopped_blames_no_loop(world: World, running: Running) -> None:
    world.loops.watch(running.loop)
    running.block()
    world.look()
    world.now += 60.0
    running.go_on()
    assert world.look() == 0.0


def test_a_loop_that_ended_or_rests_does_not_count(world: World) -> None:
    running = Running()
    world.loops.watch(running.loop)
    world.look()
    running.end()
    for _ in range(9):
        assert world.look() == 0.0


def test_loops_are_not_kept_alive_and_few_are_watched(world: World) -> None:
    loops = [asyncio.new_event_loop() for _ in range(MOST + 2)]
    for loop in loops * 2:
        world.loops.watch(loop)
    for loop in loops:
        loop.close()
    fresh = Running()
    world.loops.watch(fresh.loop)
    fresh.block()
    world.look()
    assert world.look() == pytest.approx(0.25), "closed ones made room"
    fresh.end()
    last = weakref.ref(loops.pop(0))
    del loops, loop
    gc.collect()
    assert last() is None


def test_a_real_second_is_a_second(running: Running) -> None:
    loops = Loops(time.monotonic)
    loops.watch(running.loop)
    running.block()

    def stalled() -> bool:
        loops.look()
        return loops.stall(5.0) > 0.1

    wait_until(stalled, what="a stall")
    running.go_on()
