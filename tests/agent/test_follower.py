from __future__ import annotations

import math
from dataclasses import replace

import pytest

from canary_middleware.agent.follower import Follower, Restore
from canary_middleware.core.claims import Ask, contend
from canary_middleware.core.state import EVERYTHING, Document, Verb
from canary_middleware.core.transitions import Command, apply, strike
from canary_middleware.errors import StoreCorruptError
from canary_middleware.stores import Loaded
from tests.agent.held import Held, started

FIRST = started()
KILLED = strike(FIRST, EVERYTHING, by="me", why="", now=6.0)
REVIVED = apply(KILLED, Command(Verb.REVIVE, EVERYTHING), 7.0)
FOREIGN = started("cd34")


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def follower(held: Held) -> Follower:
    return Follower(held, clock=lambda: 100.0, wall=lambda: 9.0)


def test_a_push_is_adopted_and_only_a_look_confirms_it(held: Held, follower: Follower) -> None:
    assert follower.pushed(FIRST), "there is something to report and to keep"
    assert not follower.pushed(FIRST)
    # It may have waited in the socket of a stopped process for longer than `max_staleness`.
    assert (held.document, held.confirmed_at) == (FIRST, -math.inf)


def test_duplicate_and_reordered_pushes_change_nothing(held: Held, follower: Follower) -> None:
    for document in (FIRST, REVIVED, FIRST, KILLED, REVIVED, REVIVED):
        follower.pushed(document)
    assert held.adopted == [FIRST, REVIVED]


def test_a_push_from_the_past_confirms_nothing_and_asks_for_a_look(
    held: Held, follower: Follower
) -> None:
    held.adopt(REVIVED)
    assert follower.pushed(FIRST)
    assert held.confirmed_at == -math.inf


def test_a_foreign_push_is_believed_only_in_its_kill(held: Held, follower: Follower) -> None:
    held.adopt(FIRST)
    assert follower.pushed(FOREIGN)
    assert held.document == FIRST
    killed = strike(FOREIGN, "search", by="me", why="smoke", now=6.0)
    for _ in range(2):
        assert follower.pushed(killed), "a look settles it"
    assert held.document is not None
    assert (held.document.lineage, held.document.rollouts) == (FIRST.lineage, FIRST.rollouts)
    assert [(scope, kill.why) for scope, kill in held.document.kills.items()] == [
        ("search", "smoke")
    ]
    assert len(held.adopted) == 2


def test_a_load_confirms_with_the_time_before_it(held: Held, follower: Follower) -> None:
    assert follower.loaded(Loaded(FIRST), asked_at=98.0) is None
    assert (held.document, held.confirmed_at) == (FIRST, 98.0)


def test_an_empty_store_confirms_and_gets_the_state_back(held: Held, follower: Follower) -> None:
    assert follower.loaded(Loaded(None), asked_at=98.0) is None
    held.adopt(KILLED)
    restore = follower.loaded(Loaded(None), asked_at=99.0)
    assert restore == Restore(None, KILLED, "the store was empty")
    assert held.confirmed_at == 99.0


def test_nothing_is_adopted_twice(held: Held, follower: Follower) -> None:
    for _ in range(3):
        follower.loaded(Loaded(FIRST), asked_at=98.0)
    assert held.adopted == [FIRST]


def test_an_unreadable_state_changes_and_confirms_nothing(held: Held, follower: Follower) -> None:
    held.adopt(FIRST)
    corrupt = Loaded(None, corrupt=StoreCorruptError("is a list"))
    assert follower.loaded(corrupt, asked_at=98.0) is None
    assert (held.document, held.confirmed_at) == (FIRST, -math.inf)


@pytest.mark.parametrize("known", [FIRST, None])
def test_the_kill_key_kills_beside_an_unreadable_state(
    held: Held, follower: Follower, known: Document | None
) -> None:
    held.adopt(known)
    corrupt = Loaded(None, "smoke", StoreCorruptError("is a list"))
    assert follower.loaded(corrupt, asked_at=98.0) is None
    assert held.killed


@pytest.mark.parametrize("loaded", [FIRST, None])
def test_the_kill_key_becomes_a_record_that_outlives_it(
    held: Held, follower: Follower, loaded: Document | None
) -> None:
    restore = follower.loaded(Loaded(loaded, "two\nlines"), asked_at=98.0)
    assert restore is not None
    assert restore.document == held.document
    assert restore.expected == (loaded.key if loaded else None)
    kill = restore.document.kills[EVERYTHING]
    assert (kill.by, kill.why, kill.at) == ("kill key", "two lines", 9.0)
    again = follower.loaded(Loaded(loaded, "two\nlines"), asked_at=98.0)
    assert again is not None
    assert again.document == restore.document, "it is struck once"
    follower.loaded(Loaded(loaded), asked_at=98.0)
    assert held.killed, "its deletion lifts nothing"


