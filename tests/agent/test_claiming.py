"""What the chores tell the store of claims, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from canary_middleware.agent.chores import Chores
from canary_middleware.agent.claiming import BATCH, BATCHES, TOUCH_EVERY, Claiming
from canary_middleware.agent.follower import Follower
from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import ProcessReport
from canary_middleware.engine.claims import SHARE, Claims
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.protocol import Forgotten
from tests.agent.held import Held, started

LIFE = 60


def ask(number: int = 1, rollout: str = "checkout", life: int = LIFE) -> Ask:
    key = f"{rollout}-{number}"
    return Ask(rollout, key, None, "ab", 1, 1, SPACE // 2, number, False, 1000 * life)


class Troubled(MemoryStore):
    """Notes the size of what it is asked; fails where it shall."""

    def __init__(self, wall: Time) -> None:
        super().__init__(wall)
        self.fails_at = 0
        self.asked: list[int] = []
        self.touched: list[tuple[str, int, int]] = []

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        self.asked.append(len(asks))
        if len(self.asked) == self.fails_at:
            raise StoreUnavailableError("out of memory")
        return super().claim(asks)

    def touch(self, rollout: str, keys: Sequence[str], life: int) -> list[str]:
        self.touched.append((rollout, len(keys), life))
        return super().touch(rollout, keys, life)


class Time:
    """Seconds, of both clocks."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """A process's memory of claims, the store, and what goes between them."""

    time: Time = field(default_factory=Time)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Troubled(self.time)
        self.claims = Claims(self.time, self.events.append)
        self.claiming = Claiming(self.store, lambda: self.claims, self.time)

    def stored(self, rollout: str = "checkout") -> dict[str, Claim]:
        return {found.key: found.claim for found in self.store.claims(rollout)}


class Flooded(Troubled):
    """While it answers, as many come again as it is asked about."""

    claims_of: Claims
    come = 0

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        for _ in asks:
            self.come += 1
            self.claims_of.later(ask(self.come))
        return super().claim(asks)


def test_a_flood_of_visitors_does_not_keep_the_chores_from_what_else_is_due() -> None:
    time = Time()
    store, claims = Flooded(time), Claims(time, lambda _: None)
    store.claims_of = claims
    claims.later(ask(0))
    for number in range(BATCH):
        claims.later(ask(-number))
    Claiming(store, lambda: claims, time).tell()
    assert len(store.asked) == BATCHES


def test_a_claim_that_the_store_has_lost_is_brought_back_at_the_next_sight() -> None:
    world = World()
    world.claims.learn([ask()], world.store.claim([ask()]))
    world.claims.known(ask())
    world.store.forget("checkout", None)
    world.time.now += TOUCH_EVERY
    assert world.claims.known(ask()) is not None
    world.claiming.tell()
    assert world.claims.known(ask()) is None, (
        "the store is asked, and what is remembered goes along"
    )
    assert world.claims.remembered(ask().key) is not None


@pytest.fixture
def world() -> World:
    return World()


def test_what_waited_is_claimed_in_batches_and_the_winners_are_believed(world: World) -> None:
    older = Claim("ab", 1, 1, Cohort.CANARY, 7)
    world.store.claim([Ask("checkout", "checkout-3", None, "ab", 1, 1, SPACE, 7, False, 60_000)])
    for number in range(2 * BATCH + 1):
        world.claims.later(ask(number))
    world.claiming.tell()
    assert world.store.asked == [1, BATCH, BATCH, 1]
    assert len(world.stored()) == 2 * BATCH + 1
    assert world.stored()["checkout-3"] == world.claims.known(ask(3)) == older
    assert world.claims.take(1) == []


def test_what_the_store_refuses_waits_for_the_next_round(world: World) -> None:
    for number in range(BATCH + 5):
        world.claims.later(ask(number))
    world.store.fails_at = 2
    with pytest.raises(StoreUnavailableError):
        world.claiming.tell()
    assert len(world.stored()) == BATCH
    world.claiming.tell()
    assert world.store.asked == [BATCH, 5, 5]
    assert len(world.stored()) == BATCH + 5


