"""Cookies and identities that are forged, borrowed or old: S1 to S5 of FAULTS.md, over HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator

import pytest

from tests.support.clients import NAVIGATION, AsyncVisitor, Pool, Visitor
from tests.system import tokens, variants
from tests.system.cookies import (
    NAME,
    OTHER_KEY,
    SIZE,
    ask,
    at,
    genuine,
    safe,
    signed,
    spoiled,
    value,
    version,
)
from tests.system.crowd import AT_ONCE
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY, KEY, STABLE

MUTATIONS = 10_000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/%\u00e9\u4e2d"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with safe(tmp_path_factory.mktemp("safe")) as made:
        yield made


# --- S1 -----------------------------------------------------------------------------------------


def mutated(rng: random.Random, good: str) -> str:
    """A Cookie header that is nearly right."""
    at = rng.randrange(len(good))
    other = rng.choice(ALPHABET.replace(good[at], ""))
    value = rng.choice(
        [
            good[:at] + other + good[at + 1 :],
            good[:at] + other + good[at:],
            good[:at] + good[at + 1 :] if good[at] != good[at - 1] else good[1:],
            good[:at],
            good.rpartition(".")[0] + ".",
            good.rpartition(".")[0] + ".none",
            good.upper(),
            signed(OTHER_KEY),
            signed(KEY, salt="canary_middleware.visitor.other"),
            signed(KEY, salt="canary_middleware.upstream.safe"),
            signed(KEY, salt="itsdangerous.Signer"),
            good * 115,  # servers refuse heads of more than 8 kB themselves
            "\u00fc" * 60,
            "",
        ]
    )
    if rng.random() < 0.1:
        return f"{NAME}={good}; {NAME}={value}"
    return f"{NAME}={value}"


def test_s1_no_mutation_of_a_cookie_is_accepted_or_breaks_anything(rig: Rig) -> None:
    rng, good = random.Random(1), genuine(rig)
    forged = [mutated(rng, good) for _ in range(MUTATIONS)]
    wrong: list[str] = []

    async def try_all(port: int, cookies: list[str]) -> None:
        rest = iter(cookies)

        async def one_after_another(pool: Pool) -> None:
            for cookie in rest:
                visitor = AsyncVisitor(pool)
                response = await visitor.get("/shop/", NAVIGATION, Cookie=cookie)
                fresh = value(response)
                if response.status != 200 or len(fresh) != SIZE or fresh[:18] == good[:18]:
                    wrong.append(f"{cookie[:100]}: {response.status} {fresh}")

        async with Pool(port, AT_ONCE) as pool, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE // 2):
                group.create_task(one_after_another(pool))

    async def both() -> None:
        half = MUTATIONS // 2
        asgi, wsgi = rig.workers
        await asyncio.gather(try_all(asgi.port, forged[:half]), try_all(wsgi.port, forged[half:]))

    asyncio.run(both())
    print(f"\nS1: {MUTATIONS} mutations, {len(wrong)} accepted or failed (limit 0)")
    assert wrong == []
    assert ask(rig.workers[0], f"{NAME}={good}").all("Set-Cookie") == [], "the good one still is"


def test_s1_the_check_fails_for_whoever_has_the_key(rig: Rig) -> None:
    """The variant: a mutation that is signed with the right key and salt."""
    for worker in rig.workers:
        assert ask(worker, f"{NAME}={signed(KEY)}").all("Set-Cookie") == []


# --- S2 to S5 -----------------------------------------------------------------------------------


def believes_no_claim(workers: Iterable[Worker]) -> None:
    claimed = "nobody edits himself into the canary"
    for word in (CANARY, "canary", "always", "true", "1", f"{CANARY}.x.y"):
        for worker in workers:
            for name in (NAME, "canary", "canary-shop", "version"):
                response = ask(worker, f"{name}={word}", path=f"/shop/?canary={word}")
                assert version(response) == STABLE, claimed
            claims = {"X-Canary": word, "X-Version": word, "baggage": f"canary.version={word}"}
            with Visitor(worker.port, headers=claims) as visitor:
                assert version(visitor.get("/shop/")) == STABLE, claimed


def test_s2_nobody_edits_himself_into_the_canary(rig: Rig) -> None:
    with spoiled(rig, variants.BELIEVES) as gullible, at(rig, "0%"):
        believes_no_claim(rig.workers)
        with pytest.raises(AssertionError, match="nobody edits himself into the canary"):
            believes_no_claim([gullible])
    print("\nS2: 6 words in 4 cookies, a query and 3 headers, 0 honoured (limit 0)")


def binds_to_the_user(rig: Rig, asgi: Worker, wsgi: Worker) -> None:
    bound = value(ask(asgi, f"{NAME}={genuine(rig)}", user="alice"))
    assert len(bound) == SIZE + 13, "signing in binds the cookie to the user"
    alice = version(ask(asgi, f"{NAME}={bound}", user="alice"))
    seen = set()
    for number in range(20):
        own = version(ask(asgi, user=f"user-{number}"))
        borrowed = version(ask(wsgi, f"{NAME}={bound}", user=f"user-{number}"))
        assert borrowed == own, "alice's cookie says nothing about me"
        seen.add(own)
    assert seen == {STABLE, CANARY}, "some of them are not where alice is"
    assert version(ask(wsgi, f"{NAME}={bound}", user="alice")) == alice


def test_s3_the_cookie_of_another_user_says_nothing_about_me(rig: Rig) -> None:
    binds_to_the_user(rig, *rig.workers)
    print("\nS3: 20 users with alice's cookie, 20 on their own version")


def test_s3_the_check_fails_for_a_middleware_that_asks_the_cookie_first(rig: Rig) -> None:
    with (
        spoiled(rig, variants.COOKIE_FIRST) as worker,
        pytest.raises(AssertionError, match="alice's cookie says nothing about me"),
    ):
        binds_to_the_user(rig, rig.workers[0], worker)


def is_nobody(worker: Worker, cookie: str) -> None:
    """A cookie without worth: its bearer gets one of his own."""
    fresh = value(ask(worker, cookie, path="/blog/"))
    assert fresh, "a cookie of another application is none"
    assert fresh.split(".")[1] not in cookie


def test_s4_a_cookie_of_another_application_is_none(rig: Rig) -> None:
    for worker in rig.workers:
        is_nobody(worker, f"{NAME}-blog={genuine(rig)}")


def test_s4_the_check_fails_for_a_cookie_that_was_made_for_that_application(rig: Rig) -> None:
    """The variant: one salt for all applications, as the forger here uses that of the other."""
    for worker in rig.workers:
        with pytest.raises(AssertionError, match="a cookie of another application is none"):
            is_nobody(worker, f"{NAME}-blog={tokens.signed(KEY, 'safe-blog')}")


def tolerates(worker: Worker) -> None:
    day = 24 * 3600.0
    fine = ask(worker, f"{NAME}={signed(KEY)}")
    assert fine.all("Set-Cookie") == []
    for age in (-30.0, 30 * day):
        answer = ask(worker, f"{NAME}={signed(KEY, age=age)}")
        assert answer.all("Set-Cookie") == [], "age and skew are no reason for a new cookie"
        assert version(answer) == version(fine)
    for age in (50 * day, -3600.0):
        answer = ask(worker, f"{NAME}={signed(KEY, age=age)}")
        assert version(answer) == version(fine), "issued again, and nobody moves"
        assert value(answer).split(".")[1] == "A" * 16
    expired = ask(worker, f"{NAME}={signed(KEY, age=91 * day)}")
    assert value(expired).split(".")[1] != "A" * 16


def test_s5_age_skew_and_keys_decide_what_a_cookie_is_worth(rig: Rig) -> None:
    for worker in rig.workers:
        tolerates(worker)


def test_s5_the_check_fails_for_a_middleware_that_trusts_no_cookie_of_another_clock(
    rig: Rig,
) -> None:
    with (
        spoiled(rig, variants.PUNCTUAL) as worker,
        pytest.raises(AssertionError, match="age and skew are no reason for a new cookie"),
    ):
        tolerates(worker)


def without_the_old_key(worker: Worker) -> None:
    fresh = value(ask(worker, f"{NAME}={signed(KEY)}"))
    assert "A" * 16 not in fresh, "what a removed key signed is worth nothing"
    assert ask(worker, f"{NAME}={signed(OTHER_KEY)}").all("Set-Cookie") == []


def test_s5_a_removed_key_is_worth_nothing_at_once(rig: Rig) -> None:
    with spoiled(rig, keys=(OTHER_KEY,)) as worker:
        without_the_old_key(worker)


def test_s5_the_check_fails_where_the_old_key_is_kept(rig: Rig) -> None:
    with (
        spoiled(rig, keys=(KEY, OTHER_KEY)) as worker,
        pytest.raises(AssertionError, match="what a removed key signed is worth nothing"),
    ):
        without_the_old_key(worker)


def of_a_canary(worker: Worker) -> str:
    """The cookie of an anonymous visitor who is on canary."""
    cookies = (f"{NAME}={signed(KEY, visitor=f'{number:016}')}" for number in range(100))
    return next(cookie for cookie in cookies if version(ask(worker, cookie)) == CANARY)


def stay_away(workers: Iterable[Worker], cookie: str) -> None:
    found = {version(ask(worker, cookie)) for worker in workers}
    assert found == {STABLE}, "an old cookie is on stable after a kill"


def test_s4_an_old_cookie_is_on_stable_after_a_kill(rig: Rig) -> None:
    cookie = of_a_canary(rig.workers[0])
    with spoiled(rig, variants.TESTERS_PASS) as worker:
        rig.cli("kill")
        rig.all_follow(STABLE)
        stay_away(rig.workers, cookie)
        with pytest.raises(AssertionError, match="an old cookie is on stable after a kill"):
            stay_away([worker], cookie)
    rig.cli("revive", "--yes")
    rig.all_follow(CANARY)
