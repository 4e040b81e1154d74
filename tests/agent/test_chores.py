from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from canary_middleware.agent.chores import REPORT_EVERY, Chores
from canary_middleware.agent.disk import Disk
from canary_middleware.agent.follower import Follower
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.core.transitions import strike
from canary_middleware.errors import StoreCorruptError, StoreUnavailableError
from canary_middleware.stores import Loaded, MemoryStore
from canary_middleware.stores.protocol import Key
from tests.agent.held import Held, started


class Troubled(MemoryStore):
    """A store that can be told what to fail at."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = self.writes = self.readable = True
        self.loads = 0

    def load(self) -> Loaded:
        self.loads += 1
        if not self.reads:
            raise StoreUnavailableError("refused")
        if not self.readable:
            return Loaded(None, corrupt=StoreCorruptError("state is a list"))
        return super().load()

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        if not self.writes:
            raise StoreUnavailableError("OOM")
        return super().swap(expected, new, audit, clears=clears)

    def report(self, report: ProcessReport) -> None:
        if not self.writes:
            raise StoreUnavailableError("OOM")
        super().report(report)


class Keyed(Troubled):
    """A store with a plain kill key."""

    def load(self) -> Loaded:
        return replace(super().load(), kill_key="smoke")


@dataclass
class World:
    disk: Disk | None = None
    now: float = 100.0
    store: Troubled = field(default_factory=Troubled)
    held: Held = field(default_factory=Held)
    silent: tuple[tuple[str, str, str], ...] = ()

    def chores(self) -> Chores:
        return Chores(
            self.store,
            Follower(self.held, lambda: self.now, lambda: 9.0),
            report=lambda: ProcessReport("p", "h", 1, "asgi", -1, None, silent=self.silent),
            held=lambda: self.held.document,
            disk=self.disk,
            poll=0.8,
            clock=lambda: self.now,
            wall=lambda: 9.0,
            name="agent 1@h",
            count=self.held.recorder.count,
            silent=lambda: self.silent,
            stale=lambda: self.now - self.held.confirmed_at > 60.0,
        )


@pytest.fixture
def world() -> World:
    return World()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_turn_follows_and_reports(world: World) -> None:
    world.store.kill(EVERYTHING, by="me", why="", now=1.0)
    chores = world.chores()
    chores.turn()
    assert world.held.killed
    assert world.held.confirmed_at == 100.0
    assert chores.online.is_set()
    assert chores.first_look.is_set()
    assert [report.id for report in world.store.processes()] == ["p"]


def test_what_the_store_lost_is_written_back_with_its_history(world: World) -> None:
    world.held.adopt(started())
    world.chores().turn()
    assert world.store.load().document == started()
    assert world.store.history(None, 9) == [
        Audit(9.0, "agent 1@h", "restore", "*", "empty", "revision 1", "the store was empty", 1)
    ]


def test_the_kill_key_stands_in_history_as_a_kill_with_its_reason(world: World) -> None:
    world.store = Keyed()
    world.held.adopt(started())
    world.store.swap(None, started(), Audit(1.0, "me", "start", "checkout", "", "", "", 1))
    world.chores().turn()
    assert world.store.history(None, 1) == [
        Audit(9.0, "kill key", "kill", "*", "", "killed", "smoke", 2)
    ]


def test_a_lost_restore_looks_again_at_once(world: World) -> None:
    chores = world.chores()
    world.held.adopt(started())

    class Raced(Troubled):
        def swap(
            self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
        ) -> bool:
            if self.loads == 1:
                self.kill(EVERYTHING, by="faster", why="", now=1.0)
            return super().swap(expected, new, audit, clears=clears)

    world.store = Raced()
    chores = world.chores()
    chores.turn()
    assert world.store.loads == 2
    assert world.held.document == world.store.load().document
    assert world.held.killed


def test_reports_come_every_few_seconds(world: World) -> None:
    chores = world.chores()
    chores.turn()
    world.store.withdraw("p")
    world.now += REPORT_EVERY - 0.1
    chores.turn()
    assert world.store.processes() == []
    world.now += 0.1
    chores.turn()
    assert len(world.store.processes()) == 1


def test_a_version_that_falls_silent_is_reported_at_once(world: World) -> None:
    chores = world.chores()
    chores.turn()
    for silent in ((("shop", "1.4.2", "refused"),), ()):
        world.silent = silent
        chores.turn()
        (report,) = world.store.processes()
        assert report.silent == silent


def test_a_change_is_reported_at_once_and_once(world: World) -> None:
    chores = world.chores()
    chores.turn()
    world.store.kill(EVERYTHING, by="me", why="", now=1.0)
    for reports in (1, 0):
        world.store.withdraw("p")
        world.now += 0.1
        chores.turn()
        assert len(world.store.processes()) == reports


def test_what_the_store_does_to_an_agent_is_counted(world: World) -> None:
    chores, store = world.chores(), world.store
    world.held.adopt(started())
    store.reads = False
    chores.turn()
    store.reads, store.readable = True, False
    chores.turn()
    store.readable = True
    chores.turn()
    assert world.held.recorder.events == {"store_error": 1, "state_corrupt": 1, "restore": 1}


FAULTS: dict[str, tuple[str, Callable[[Troubled, bool], None]]] = {
    "store": ("store", lambda store, well: setattr(store, "reads", well)),
    "state": ("state", lambda store, well: setattr(store, "readable", well)),
    "writing": ("writing", lambda store, well: setattr(store, "writes", well)),
}


def filed(world: World) -> list[tuple[str, str]]:
    lines = world.store.history(EVERYTHING, 100)
    return [(line.new, line.why) for line in reversed(lines) if line.action == "kill-file"]


def test_a_kill_file_is_in_history_once_for_all_processes_of_its_host(tmp_path: Path) -> None:
    world, file = World(Disk(tmp_path, "shop")), tmp_path / "shop.kill"
    first = Audit(1.0, "me", "start", "checkout", "idle", "2 ramping", "", 1)
    assert world.store.swap(None, started(), first)
    several = [world.chores() for _ in range(3)]

    def turn() -> None:
        for _ in range(3):
            world.now += 2.0
            for chores in several:
                chores.turn()

    turn()
    assert filed(world) == [], "there is none, and there was none"
    file.write_text("smoke")
    world.store.reads = False
    turn()
    assert filed(world) == [], "history is where the store is"
    world.store.reads = True
    turn()
    found = (f"found on this host: {file}", "smoke")
    assert filed(world) == [found]
    assert world.store.load().document == replace(started(), revision=started().revision + 1)
    several = [world.chores() for _ in range(2)]
    turn()
    assert filed(world) == [found], "who starts later has nothing to tell"
    file.unlink()
    turn()
    gone = (f"gone from this host: {file}", "")
    assert filed(world) == [found, gone]
    file.write_text("")
    turn()
    file.unlink()
    several = [world.chores()]
    turn()
    assert filed(world)[2:] == [(found[0], ""), gone], "removed while nobody was there to see it"


def test_a_kill_file_where_nothing_was_started_creates_no_state(tmp_path: Path) -> None:
    world = World(Disk(tmp_path, "shop"))
    (tmp_path / "shop.kill").write_text("smoke")
    world.chores().turn()
    assert world.store.load().document is None


@pytest.mark.parametrize("fault", FAULTS)
def test_one_line_when_it_breaks_and_one_when_it_works_again(
    world: World, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.WARNING)
    what, switch = FAULTS[fault]
    chores = world.chores()
    world.held.adopt(started())
    switch(world.store, False)
    for _ in range(9):
        world.now += 1.0
        chores.turn()
    assert world.held.document == started(), "the last good state is kept"
    assert chores.first_look.is_set(), "a failure ends the wait as well"
    assert len([line for line in lines(caplog) if line.startswith(f"{what}: degraded")]) == 1
    switch(world.store, True)
    for _ in range(9):
        world.now += 1.0
        chores.turn()
    assert lines(caplog).count(f"{what}: recovered") == 1
    assert len(caplog.records) <= 4
    assert world.store.load().document == started()
    assert world.held.confirmed_at == world.now


def test_the_dead_mans_switch_is_told_once_when_it_begins_and_once_when_it_ends(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    chores = world.chores()

    def told() -> list[str]:
        return [line[:22] for line in lines(caplog) if line.startswith("dead-man's switch")]

    chores.turn()
    world.store.reads = False
    for _ in range(9):
        world.now += 1.0
        chores.turn()
        assert told() == [], "the state is as young as it has to be"
    for _ in range(9):
        world.now += 10.0
        chores.turn()
    assert told() == ["dead-man's switch: on:"]
    world.store.reads = True
    for _ in range(9):
        world.now += 1.0
        chores.turn()
    assert told() == ["dead-man's switch: on:", "dead-man's switch: off"]


def test_only_reads_confirm(world: World) -> None:
    chores = world.chores()
    world.store.reads = False
    chores.turn()
    assert world.held.confirmed_at < 0
    assert not chores.online.is_set()
    world.store.reads, world.store.writes = True, False
    chores.turn()
    assert world.held.confirmed_at == world.now


def test_the_snapshot_outlives_the_process(tmp_path: Path) -> None:
    first = World(Disk(tmp_path, "shop"))
    first.store.kill(EVERYTHING, by="me", why="", now=1.0)
    first.chores().turn()
    second = World(Disk(tmp_path, "shop"))
    second.store.reads = False
    chores = second.chores()
    chores.read_disk()
    chores.turn()
    assert second.held.killed
    assert second.held.confirmed_at < 0, "nothing confirmed it"
    second.store.reads = True
    chores.turn()
    assert second.store.load().document == first.held.document, "an empty store learns it"


def test_a_pushed_kill_is_on_the_disk_before_the_store_is_asked(tmp_path: Path) -> None:
    disk = Disk(tmp_path, "shop")

    class Hanging(Troubled):
        def load(self) -> Loaded:
            found = disk.read()
            assert found is not None
            assert EVERYTHING in found.kills
            return super().load()

    world = World(disk, store=Hanging())
    world.held.adopt(strike(started(), EVERYTHING, by="me", why="", now=6.0))
    world.chores().turn()
    assert world.store.load().document == world.held.document


def test_the_kill_file_works_without_a_store(tmp_path: Path) -> None:
    world = World(Disk(tmp_path, "shop"))
    world.store.reads = False
    chores = world.chores()
    chores.turn()
    (tmp_path / "shop.kill").write_text("smoke")
    chores.turn()
    assert world.held.killed
    (tmp_path / "shop.kill").unlink()
    chores.turn()
    assert not world.held.killed


def test_a_damaged_or_unwritable_snapshot_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.json").mkdir()
    world = World(Disk(tmp_path, "shop"))
    world.store.kill(EVERYTHING, by="me", why="", now=1.0)
    chores = world.chores()
    chores.read_disk()
    for _ in range(5):
        chores.turn()
    assert world.held.killed
    assert len(caplog.records) == 1
    (tmp_path / "shop.json").rmdir()
    chores.turn()
    assert Disk(tmp_path, "shop").read() == world.held.document


# --- what is told of the agent itself ---------------------------------------------------------


def test_it_introduces_itself_in_the_thread_that_asks(world: World) -> None:
    chores = world.chores()
    chores.introduce()
    assert [report.id for report in world.store.processes()] == ["p"]
    assert (world.store.loads, chores.first_look.is_set()) == (0, False)
    world.store.writes = False
    chores.introduce()


class Foreign(Troubled):
    """A store of somebody's own, whose errors are not ours."""

    def report(self, report: ProcessReport) -> None:
        raise ConnectionError(f"no report of {report.id}")


