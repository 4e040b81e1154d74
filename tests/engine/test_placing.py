"""What a visit tells the store beyond its question: nobody who was exposed is moved afterwards."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.model import Memory, Policy
from canary_middleware.core.state import Document, Plan
from canary_middleware.core.weight import FULL
from canary_middleware.engine.streams import Stream
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT, document, entry
from tests.engine.world import World, world

TENTH, HALF = FULL // 10, FULL // 2


def state(policy: Policy, weight: int, period: int, epoch: int = 3) -> Document:
    plan = Plan("1", "2", policy=policy, affinity=Memory.SHARED)
    found = document(entry(weight=weight, plan=plan, period=period, epoch=epoch))
    return replace(found, lineage="ab12", revision=period)


class Store(dict[str, Claim]):
    """A store that answers at once."""

    def claim(self, asks: list[Ask]) -> list[Claim]:
        for ask in asks:
            self[ask.key] = contend(self.get(ask.key), self.get(ask.origin or ""), ask)
        return [self[ask.key] for ask in asks]


def arrived(process: World, store: Store | None, user: str) -> Visit:
    visit = process.visit(x_user=user)
    asks = visit.asks()
    if asks:
        visit.answered(asks, None if store is None else store.claim(asks))
    return visit


def tell(process: World, store: Store) -> None:
    """What the agent does."""
    store.claim(process.engine.claims.take(100))
    process.engine.claims.doubt()


@pytest.fixture
def process() -> World:
    return world(CHECKOUT, identify=lambda view: view.header("x-user"))


USERS = [f"user-{number}" for number in range(100)]


def test_a_canary_that_was_exposed_while_the_weight_rose_is_kept(process: World) -> None:
    store, exposed = Store(), []
    for user in USERS:
        process.engine.adopt(state(Policy.KEEP, TENTH, 4))
        visit = arrived(process, store, user)
        process.engine.adopt(state(Policy.KEEP, HALF, 5))
        if visit.expose("checkout").is_canary:
            exposed.append(user)
    tell(process, store)
    process.engine.adopt(state(Policy.KEEP, TENTH, 6))
    assert len(exposed) > 30
    assert all(arrived(process, store, user).expose("checkout").is_canary for user in exposed)


def test_a_session_that_begins_while_a_kill_is_revived_is_kept(process: World) -> None:
    store, sides = Store(), {}
    for user in USERS:
        process.engine.adopt(state(Policy.SESSION, TENTH, 4))
        visit = arrived(process, store, user)
        process.engine.adopt(state(Policy.SESSION, HALF, 7, epoch=7))
        sides[user] = visit.expose("checkout").cohort
    tell(process, store)
    process.engine.adopt(state(Policy.SESSION, 0, 8, epoch=7))
    assert {
        user: arrived(process, store, user).expose("checkout").cohort for user in USERS
    } == sides


def test_who_is_served_while_the_store_is_away_stays_when_it_is_back(process: World) -> None:
    store, sides = Store(), {}
    process.engine.adopt(state(Policy.SESSION, HALF, 4))
    for user in USERS:
        sides[user] = arrived(process, None, user).expose("checkout").cohort
    tell(process, store)
    process.engine.adopt(state(Policy.SESSION, TENTH, 5))
    assert {
        user: arrived(process, store, user).expose("checkout").cohort for user in USERS
    } == sides


def test_a_session_goes_on_while_only_claims_fail(process: World) -> None:
    process.engine.adopt(state(Policy.SESSION, FULL, 4))
    store = Store()
    assert arrived(process, store, "alice").expose("checkout").is_canary
    process.engine.adopt(state(Policy.SESSION, 0, 5))
    for _ in range(100):
        process.time.monotonic += 600.0
        assert arrived(process, None, "alice").expose("checkout").is_canary
    process.time.monotonic += 1801.0
    assert not arrived(process, None, "alice").expose("checkout").is_canary


def test_a_known_user_who_rises_while_the_store_is_slow_is_kept(process: World) -> None:
    store = Store()
    process.engine.adopt(state(Policy.KEEP, TENTH, 4))
    for user in USERS:
        arrived(process, store, user).expose("checkout")
    process.engine.adopt(state(Policy.KEEP, HALF, 5))
    exposed = [user for user in USERS if arrived(process, None, user).expose("checkout").is_canary]
    assert len(exposed) > 30
    process.engine.adopt(state(Policy.KEEP, TENTH, 6))
    assert all(arrived(process, None, user).expose("checkout").is_canary for user in exposed)
    tell(process, store)
    assert all(arrived(process, store, user).expose("checkout").is_canary for user in exposed)


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.KEEP, Policy.SESSION])
@pytest.mark.parametrize("weight", [0, TENTH, FULL])
def test_an_open_stream_has_lost_who_would_get_the_other_version_now(
    process: World, policy: Policy, weight: int
) -> None:
    store, streams = Store(), {}
    process.engine.adopt(state(policy, HALF, 4))
    for user in USERS:
        visit = arrived(process, store, user)
        visit.expose("checkout")
        streams[user] = Stream(visit)
        streams[user].open()
    process.engine.adopt(state(policy, weight, 5))
    for user, stream in streams.items():
        now = arrived(process, store, user).expose("checkout")
        before = stream.visit.exposed["checkout"]
        assert (stream.ends_at < inf) is (now.cohort is not before.cohort)
