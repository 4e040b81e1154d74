from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_middleware.core.adoption import Adoption, decide
from canary_middleware.core.state import EVERYTHING, Document, Kill, Plan, Verb
from canary_middleware.core.transitions import Command, apply, strike
from canary_middleware.errors import VerbRefusedError

A5 = Document("a", 5)
A6 = Document("a", 6)
B2 = Document("b", 2)


def killed(document: Document, revision: int, scope: str = EVERYTHING) -> Document:
    kill = Kill("me", "smoke", 1.0, revision)
    return replace(document, kills={**document.kills, scope: kill})


def test_nothing_held_follows_the_store() -> None:
    assert decide(None, None) == Adoption(None)
    assert decide(None, A5) == Adoption(A5)


def test_an_empty_store_gets_back_what_is_held() -> None:
    assert decide(A5, None) == Adoption(A5, restore=True, note="the store was empty")


def test_the_higher_revision_of_one_lineage_wins() -> None:
    assert decide(A5, A6) == Adoption(A6)
    assert decide(A6, A5) == Adoption(A6, restore=True, note="the store went back to 5")
    assert decide(A6, A6) == Adoption(A6)


def test_a_foreign_lineage_in_the_store_wins() -> None:
    assert decide(A6, B2) == Adoption(B2)


def test_at_equal_revisions_any_kill_wins_else_the_store() -> None:
    other = replace(A5, lifted={"search": 1})
    assert decide(A5, other) == Adoption(other)
    assert decide(A5, killed(A5, 5)) == Adoption(killed(A5, 5))
    kept = decide(killed(A5, 5), other)
    assert kept.restore
    assert kept.document == killed(replace(other, revision=6), 6)


@pytest.mark.parametrize("loaded", [A6, B2, replace(B2, lifted={EVERYTHING: 5})])
def test_a_held_kill_is_carried_and_stamped_anew(loaded: Document) -> None:
    adoption = decide(killed(A5, 5), loaded)
    revision = loaded.revision + 1
    assert adoption.restore
    assert adoption.document == killed(replace(loaded, revision=revision), revision)


def test_a_kill_is_lifted_only_by_the_number_of_its_own_lineage() -> None:
    lifted = replace(A6, lifted={EVERYTHING: 5})
    assert decide(killed(A5, 5), lifted) == Adoption(lifted)
    older = replace(A6, lifted={EVERYTHING: 4})
    assert decide(killed(A5, 5), older).document != older


def test_a_kill_in_an_older_revision_is_not_overlooked() -> None:
    adoption = decide(A6, killed(A5, 5))
    assert adoption.document == killed(replace(A6, revision=7), 7)


PLAN = Plan("1", "2", steps=(1_000, 5_000))
SCOPES = ("checkout", EVERYTHING)


@dataclass
class World:
    """A store with compare-and-swap, its old replicas and late messages, and some processes."""

    held: list[Document | None]
    decide: Callable[[Document | None, Document | None], Adoption] = decide
    store: Document | None = None
    seen: list[Document] = field(default_factory=list)
    born: int = 0
    revived: set[tuple[str, str]] = field(default_factory=set)

    def write(self, document: Document) -> None:
        self.store = document
        self.seen.append(document)

    def fresh(self) -> Document:
        self.born += 1
        return Document(f"l{self.born}")

    def follow(self, who: int, told: Document | None) -> Adoption:
        before = self.held[who]
        adoption = self.decide(before, told)
        after = adoption.document
        for scope in before.kills if before else ():
            assert before is not None
            assert after is not None
            revived = (before.lineage, scope) in self.revived
            assert scope in after.kills or revived, f"{scope} was lifted by nobody"
        if before and after and before.lineage == after.lineage:
            assert after.revision >= before.revision
        self.held[who] = after
        return adoption

    def poll(self, who: int, loaded: Document | None) -> None:
        adoption = self.follow(who, loaded)
        expected = loaded.key if loaded else None
        if adoption.restore and expected == (self.store.key if self.store else None):
            assert adoption.document is not None
            self.write(adoption.document)

    def kill(self, scope: str, *, persisted: bool) -> Document:
        struck = strike(self.store or self.fresh(), scope, by="me", why="", now=1.0)
        if persisted:
            self.write(struck)
        else:
            self.seen.append(struck)
        return struck

    def verb(self, command: Command) -> None:
        before = self.store or self.fresh()
        try:
            self.write(apply(before, command, 1.0))
        except VerbRefusedError:
            return
        if command.verb is Verb.REVIVE:
            self.revived.add((before.lineage, command.rollout))


