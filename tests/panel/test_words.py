"""What pages say of every phase: the state, what happens next and when, and what is unusual."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from canary_middleware import Ramp, verbs
from canary_middleware.core.command import Command
from canary_middleware.core.records import OpenStreams, ProcessReport
from canary_middleware.core.state import EVERYTHING, Verb
from canary_middleware.panel.pages.looking import Look, look
from canary_middleware.panel.pages.offers import offers
from canary_middleware.panel.pages.parts import MOST, Topic, parts
from canary_middleware.panel.pages.plots import Charts
from canary_middleware.panel.pages.words import following, general, notes, state
from canary_middleware.stores import StateStore, open_store
from tests.panel import stages
from tests.panel.stages import BY, PLAN

NAME = "checkout"
Do = Callable[[StateStore], object]


@pytest.fixture
def store() -> Iterator[StateStore]:
    made = open_store("memory://", "shop")
    yield made
    made.close()


def seen(store: StateStore) -> Look:
    return look(store, "shop")


def held(store: StateStore, name: str) -> None:
    stages.ramping(store, name)
    document = store.load().document
    assert document is not None
    command = Command(Verb.HOLD, name, "nobody comes")
    assert verbs.move(store, document, command, by=BY, evidence={}, now=time.time())


def finished(store: StateStore, name: str) -> None:
    stages.promoted(store, name)
    verbs.finish(store, name, by=BY, early=True)


@pytest.mark.parametrize(("stage", "word", "what", "buttons"), [
    (stages.declared, "idle", "Nobody has started it.", ["start"]),
    (stages.ramping, "ramping", "Next: 5%,", ["pause", "weight", "promote", "rollback"]),
    (stages.paused, "paused", "Stays at 5% until", ["resume", "weight", "promote", "rollback"]),
    (held, "holding", "Stays at 1% until", ["resume", "pause", "weight", "promote", "rollback"]),
    (stages.waiting, "awaiting approval", "Waits for a person to approve 5%",
     ["approve", "pause", "weight", "promote", "rollback"]),
    (stages.promoted, "promoted", "Everybody has 1.5.0", ["rollback", "finish"]),
    (finished, "finished", "Done: 1.4.2 can leave the code.", []),
    (stages.rolled_back, "rolled back", "Everybody is back on 1.4.2.", ["start"]),
    (stages.killed, "killed", "Everybody stays on stable", ["revive"]),
    (stages.drilled, "paused", "Stays at 5%",
     ["settle", "resume", "weight", "promote", "rollback"]),
    (stages.hot_fixed, "paused", "Stays at 5%",
     ["rebase", "resume", "weight", "promote", "rollback"]),
])  # fmt: skip
def test_every_phase_has_its_words_and_its_buttons(
    store: StateStore, stage: stages.Stage, word: str, what: str, buttons: list[str]
) -> None:
    stage(store, NAME)
    found = seen(store)
    view = found.views[NAME]
    assert state(view).word == word
    assert following(view, found.at).what.startswith(what)
    assert [offer.verb for offer in offers(found, NAME)] == buttons


def test_when_it_goes_on_is_a_time_and_a_condition(store: StateStore) -> None:
    stages.ramping(store, NAME)
    found = seen(store)
    when = following(found.views[NAME], found.at).when
    assert re.fullmatch(r"\d\d:\d\d:\d\d UTC at the earliest, if the evidence allows it\.", when)
    later = following(found.views[NAME], found.at + 3_600)
    assert later == ("Next: 5%,", "as soon as the evidence allows it.")


def test_a_promotion_that_is_to_come_does_not_read_as_done(store: StateStore) -> None:
    course = replace(PLAN.course, bakes=(86_400,))
    verbs.start(store, NAME, by=BY, plan=replace(PLAN, course=course, steps=PLAN.steps[:1]))
    found = seen(store)
    told = following(found.views[NAME], found.at)
    assert told.what == "Next: promotion,"
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC at the earliest", told.when)


def test_a_gate_that_must_agree_is_named(store: StateStore) -> None:
    course = replace(PLAN.course, gate="https://gate.example/ask")
    verbs.start(store, NAME, by=BY, plan=replace(PLAN, course=course))
    found = seen(store)
    assert "its gate gate.example agrees" in following(found.views[NAME], found.at).when


def test_a_ramp_that_people_move_says_so(store: StateStore) -> None:
    by_hand = replace(PLAN, course=replace(PLAN.course, bakes=()), steps=Ramp("5%", "50%").weights)
    verbs.start(store, NAME, by=BY, plan=by_hand)
    found = seen(store)
    told = following(found.views[NAME], found.at)
    assert told.what == "Nothing moves it but people; the next step is 50%."


def told_by(store: StateStore) -> list[str]:
    found = seen(store)
    return [note.text for note in notes(found, found.views[NAME])]


def test_what_is_unusual_is_noted(store: StateStore) -> None:
    stages.paused(store, NAME)
    store.report(
        ProcessReport(
            "p2", "web-2", 5, "asgi", 0, 0.1, {NAME: replace(PLAN, owner="else")},
            streams=(OpenStreams(NAME, "1.5.0", 3, 1, 9.0),),
            silent=((NAME, "1.5.0", "refused"),),
        )
    )  # fmt: skip
    found = " | ".join(told_by(store))
    assert "1.5.0 does not answer its probe in 1 of 2 processes (refused)" in found
    assert "1 process declares owner else" in found
    assert "web-2 5" in found
    assert "3 streams open on 1.5.0, 1 of them moving on" in found
    verbs.kill(store, NAME, by="ann", why="it hurts")
    assert told_by(store)[0] == "Checkout was killed 0 s ago by ann: it hurts"


def test_a_drill_and_its_end_are_told(store: StateStore) -> None:
    stages.drilled(store, NAME)
    assert any(text.startswith("A drill is on: error in 20%") for text in told_by(store))


def test_what_concerns_everything_is_told_once(store: StateStore) -> None:
    store.report(ProcessReport("p", "web-9", 1, "wsgi", -1, None, {}, kill_file="by hand"))
    stages.paused(store, NAME)
    verbs.kill(store, EVERYTHING, by="ann", why="all")
    verbs.kill(store, "nobody", by="ann")
    found = [note.text for note in general(seen(store))]
    assert "Everything was killed 0 s ago by ann: all" in found
    unknown = "no process declares a rollout of this name, and none was ever started"
    assert f"Nobody was killed 0 s ago by ann; nobody was moved: {unknown}" in found
    file = "remove shop.kill in its snapshot_path there"
    assert f"Host web-9 is killed by its kill file: by hand; {file}" in found
    assert "2 processes do not follow the present state yet" in found


def test_of_a_thousand_processes_those_in_trouble_are_shown(store: StateStore) -> None:
    for at in range(MOST + 50):
        store.report(ProcessReport(f"p{at}", "web", at, "asgi", 1, 0.1, {NAME: PLAN}))
    verbs.start(store, NAME, by=BY)
    store.report(
        ProcessReport(
            "x", "zz-late", 9, "asgi", 1, 0.1, {NAME: PLAN}, silent=((NAME, "1.5.0", ""),)
        )
    )
    found = parts(store, Charts(store), seen(store), Topic("processes", operate=False, root="."))
    assert found["processes"].count("<tr>") == 1 + MOST
    assert "zz-late" in found["processes"]
    assert "and 51 other processes, all well" in found["processes"]
