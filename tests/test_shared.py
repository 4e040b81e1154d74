"""Shared affinity as applications see it: both interfaces, one process or two, memory and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import pytest

from canary_middleware import Canary, Cohort, Reason, Rollout, asgi, current, verbs, wsgi
from canary_middleware.claims import keeper
from canary_middleware.core.claims import Claim
from canary_middleware.core.model import Policy
from canary_middleware.core.state import Document, Plan
from canary_middleware.core.transitions import strike
from tests.scenarios import asgi_driver, wsgi_driver
from tests.scenarios.words import Ask, Reply, Start
from tests.support.redis import RedisServer, SharedRedis
from tests.support.servers import wait_until

KEY, SECRET = "k" * 32, "b" * 32


@dataclass(frozen=True)
class Told:
    """What a request got."""

    cohort: Cohort
    reason: Reason
    period: int
    measured: bool


@dataclass
class Browser:
    """A jar for cookies, and who is signed in."""

    user: str = ""
    jar: dict[str, str] = field(default_factory=dict)
    keeps: bool = True

    def headers(self) -> list[tuple[str, str]]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        lines = [("cookie", cookies), ("x-user", self.user)]
        return [(name, value) for name, value in lines if value]

    def take(self, reply: Reply) -> None:
        for line in reply.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if self.keeps:
                self.jar[name] = value


class Process:
    """One process of the shop, served by one interface."""

    def __init__(self, interface: str, rollout: Rollout, **settings: Any) -> None:
        self.asynchronous = interface == "asgi"
        self.canary = Canary(
            rollout,
            secret_keys=[KEY],
            bucket_secret=SECRET,
            identify=lambda view: view.header("X-User"),
            telemetry=False,
            **{"claim_budget": 1.0, **settings},
        )
        self.told: Told | None = None
        self._runner = asyncio.Runner()
        self.app: Any = (
            asgi.CanaryMiddleware(asgi_driver.as_asgi(self._steps), self.canary)
            if self.asynchronous
            else wsgi.CanaryMiddleware(wsgi_driver.as_wsgi(self._steps, lazy=False), self.canary)
        )

    def _steps(self) -> Iterator[Any]:
        found = current("checkout")
        self.told = Told(found.cohort, found.reason, found.period, found.measured)
        yield Start()
        yield b"done"

    def visit(self, browser: Browser) -> Told:
        """One request."""
        if self.asynchronous:
            return self.run(self.ask(browser))
        environ = wsgi_driver.http_environ(Ask(headers=browser.headers()))
        return self._answered(browser, wsgi_driver.exchange(self.app, environ))

    async def ask(self, browser: Browser) -> Told:
        """The same in the loop of the process."""
        scope = asgi_driver.http_scope(Ask(headers=browser.headers()))
        return self._answered(browser, await asgi_driver.exchange(self.app, scope))

    def run(self, coroutine: Coroutine[Any, Any, Told]) -> Told:
        """In the loop of the process."""
        return self._runner.run(coroutine)

    def _answered(self, browser: Browser, reply: Reply) -> Told:
        assert (reply.status, reply.error) == (200, None)
        browser.take(reply)
        assert self.told is not None
        return self.told

    def follows(self, document: Document | None) -> bool:
        return self.canary.engine.document == document

    def close(self) -> None:
        self._runner.run(self.canary.asker.leave())
        self._runner.close()
        self.canary.stop()


class Shop:
    """Processes that share a store, under one policy.

    Args:
        interface: ``asgi`` or ``wsgi``.
        url: of the store.
        namespace: of this test.
    """

    def __init__(self, interface: str, url: str, namespace: str) -> None:
        self.interface, self.url, self.namespace = interface, url, namespace
        self.local = url == "memory://"
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        keeper(self.store).forget("checkout", None)
        with ThreadPoolExecutor() as threads:  # each waits for threads of its own
            list(threads.map(Process.close, self.processes))

    def open(
        self,
        weight: int,
        policy: Policy = Policy.KEEP,
        affinity: str = "shared",
        processes: int = 1,
    ) -> list[Process]:
        rollout = Rollout("checkout", "1", "2", policy=policy, affinity=affinity)
        settings: dict[str, Any] = {"namespace": self.namespace, "store": self.url}
        if not self.local:
            settings["poll"] = 0.1
        for _ in range(processes):
            process = Process(self.interface, rollout, **settings)
            self.processes.append(process)
        plan = Plan.from_rollout(rollout)
        verbs.start(self.store, "checkout", by="test", plan=plan, weight=1_000 * weight)
        for process in self.processes:
            process.canary.arrive_blocking()
        self.heard()
        return self.processes

    @property
    def store(self) -> Any:
        return self.processes[0].canary.store

    def weigh(self, weight: int) -> None:
        verbs.weight(self.store, "checkout", 1_000 * weight, by="test")
        self.heard()

    def do(self, verb: Callable[..., Document]) -> None:
        verb(self.store, "checkout", by="test")
        self.heard()

    def heard(self) -> None:
        document = self.store.load().document
        for process in self.processes:
            wait_until(partial(process.follows, document), what="it is heard")

    def claims(self) -> dict[str, Claim]:
        return {found.key: found.claim for found in self.store.claims("checkout")}

    def written(self, number: int) -> dict[str, Claim]:
        """The claims, once there are so many; those of brand-new browsers are the agent's."""
        if not self.local:
            wait_until(lambda: len(self.claims()) == number, what="claims are written")
        return self.claims()


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
    browsers = [Browser(f"user-{n}") for n in range(8)]
    first = on_canary(process, browsers)
    assert on_canary(process, browsers) == first
    assert set(first) == {True, False}
    assert [browser.jar for browser in browsers] == [{}] * 8
    assert len(any_shop.claims()) == 8


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
    browsers = [Browser(f"user-{n}" if identified else "") for n in range(16)]
    first = on_canary(process, browsers)
    any_shop.weigh(10)
    assert on_canary(process, browsers) == first
    any_shop.weigh(100)
    assert on_canary(process, browsers) == [True] * 16
    any_shop.weigh(0)
    assert on_canary(process, browsers) == [True] * 16
    any_shop.do(verbs.kill)
    assert on_canary(process, browsers) == [False] * 16
    any_shop.do(verbs.revive)
    assert on_canary(process, browsers) == [False] * 16, "the weight is 0, and no pin is left"
    any_shop.weigh(50)
    assert on_canary(process, browsers) == first, "the draw outlives the epoch"


@pytest.mark.parametrize("affinity", ["shared", "cookie"])
def test_a_session_stays_on_either_side(any_shop: Shop, affinity: str) -> None:
    (process,) = any_shop.open(50, Policy.SESSION, affinity)
    browsers = [Browser(f"user-{n}" if n % 2 else "") for n in range(16)]
    first = on_canary(process, browsers)
    assert set(first) == {True, False}
    for weight in (0, 100, 10):
        any_shop.weigh(weight)
        assert on_canary(process, browsers) == first
    any_shop.do(verbs.promote)
    assert on_canary(process, browsers) == first
    any_shop.do(verbs.rollback)
    assert on_canary(process, browsers) == [False] * 16


@pytest.mark.parametrize("affinity", ["shared", "cookie"])
def test_who_follows_goes_both_ways(any_shop: Shop, affinity: str) -> None:
    (process,) = any_shop.open(50, Policy.FOLLOW, affinity)
    browsers = [Browser(f"user-{n}" if n % 2 else "") for n in range(16)]
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