PEOPLE = [
    Command(Verb.START, "checkout", plan=PLAN),
    Command(Verb.WEIGHT, "checkout", weight=7_000),
    Command(Verb.RESUME, "checkout"),
    *(Command(Verb.REVIVE, scope) for scope in SCOPES),
]
steps = st.one_of(
    st.tuples(st.just("poll"), st.integers(0, 3)),
    st.tuples(st.just("slow poll"), st.integers(0, 3)),
    st.tuples(st.just("late push"), st.integers(0, 3), st.integers(0, 40)),
    st.tuples(st.just("older replica"), st.integers(0, 40)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("restart"), st.integers(0, 3)),
    st.tuples(st.just("kill"), st.sampled_from(SCOPES), st.booleans()),
    st.tuples(st.just("verb"), st.sampled_from(PEOPLE)),
)


def act(world: World, step: tuple[object, ...], slow: dict[int, Document | None]) -> None:
    match step:
        case ("poll", int(who)):
            world.poll(who, slow.pop(who, world.store))
        case ("slow poll", int(who)):
            slow[who] = world.store
        case ("late push", int(who), int(which)) if world.seen:
            world.follow(who, world.seen[which % len(world.seen)])
        case ("older replica", int(which)) if world.seen:
            world.store = world.seen[which % len(world.seen)]
        case ("flush",):
            world.store = None
        case ("restart", int(who)):
            world.held[who] = None
            slow.pop(who, None)
        case ("kill", str(scope), bool(persisted)):
            world.kill(scope, persisted=persisted)
        case ("verb", Command() as command):
            world.verb(command)


History = list[tuple[object, ...]]


def live(world: World, history: History, order: list[int]) -> None:
    """Act it out, then let everybody look at the store until nothing changes; checks on the way."""
    slow: dict[int, Document | None] = {}
    for step in history:
        act(world, step, slow)
    revived = {scope for _, scope in world.revived}
    unlifted = {scope for held in world.held if held for scope in held.kills} - revived
    for _ in range(6):
        for who in order:
            world.poll(who, world.store)
    assert all(held == world.store for held in world.held), "they disagree"
    assert unlifted <= set(world.store.kills if world.store else ()), "a kill got lost"
    settled = world.store
    for who in order:
        world.poll(who, world.store)
    assert world.store is settled, "it must not go on writing"


@settings(max_examples=300)
@given(st.lists(steps, max_size=60), st.permutations(range(4)))
def test_any_history_converges_and_no_kill_is_lifted_but_by_revive(
    history: History, order: list[int]
) -> None:
    live(World([None] * 4), history, order)


def believing(held: Document | None, loaded: Document | None) -> Adoption:
    """Broken: follows the store into amnesia."""
    return Adoption(loaded)


def forgetful(held: Document | None, loaded: Document | None) -> Adoption:
    """Broken: the newest revision wins, kills and all."""
    if held and loaded and held.key > loaded.key:
        return Adoption(held, restore=True)
    return Adoption(loaded or held, restore=loaded is None and held is not None)


def credulous(held: Document | None, loaded: Document | None) -> Adoption:
    """Broken: takes the ``lifted`` of a foreign lineage at its word."""
    if held and loaded and loaded.lineage != held.lineage:
        return decide(replace(held, lineage=loaded.lineage, revision=0), loaded)
    return decide(held, loaded)


START, KILL = ("verb", PEOPLE[0]), ("kill", EVERYTHING, True)
REVIVE = ("verb", Command(Verb.REVIVE, EVERYTHING))
BREAKING: dict[Callable[..., Adoption], History] = {
    believing: [START, KILL, ("poll", 0), ("flush",), ("poll", 0)],
    forgetful: [START, ("poll", 0), KILL, ("poll", 0), ("flush",), START, START, ("poll", 0)],
    credulous: [KILL, ("poll", 0), ("flush",), START, KILL, REVIVE, ("poll", 0)],
}


@pytest.mark.parametrize("broken", BREAKING)
def test_a_broken_rule_is_noticed(broken: Callable[..., Adoption]) -> None:
    history = BREAKING[broken]
    live(World([None] * 4), history, [0, 1, 2, 3])
    with pytest.raises(AssertionError):
        live(World([None] * 4, broken), history, [0, 1, 2, 3])