def test_a_kill_record_beside_the_kill_key_is_enough(held: Held, follower: Follower) -> None:
    assert follower.loaded(Loaded(KILLED, "smoke"), asked_at=98.0) is None
    assert held.document == KILLED


def test_revive_lifts_what_the_kill_key_struck(held: Held, follower: Follower) -> None:
    restore = follower.loaded(Loaded(FIRST, "smoke"), asked_at=98.0)
    assert restore is not None
    revived = apply(restore.document, Command(Verb.REVIVE, EVERYTHING), 9.0)
    assert follower.loaded(Loaded(revived), asked_at=99.0) is None
    assert not held.killed


@pytest.mark.parametrize("before", [FIRST, None])
def test_a_load_that_a_revive_overtook_kills_nobody(
    held: Held, follower: Follower, before: Document | None
) -> None:
    overtaken = Loaded(before, "smoke")
    restore = follower.loaded(overtaken, asked_at=97.0)
    assert restore is not None
    revived = apply(restore.document, Command(Verb.REVIVE, EVERYTHING), 9.0)
    follower.pushed(revived)
    assert follower.loaded(overtaken, asked_at=98.0) is not None, "the store gets another look"
    assert held.document == revived


def test_a_kill_key_seen_after_a_revive_kills_again(held: Held, follower: Follower) -> None:
    follower.pushed(REVIVED)
    # Even where a fail-over took the state back to before the kill that was lifted.
    for present in (FIRST, REVIVED):
        follower.loaded(Loaded(present, "smoke again"), asked_at=101.0)
        assert held.killed


def test_history_tells_of_the_kill_key_as_of_a_kill(held: Held, follower: Follower) -> None:
    restore = follower.loaded(Loaded(FIRST, "smoke"), asked_at=98.0)
    assert restore is not None
    assert restore.kill == restore.document.kills[EVERYTHING]
    behind = follower.loaded(Loaded(FIRST), asked_at=99.0)
    assert behind is not None
    assert behind.kill is None, "without the key it is a restore"


def test_the_kill_file_kills_here_and_its_removal_lifts_only_itself(
    held: Held, follower: Follower
) -> None:
    def reason() -> str | None:
        why = held.local_kill.why if held.local_kill else None
        assert follower.kill_file == why
        return why

    assert not follower.set_local_kill(None)
    follower.pushed(FIRST)
    assert follower.set_local_kill("smoke")
    assert not follower.set_local_kill("smoke, edited")
    assert reason() == "smoke"
    follower.pushed(KILLED)
    assert reason() == "smoke", "it stays over a change of the state"
    assert follower.set_local_kill(None)
    assert reason() is None
    assert held.killed, "the kill in the state stays"


def test_a_forked_process_forgets_a_kill_file_that_is_gone(held: Held) -> None:
    parent = Follower(held, clock=lambda: 1.0, wall=lambda: 1.0)
    parent.set_local_kill("smoke")
    child = Follower(held, clock=lambda: 1.0, wall=lambda: 1.0)
    child.set_local_kill(None)
    assert not held.killed


def test_the_disk_is_believed_only_where_nothing_is_known(held: Held, follower: Follower) -> None:
    follower.from_disk(FIRST)
    assert (held.document, held.confirmed_at) == (FIRST, -math.inf)
    follower.from_disk(replace(FIRST, revision=9))
    assert held.document == FIRST


def test_who_missed_a_push_doubts_its_claims_and_nobody_else_does(
    held: Held, follower: Follower
) -> None:
    """A revocation raises the revision, so that whoever missed its push finds a newer state."""
    ask = Ask("checkout", "alice", None, "ab12", 1, 1, 10, 5, raises=False, life=60_000)

    def remembers() -> bool:
        return held.claims.remembered("alice") is not None

    follower.pushed(FIRST)
    held.claims.learn([ask], [contend(None, None, ask)])
    follower.loaded(Loaded(FIRST), 100.0)
    assert remembers(), "nothing was missed"
    follower.loaded(Loaded(None), 100.0)
    assert remembers(), "a store that lost everything is told what was in it"
    follower.pushed(KILLED)
    assert remembers(), "revocations come on the same way"
    follower.loaded(Loaded(REVIVED), 101.0)
    assert not remembers()
    held.claims.learn([ask], [contend(None, None, ask)])
    later = replace(REVIVED, revision=REVIVED.revision + 2)
    follower.pushed(later)
    assert not remembers(), "a push between them never came"
    held.claims.later(ask)
    follower.loaded(Loaded(replace(later, revision=later.revision + 1)), 102.0)
    assert remembers(), "what the store was not told yet cannot have been revoked there"