def test_a_store_of_somebodys_own_that_fails_keeps_no_request_from_being_served() -> None:
    World(store=Foreign()).chores().introduce()


def test_a_turn_that_is_late_when_its_process_ends_asks_nothing_of_the_closed_store() -> None:
    world = World()

    class Late(Troubled):
        """One that answers after the agent has stopped waiting."""

        def load(self) -> Loaded:
            chores.stop()
            chores.end()
            return super().load()

        def report(self, report: ProcessReport) -> None:
            raise AssertionError(f"{report.id} reports")

        def withdraw(self, process_id: str) -> None:
            raise AssertionError(f"{process_id} withdraws")

    world.store = Late()
    chores = world.chores()
    chores.run()
    assert world.store.loads == 1


class Slow(Troubled):
    """A store that takes two seconds for each look."""

    world: World

    def load(self) -> Loaded:
        self.world.now += 2.0
        return super().load()


def test_the_longest_turn_is_told_once_and_troubles_as_long_as_they_last(world: World) -> None:
    world.store = slow = Slow()
    slow.world = world
    slow.writes = False
    chores = world.chores()
    chores.turn()
    chores.turn()
    assert chores.troubles == ("reports",)
    assert (chores.taken(), chores.taken()) == (2.0, 0.0)
    slow.writes = True
    world.now += REPORT_EVERY
    chores.turn()
    assert not chores.troubles