def test_what_was_used_lives_on_and_what_was_not_does_not(world: World) -> None:
    used, unused = ask(1), ask(2)
    world.claims.learn([used, unused], world.store.claim([used, unused]))
    for _ in range(20):
        world.time.now += LIFE / 4
        if world.claims.known(used) is None:
            world.claims.learn([used], world.store.claim([used]))
        world.claiming.tell()
    assert set(world.stored()) == {"checkout-1"}


def test_sightings_are_told_now_and_then_by_rollout_and_life(world: World) -> None:
    asks = [ask(n) for n in range(BATCH + 1)] + [ask(1, "search"), ask(2, "search", 7_200)]
    world.claims.learn(asks, world.store.claim(asks))
    for one in asks:
        for _ in range(3):
            assert world.claims.known(one) is not None
    world.claiming.tell()
    assert world.store.touched == [], "not yet"
    world.time.now += TOUCH_EVERY
    world.claiming.tell()
    assert sorted(world.store.touched) == [
        ("checkout", 1, 60_000),
        ("checkout", BATCH, 60_000),
        ("search", 1, 60_000),
        ("search", 1, 7_200_000),
    ]
    world.time.now += TOUCH_EVERY
    world.claiming.tell()
    assert len(world.store.touched) == 4, "each sight is told once"


def test_a_process_asks_again_before_the_store_forgets() -> None:
    assert LIFE / SHARE + TOUCH_EVERY < LIFE


def test_a_revocation_drops_what_is_known_what_waits_and_what_was_seen(world: World) -> None:
    asks = [ask(1), ask(2), ask(1, "search")]
    world.claims.learn(asks, world.store.claim(asks))
    world.claims.later(ask(3))
    for one in asks:
        assert world.claims.known(one)
    world.claiming.forget(Forgotten("checkout", ("checkout-1", "checkout-3")))
    assert [world.claims.known(one) for one in (ask(1), ask(3))] == [None, None]
    assert world.claims.known(ask(2)) is not None
    assert world.claims.remembered("checkout-1") is None
    world.claiming.forget(Forgotten("checkout"))
    assert world.claims.known(ask(2)) is None
    assert world.claims.known(ask(1, "search")) is not None
    world.time.now += TOUCH_EVERY
    world.claiming.tell()
    assert world.store.touched == [("search", 1, 60_000)]
    assert world.store.asked == [3], "nothing that was revoked is claimed again"


def test_a_forked_child_tells_of_its_own_claims_only(world: World) -> None:
    world.claims.later(ask(1))
    world.claims = Claims(world.time, world.events.append)
    world.claims.later(ask(2))
    world.claiming.tell()
    assert set(world.stored()) == {"checkout-2"}


# --- as one of the chores -------------------------------------------------------------------------


def chores(world: World, held: Held) -> Chores:
    return Chores(
        world.store,
        Follower(held, world.time, world.time),
        report=lambda: ProcessReport("p", "h", 1, "asgi", -1, None),
        held=lambda: held.document,
        disk=None,
        poll=0.8,
        clock=world.time,
        wall=world.time,
        name="agent 1@h",
        count=held.recorder.count,
        claiming=world.claiming,
    )


def test_a_store_that_refuses_claims_is_told_once_and_keeps_the_process_in_step(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(document=started())
    turns = chores(world, held)
    world.claims.later(ask(1))
    world.store.fails_at = 1
    turns.turn()
    world.store.fails_at = 2
    turns.turn()
    turns.turn()
    lines = [record.getMessage() for record in caplog.records if "claims" in record.getMessage()]
    assert lines == ["claims: degraded: out of memory", "claims: recovered"]
    assert held.recorder.events["store_error"] == 2
    assert held.confirmed_at == world.time.now
    assert world.stored()["checkout-1"] == contend(None, None, ask(1))
