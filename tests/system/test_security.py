"""Threats of FAULTS.md section 3 over HTTP: forged cookies, borrowed identities, key rings."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.clients import NAVIGATION, AsyncVisitor, Pool, Response, Visitor
from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import tokens, variants
from tests.system.crowd import AT_ONCE
from tests.system.rig import Rig, Worker, follow
from tests.system.site import CANARY, KEY, STABLE

MUTATIONS = 10_000
NAME = "canary-safe"
SIZE = 69
"""Characters of an anonymous cookie."""
OTHER_KEY = "another-key-of-these-tests-is-long-enough"
HOUSE = r"Traceback|\.py\b|RuntimeError|canary_middleware|127\.0\.0\.1|:\d{4,5}\b|redis|1\.0 fails"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/%\u00e9\u4e2d"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An ASGI and a WSGI worker that know users, half of the visitors on canary."""
    directory = tmp_path_factory.mktemp("safe")
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, "safe", identified=True) as made,
    ):
        for app in ("shop", "blog"):
            made.started(50_000, app)
        made.serve("uvicorn", "gunicorn", apps=("shop", "blog"))
        made.all_follow(CANARY)
        yield made


def ask(worker: Worker, cookie: str = "", user: str = "", path: str = "/shop/") -> Response:
    headers = {name: value for name, value in (("Cookie", cookie), ("X-User", user)) if value}
    with Visitor(worker.port) as visitor:
        return visitor.request("GET", path, fetch=NAVIGATION, headers=headers)


def version(response: Response) -> str:
    assert response.status == 200
    return str(json.loads(response.body)["version"])


def value(response: Response) -> str:
    """The value of the cookie that was set."""
    return (response.header("Set-Cookie") or "").partition("=")[2].partition(";")[0]


def genuine(rig: Rig) -> str:
    found = value(ask(rig.workers[0]))
    assert len(found) == SIZE
    return found


signed = partial(tokens.signed, namespace="safe")


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


@contextmanager
def at(rig: Rig, weight: str) -> Iterator[None]:
    """Another weight than 50 % while the block runs."""
    verbs.weight(rig.store(), "shop", parse_weight(weight), by="test")
    time.sleep(1.0)
    yield
    verbs.weight(rig.store(), "shop", parse_weight("50%"), by="test")
    time.sleep(1.0)


@contextmanager
def spoiled(rig: Rig, variant: str, **setup: object) -> Iterator[Worker]:
    """One more ASGI worker, which is broken."""
    (worker,) = rig.serve("uvicorn", apps=("shop", "blog"), variant=variant, **setup)
    rig.workers.remove(worker)
    follow([worker], CANARY, within=5.0)
    yield worker
    worker.kill()


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
    with at(rig, "0%"):
        believes_no_claim(rig.workers)
    print("\nS2: 6 words in 4 cookies, a query and 3 headers, 0 honoured (limit 0)")


def test_s2_the_check_fails_for_a_middleware_that_believes_a_header(rig: Rig) -> None:
    with (
        spoiled(rig, variants.BELIEVES) as worker,
        at(rig, "0%"),
        pytest.raises(AssertionError, match="nobody edits himself into the canary"),
    ):
        believes_no_claim([worker])


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


def test_s4_a_cookie_of_another_application_is_none(rig: Rig) -> None:
    good = genuine(rig)
    for worker in rig.workers:
        answer = ask(worker, f"{NAME}-blog={good}", path="/blog/")
        assert value(answer)[:18] != good[:18]


def test_s5_age_skew_and_keys_decide_what_a_cookie_is_worth(rig: Rig) -> None:
    day = 24 * 3600.0
    for worker in rig.workers:
        fine = ask(worker, f"{NAME}={signed(KEY)}")
        assert fine.all("Set-Cookie") == []
        for age in (-30.0, 30 * day):
            answer = ask(worker, f"{NAME}={signed(KEY, age=age)}")
            assert (version(answer), answer.all("Set-Cookie")) == (version(fine), [])
        for age in (50 * day, -3600.0):
            answer = ask(worker, f"{NAME}={signed(KEY, age=age)}")
            assert version(answer) == version(fine), "issued again, and nobody moves"
            assert value(answer).split(".")[1] == "A" * 16
        expired = ask(worker, f"{NAME}={signed(KEY, age=91 * day)}")
        assert value(expired).split(".")[1] != "A" * 16


def test_s5_a_removed_key_is_worth_nothing_at_once(rig: Rig) -> None:
    (worker,) = rig.serve("uvicorn", keys=(OTHER_KEY,))
    answer = ask(worker, f"{NAME}={signed(KEY)}")
    assert value(answer).split(".")[1] != "A" * 16
    assert ask(worker, f"{NAME}={signed(OTHER_KEY)}").all("Set-Cookie") == []
    worker.kill()
    rig.workers.remove(worker)


def test_s4_an_old_cookie_is_on_stable_after_a_kill(rig: Rig) -> None:
    asgi, wsgi = rig.workers
    canary = next(
        cookie
        for number in range(100)
        if version(ask(asgi, cookie := f"{NAME}={signed(KEY, visitor=f'{number:016}')}")) == CANARY
    )
    assert version(ask(wsgi, canary)) == CANARY
    rig.cli("kill")
    rig.all_follow(STABLE)
    assert {version(ask(worker, canary)) for worker in rig.workers} == {STABLE}
    rig.cli("revive")
    rig.all_follow(CANARY)


