"""Threats of FAULTS.md section 3 over HTTP: forged cookies, borrowed identities, key rings."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import time
from collections.abc import Iterator

import itsdangerous
import pytest

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.clients import NAVIGATION, AsyncVisitor, Pool, Response, Visitor
from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system.crowd import AT_ONCE
from tests.system.rig import Rig, Worker
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


def signed(
    key: str,
    *,
    visitor: str = "A" * 16,
    age: float = 0.0,
    salt: str = "canary_middleware.visitor.safe",
) -> str:
    """A cookie as somebody who has a key would make it, with itsdangerous."""
    signer = itsdangerous.Signer(
        key, salt=salt, sep=".", key_derivation="hmac", digest_method=hashlib.sha256
    )
    return signer.sign(f"1.{visitor}.{base36(int(time.time() - age))}").decode()


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return base36(number // 36) + digits[number % 36] if number >= 36 else digits[number]


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


def test_s2_nobody_edits_himself_into_the_canary(rig: Rig) -> None:
    store = rig.store()
    verbs.weight(store, "shop", 0, by="test")
    time.sleep(1.0)
    for word in (CANARY, "canary", "always", "true", "1", f"{CANARY}.x.y"):
        for worker in rig.workers:
            for name in (NAME, "canary", "canary-shop", "version"):
                response = ask(worker, f"{name}={word}", path=f"/shop/?canary={word}")
                assert version(response) == STABLE
            claims = {"X-Canary": word, "X-Version": word, "baggage": f"canary.version={word}"}
            with Visitor(worker.port, headers=claims) as visitor:
                assert version(visitor.get("/shop/")) == STABLE
    verbs.weight(store, "shop", parse_weight("50%"), by="test")
    time.sleep(1.0)


def test_s3_the_cookie_of_another_user_says_nothing_about_me(rig: Rig) -> None:
    asgi, wsgi = rig.workers
    bound = value(ask(asgi, f"{NAME}={genuine(rig)}", user="alice"))
    assert len(bound) == SIZE + 13, "signing in binds the cookie to the user"
    alice = version(ask(asgi, f"{NAME}={bound}", user="alice"))
    seen = set()
    for number in range(20):
        own = version(ask(asgi, user=f"user-{number}"))
        assert version(ask(wsgi, f"{NAME}={bound}", user=f"user-{number}")) == own
        seen.add(own)
    assert seen == {STABLE, CANARY}, "some of them are not where alice is"
    assert version(ask(wsgi, f"{NAME}={bound}", user="alice")) == alice


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


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
def test_s27_an_error_page_tells_nothing_about_the_house(rig: Rig, server: str) -> None:
    (worker,) = (found for found in rig.workers if found.server == server)
    seen = set()
    for number in range(30):
        with Visitor(worker.port) as visitor:
            cookie = {"Cookie": f"{NAME}={signed(KEY, visitor=f'{number:016}')}"}
            page = visitor.request("GET", "/shop/?raise=1", headers=cookie)
            order = visitor.request("POST", "/shop/?raise=1", headers=cookie)
        assert order.status == 500
        for answer in (page, order):
            everything = f"{answer.text} {answer.headers}"
            found = re.findall(
                HOUSE,
                everything.replace(answer.header("Date") or "", ""),
            )
            assert found == []
        seen.add(page.status)
    assert seen == {500}, "stable fails as well here, so nothing can be rescued"


def test_s24_what_others_write_starts_no_line_in_the_log(rig: Rig) -> None:
    (worker,) = rig.serve("uvicorn", loud=True, snapshot_path=str(rig.directory / "s24"))
    evil = "\r\nEVIL\x1b[31m\u2028EVIL" + "x" * 5000
    with Visitor(worker.port) as visitor:
        visitor.get("/shop/%0d%0aEVIL?a=%0aEVIL")
        visitor.request("GET", "/shop/", headers={"Cookie": f"{NAME}=EVIL\tEVIL", "X-User": "EVIL"})
    with rig.client() as client:
        client.set("canary:{safe}:kill", evil)
        rig.all_follow(STABLE)
        (rig.directory / "s24" / "safe.kill").write_text(evil)
        time.sleep(1.0)
        client.delete("canary:{safe}:kill")
    (rig.directory / "s24" / "safe.kill").unlink()
    rig.cli("revive")
    rig.all_follow(CANARY)
    text = worker.process.log.read_bytes().decode(errors="replace")
    assert "kill file" in text
    assert not [line for line in text.splitlines() if line.startswith("EVIL")]
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 4000
    worker.kill()
    rig.workers.remove(worker)
