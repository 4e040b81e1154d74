"""The verbs of the controller and of drills, over a store."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.ramp import Course
from canary_middleware.core.state import Document, Entry, Phase, Plan, Verb
from canary_middleware.core.weight import FULL
from canary_middleware.errors import VerbRefusedError
from canary_middleware.stores import MemoryStore, StateStore, open_store

COURSE = Course(bakes=(60,) * 3, samples=(0,) * 3, approvals=(False, True, False))
PLAN = Plan("1", "2", steps=(1_000, 5_000, FULL), course=COURSE)
AWAIT = Command(Verb.AWAIT, "checkout", "look at it", release="2", step=0)
ADVANCE = replace(AWAIT, verb=Verb.ADVANCE, step=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def entry(document: Document | None) -> Entry:
    found = document.entry("checkout", "2") if document else None
    assert found is not None
    return found


def move(store: StateStore, loaded: Document, command: Command) -> Document | None:
    evidence = {"visitors": [43, 812]}
    return verbs.move(store, loaded, command, by="controller", evidence=evidence, now=9.0)


def test_a_move_is_written_with_its_evidence(store: MemoryStore) -> None:
    started = verbs.start(store, "checkout", by="me", plan=PLAN)
    moved = move(store, started, AWAIT)
    assert store.load().document == moved
    assert (entry(moved).phase, entry(moved).since) == (Phase.AWAITING_APPROVAL, 9.0)
    line = verbs.history(store)[0]
    assert (line.action, line.by, line.why, line.at) == ("await", "controller", "look at it", 9.0)
    assert (line.old, line.new) == ("2 ramping 1%", "2 awaiting_approval 1%")
    assert line.evidence == {"visitors": [43, 812]}


def test_a_move_on_an_old_document_is_none(store: MemoryStore) -> None:
    started = verbs.start(store, "checkout", by="me", plan=PLAN)
    paused = verbs.pause(store, "checkout", by="me")
    assert move(store, started, AWAIT) is None, "the store has moved on"
    assert move(store, paused, AWAIT) is None, "it does not fit any more"
    assert store.load().document == paused


def test_of_many_leaders_one_advances(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    verbs.pause(store, "checkout", by="me")
    verbs.weight(store, "checkout", 5_000, by="me")
    ready = verbs.resume(store, "checkout", by="me", skip_approval=True)
    barrier, won = threading.Barrier(8), []

    def leader() -> None:
        barrier.wait()
        won.append(move(store, ready, ADVANCE))

    leaders = [threading.Thread(target=leader) for _ in range(8)]
    for each in leaders:
        each.start()
    for each in leaders:
        each.join()
    (document,) = [one for one in won if one is not None]
    assert (entry(document).step, entry(document).weight) == (2, FULL)
    assert [line.action for line in verbs.history(store)].count("advance") == 1
    # Not even one that has loaded the new state, but decided on the old one.
    assert move(store, document, ADVANCE) is None


def test_approve_enters_the_step_that_waits(store: MemoryStore) -> None:
    started = verbs.start(store, "checkout", by="me", plan=PLAN)
    with pytest.raises(VerbRefusedError, match="approve"):
        verbs.approve(store, "checkout", by="me")
    move(store, started, AWAIT)
    approved = entry(verbs.approve(store, "checkout", by="me", why="looks good"))
    assert (approved.phase, approved.weight, approved.why) == (Phase.RAMPING, 5_000, "looks good")


def test_a_resume_that_skips_an_approval_must_be_meant(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN, weight=2_000)
    with pytest.raises(VerbRefusedError, match="--skip-approval"):
        verbs.resume(store, "checkout", by="me")
    assert entry(verbs.resume(store, "checkout", by="me", skip_approval=True)).step == 1


@pytest.mark.parametrize("url", ["memory://", "sqlite:///"])
def test_a_drill_begins_and_settles(url: str, tmp_path: object) -> None:
    address = url if url == "memory://" else f"{url}{tmp_path}/state.db"
    store = open_store(address, "shop")
    drill = Drill(Fault.LATENCY, FULL // 2, begun=9.0, seconds=60, delay=0.3, by="me")
    verbs.start(store, "checkout", by="me", plan=PLAN)
    verbs.drill(store, "checkout", drill, by="me")
    assert entry(store.load().document).drill == drill
    settled = entry(verbs.settle(store, "checkout", by="me"))
    assert (settled.phase, settled.drill) == (Phase.PAUSED, None)
    assert entry(store.load().document) == settled
    store.close()


def test_whoever_drills_leaves_a_state_that_can_be_read(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/canary.db", "shop")
    verbs.start(store, "checkout", by="me", plan=PLAN)
    drill = Drill(Fault.ERROR, 20_000, 1.0, 60, by="two\nlines" + "x" * 2_000)
    verbs.drill(store, "checkout", drill, by=drill.by)
    drilled = entry(store.load().document).drill
    assert drilled is not None
    assert drilled.by.startswith("two lines")
    store.close()