# --- S6, S8, S14 --------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [(), ("short",), (KEY, "x" * 31)])
def test_s6_a_weak_key_is_refused_at_the_start_and_not_shown(
    keys: tuple[str, ...], rig: Rig
) -> None:
    worker = rig.worker("uvicorn", keys=keys)
    rig.workers.remove(worker)
    with pytest.raises(NotReadyError, match="secret_keys"):
        worker.start()
    assert not [key for key in keys if f"'{key}'" in worker.process.output()]


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
@pytest.mark.parametrize("secure", [True, False])
def test_s8_s14_the_cookie_says_what_it_should_and_is_set_once(
    rig: Rig, server: str, secure: bool
) -> None:
    (worker,) = rig.serve(server, secure=secure)
    rig.workers.remove(worker)
    with Visitor(worker.port, headers={"X-Forwarded-Proto": "https"}) as visitor:
        line = visitor.get("/shop/").header("Set-Cookie") or ""
        pair, *attributes = line.split("; ")
        name, _, text = pair.partition("=")
        assert name == (f"__Host-{NAME}" if secure else NAME)
        assert len(text.encode()) <= 200
        expected = {"Max-Age=7776000", "Path=/", "HttpOnly", "SameSite=Lax"}
        assert set(attributes) == expected | ({"Secure"} if secure else set())
        assert [visitor.get("/shop/").all("Set-Cookie") for _ in range(3)] == [[], [], []]
    worker.kill()


# --- S24, S27 -----------------------------------------------------------------------------------


def tells_nothing(worker: Worker) -> None:
    seen = set()
    for number in range(30):
        with Visitor(worker.port) as visitor:
            cookie = {"Cookie": f"{NAME}={signed(KEY, visitor=f'{number:016}')}"}
            page = visitor.request("GET", "/shop/?raise=1", headers=cookie)
            order = visitor.request("POST", "/shop/?raise=1", headers=cookie)
        assert order.status == 500
        for answer in (page, order):
            everything = f"{answer.text} {answer.headers}"
            found = re.findall(HOUSE, everything.replace(answer.header("Date") or "", ""))
            assert found == [], "an error page tells nothing about the house"
        seen.add(page.status)
    assert seen == {500}, "stable fails as well here, so nothing can be rescued"


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_s27_an_error_page_tells_nothing_about_the_house(rig: Rig, server: str) -> None:
    (worker,) = (found for found in rig.workers if found.server == server)
    tells_nothing(worker)
    print(f"\nS27 {server}: 60 error pages, 0 name a host, port, path or class (limit 0)")


def test_s27_the_check_fails_for_a_middleware_that_shows_errors(rig: Rig) -> None:
    with (
        spoiled(rig, variants.SHOWS_ERRORS) as worker,
        pytest.raises(AssertionError, match="an error page tells nothing about the house"),
    ):
        tells_nothing(worker)


EVIL = "\r\nEVIL\x1b[31m\u2028EVIL"


def attack_log(worker: Worker) -> None:
    """Everything of a visitor that might be written down."""
    with Visitor(worker.port) as visitor:
        visitor.get("/shop/%0d%0aEVIL?a=%0aEVIL")
        headers = {"Cookie": f"{NAME}=EVIL\tEVIL", "X-User": "EVIL" + "V" * 30_000}
        visitor.request("GET", "/shop/", headers=headers)
        with suppress(OSError, http.client.HTTPException):  # servers refuse it
            visitor.request("GET", "/shop/", headers={"X-User": "EVIL" + "V" * 2**20})


def starts_no_line(worker: Worker) -> None:
    text = worker.process.log.read_bytes().decode(errors="replace")
    started = [line for line in text.splitlines() if line.startswith("EVIL")]
    assert started == [], "what others write starts no line"
    assert "\x1b" not in text
    longest = {who: max(map(len, re.findall(f"{who}+", text)), default=0) for who in "VKF"}
    print(f"\nS24: {len(text)} characters, 0 lines begun by others, in one go at most {longest}")
    assert longest["V"] <= 256, "a visitor"
    assert longest["K"] <= 256, "whoever writes the kill key"
    assert longest["F"] <= 1000, "whoever writes the kill file, an operator of this very host"


def test_s24_what_others_write_starts_no_line_in_the_log(rig: Rig) -> None:
    (worker,) = rig.serve("uvicorn", loud=True, snapshot_path=str(rig.directory / "s24"))
    attack_log(worker)
    with rig.client() as client:
        client.set("canary:{safe}:kill", EVIL + "K" * 5000)
        rig.all_follow(STABLE)
        (rig.directory / "s24" / "safe.kill").write_text(EVIL + "F" * 5000)
        worker.process.wait_log("kill file")
        client.delete("canary:{safe}:kill")
    (rig.directory / "s24" / "safe.kill").unlink()
    rig.cli("revive")
    rig.all_follow(CANARY)
    starts_no_line(worker)
    worker.kill()
    rig.workers.remove(worker)


def test_s24_the_check_fails_for_a_middleware_that_logs_paths_as_they_are(rig: Rig) -> None:
    with spoiled(rig, variants.LOGS_AS_IS, loud=True) as worker:
        attack_log(worker)
        with pytest.raises(AssertionError, match="what others write starts no line"):
            starts_no_line(worker)
