"""Shared affinity as applications see it: both interfaces, one process or two, memory and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from canary_middleware import Cohort, Reason, verbs
from canary_middleware.core.model import Policy
from canary_middleware.core.transitions import strike
from tests.scenarios.sharing import Browser, Process, Shop, Told
from tests.support.redis import RedisServer, SharedRedis


@pytest.fixture(params=["asgi", "wsgi"])
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def shop(interface: str, shared_redis: SharedRedis, namespace: str) -> Iterator[Shop]:
    """On a real server."""
    with Shop(interface, shared_redis.url, namespace) as made:
        yield made
    with shared_redis.client() as client:
        for part in ("state", "kills", "audit", "processes"):
            client.delete(f"canary:{{{namespace}}}:{part}")


@pytest.fixture(params=["memory", "redis"])
def any_shop(
    request: pytest.FixtureRequest, interface: str, shared_redis: SharedRedis, namespace: str
) -> Iterator[Shop]:
    """On each kind of store."""
    url = "memory://" if request.param == "memory" else shared_redis.url
    with Shop(interface, url, namespace) as made:
        yield made
    with shared_redis.client() as client:
        for part in ("state", "kills", "audit", "processes"):
            client.delete(f"canary:{{{namespace}}}:{part}")


def users(number: int = 12) -> list[Browser]:
    """Clients that keep no cookies."""
    return [Browser(f"user-{n}", keeps=False) for n in range(number)]


def on_canary(process: Process, browsers: list[Browser]) -> list[bool]:
    return [process.visit(browser).cohort is Cohort.CANARY for browser in browsers]


# --- first sights and processes -------------------------------------------------------------------


def test_a_known_subject_costs_no_question(shop: Shop, shared_redis: SharedRedis) -> None:
    (process,) = shop.open(50)
    alice = Browser("alice", keeps=False)
    first = process.visit(alice)
    (key,) = shop.claims()
    with shared_redis.client() as client:
        assert client.delete(f"canary:{{{shop.namespace}}}:pin:checkout:{key}") == 1
    for _ in range(3):
        assert process.visit(alice).cohort is first.cohort
    assert shop.claims() == {}, "whoever had asked would have written it again"


def test_a_client_without_cookies_gets_none_and_one_claim(any_shop: Shop) -> None:
    (process,) = any_shop.open(50)
    browsers = [Browser(f"user-{n}") for n in range(32)]
    first = on_canary(process, browsers)
    assert on_canary(process, browsers) == first
    assert set(first) == {True, False}
    assert [browser.jar for browser in browsers] == [{}] * 32
    assert len(any_shop.claims()) == 32


def test_a_new_browser_waits_for_no_store_and_is_in_it_soon(any_shop: Shop) -> None:
    (process,) = any_shop.open(50)
    browser = Browser()
    first = process.visit(browser)
    assert first.reason is Reason.WEIGHT
    again = process.visit(browser)
    assert again.cohort is first.cohort
    (claim,) = any_shop.written(1).values()
    assert claim.cohort is first.cohort


def test_processes_agree_on_a_subject_though_the_weight_moves_in_between(shop: Shop) -> None:
    one, other = shop.open(100, processes=2)
    clients = users()
    assert on_canary(one, clients) == [True] * 12
    shop.weigh(0)
    assert on_canary(other, clients) == [True] * 12
    assert on_canary(other, users(13)[12:]) == [False]


def test_of_processes_that_disagree_about_the_weight_the_first_answer_counts(shop: Shop) -> None:
    one, behind = shop.open(100, Policy.SESSION, processes=2)
    alice, bob = Browser("alice", keeps=False), Browser("bob", keeps=False)
    old = behind.canary.engine.document
    shop.weigh(0)
    assert one.visit(alice).cohort is Cohort.STABLE
    behind.lag()
    behind.canary.engine.adopt(old)  # as if the push had not come yet
    assert behind.visit(alice).cohort is Cohort.STABLE
    assert behind.visit(bob).cohort is Cohort.CANARY
    assert one.visit(bob).cohort is Cohort.CANARY


# --- sign-in, devices, sign-out -------------------------------------------------------------------


def test_sign_in_takes_the_draw_along_and_another_device_follows_it(any_shop: Shop) -> None:
    (process,) = any_shop.open(50)
    for number in range(8):
        phone = Browser()
        drawn = process.visit(phone)
        any_shop.written(2 * number + 1)
        phone.user = f"user {number}"
        signed_in = process.visit(phone)
        laptop = Browser(phone.user)
        assert signed_in.cohort is process.visit(laptop).cohort is drawn.cohort
        assert signed_in.measured
        phone.user = ""
        assert process.visit(phone).cohort is drawn.cohort, "signed out"
    places: dict[int, int] = {}
    for claim in any_shop.claims().values():
        places[claim.bucket] = places.get(claim.bucket, 0) + 1
    assert list(places.values()) == [2] * 8, "each browser and its user have one place"


def test_an_older_claim_wins_and_that_visitor_leaves_the_evidence(any_shop: Shop) -> None:
    (process,) = any_shop.open(100)
    alice = Browser("alice", keeps=False)
    assert process.visit(alice).cohort is Cohort.CANARY
    any_shop.weigh(0)
    laptop = Browser()
    assert process.visit(laptop).cohort is Cohort.STABLE
    any_shop.written(2)
    laptop.user = "alice"
    for _ in range(2):
        found = process.visit(laptop)
        assert (found.cohort, found.measured) == (Cohort.CANARY, False)
    assert process.visit(alice).measured, "the first device saw one version only"


def test_users_of_one_browser_have_a_place_each(any_shop: Shop) -> None:
    (process,) = any_shop.open(50)
    browser = Browser()
    anonymous = process.visit(browser)
    any_shop.written(1)
    found = {}
    for user in ("alice", *(f"user-{n}" for n in range(10))):
        browser.user = user
        found[user] = process.visit(browser).cohort
    assert found["alice"] is anonymous.cohort
    assert set(found.values()) == set(Cohort)
    for user, cohort in found.items():
        browser.user = user
        assert process.visit(browser).cohort is cohort
        assert process.visit(Browser(user)).cohort is cohort, "on a device of the own"
    browser.user = ""
    assert process.visit(browser).cohort is anonymous.cohort


# --- policies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("affinity", ["shared", "cookie"])
@pytest.mark.parametrize("identified", [True, False])
def test_policies_under_moves_of_the_weight(
    any_shop: Shop, affinity: str, identified: bool
) -> None:
    (process,) = any_shop.open(50, Policy.KEEP, affinity)
    browsers = [Browser(f"user-{n}" if identified else "") for n in range(32)]
    first = on_canary(process, browsers)
    any_shop.weigh(10)
    assert on_canary(process, browsers) == first
    any_shop.weigh(100)
    assert on_canary(process, browsers) == [True] * 32
    any_shop.weigh(0)
    assert on_canary(process, browsers) == [True] * 32
    any_shop.do(verbs.kill)
    assert on_canary(process, browsers) == [False] * 32
    any_shop.do(verbs.revive)
    assert on_canary(process, browsers) == [False] * 32, "the weight is 0, and no pin is left"
    any_shop.weigh(50)
    assert on_canary(process, browsers) == first, "the draw outlives the epoch"


@pytest.mark.parametrize("affinity", ["shared", "cookie"])
def test_a_session_stays_on_either_side(any_shop: Shop, affinity: str) -> None:
    (process,) = any_shop.open(50, Policy.SESSION, affinity)
    browsers = [Browser(f"user-{n}" if n % 2 else "") for n in range(32)]
    first = on_canary(process, browsers)
    assert set(first) == {True, False}
    for weight in (0, 100, 10):
        any_shop.weigh(weight)
        assert on_canary(process, browsers) == first
    any_shop.do(verbs.promote)
    assert on_canary(process, browsers) == first
    any_shop.do(verbs.rollback)
    assert on_canary(process, browsers) == [False] * 32


@pytest.mark.parametrize("affinity", ["shared", "cookie"])
def test_who_follows_goes_both_ways(any_shop: Shop, affinity: str) -> None:
    (process,) = any_shop.open(50, Policy.FOLLOW, affinity)
    browsers = [Browser(f"user-{n}" if n % 2 else "") for n in range(32)]
    first = on_canary(process, browsers)
    any_shop.weigh(10)
    fewer = on_canary(process, browsers)
    assert all(before or not now for before, now in zip(first, fewer, strict=True))
    any_shop.weigh(50)
    assert on_canary(process, browsers) == first


@pytest.mark.parametrize("policy", [Policy.KEEP, Policy.SESSION])
def test_a_cookie_of_a_user_remembers_and_never_draws(any_shop: Shop, policy: Policy) -> None:
    (process,) = any_shop.open(50, policy, "cookie")
    for number in range(12):
        jarless, user = Browser(f"user-{number}", keeps=False), Browser(f"user-{number}")
        drawn = process.visit(jarless).cohort
        assert process.visit(user).cohort is drawn
        assert bool(user.jar) is (drawn is Cohort.CANARY or policy is Policy.SESSION)
        # The cookie carries a pin, but whoever comes with it is still drawn by who they are.
        other = Browser(f"other-{number}", dict(user.jar))
        by_name = process.visit(Browser(f"other-{number}", keeps=False)).cohort
        assert process.visit(other).cohort is by_name
    any_shop.do(verbs.kill)
    any_shop.do(verbs.revive)
    for number in range(12):
        user = Browser(f"user-{number}")
        process.visit(user)
        assert process.visit(user).cohort is process.visit(Browser(user.user)).cohort


# --- epochs ---------------------------------------------------------------------------------------


def test_a_process_that_is_behind_serves_stable_until_it_hears(shop: Shop) -> None:
    process, behind = shop.open(100, processes=2)
    old = behind.canary.engine.document
    shop.do(verbs.kill)
    shop.do(verbs.revive)
    alice = Browser("alice", keeps=False)
    assert process.visit(alice).cohort is Cohort.CANARY
    now = behind.canary.engine.document
    behind.canary.engine.adopt(old)
    found = behind.visit(alice)
    assert (found.cohort, found.reason) == (Cohort.STABLE, Reason.STALE_CONTROL)
    behind.canary.engine.adopt(now)
    assert behind.visit(alice).cohort is Cohort.CANARY


def test_no_claim_of_a_process_that_is_behind_counts_afterwards(shop: Shop) -> None:
    process, behind = shop.open(100, processes=2)
    old = behind.canary.engine.document
    shop.do(verbs.kill)
    behind.canary.engine.adopt(old)
    clients = users(4)
    on_canary(behind, clients)  # it has not heard, and claims
    shop.do(verbs.revive)
    shop.weigh(0)
    assert on_canary(process, clients) == [False] * 4
    assert {claim.cohort for claim in shop.claims().values()} == {Cohort.STABLE}


def test_a_kill_that_is_heard_while_a_request_asks_outranks_the_answer(
    redis_server: RedisServer, namespace: str
) -> None:
    with Shop("asgi", redis_server.url, namespace) as shop:
        (process,) = shop.open(100)
        engine = process.canary.engine
        # So that the way to the store and its script are there already.
        assert process.visit(Browser("bob", keeps=False)).cohort is Cohort.CANARY
        assert engine.document is not None
        killed = strike(engine.document, "checkout", by="test", why="", now=0.0)

        async def scene() -> Told:
            redis_server.pause()
            waiting = asyncio.create_task(process.ask(Browser("alice", keeps=False)))
            for _ in range(10):
                await asyncio.sleep(0)
            engine.adopt(killed)
            redis_server.resume()
            return await waiting

        found = process.run(scene())
        assert (found.cohort, found.reason) == (Cohort.STABLE, Reason.KILL_SWITCH)
        assert len(shop.claims()) == 2, "it had asked, and was answered"
