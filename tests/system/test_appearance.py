"""What a visitor gets to see of the house: S6, S8, S14, S24 and S27 of FAULTS.md, over HTTP."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.clients import Visitor
from tests.support.servers import NotReadyError
from tests.system import variants
from tests.system.cookies import NAME, safe, signed, spoiled
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY, KEY, STABLE

HOUSE = r"Traceback|\.py\b|RuntimeError|canary_middleware|127\.0\.0\.1|:\d{4,5}\b|redis|1\.0 fails"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with safe(tmp_path_factory.mktemp("safe")) as made:
        yield made


# --- S6, S8, S14 --------------------------------------------------------------------------------


def refuses(rig: Rig, keys: tuple[str, ...]) -> None:
    worker = rig.worker("uvicorn", keys=keys)
    rig.workers.remove(worker)
    with suppress(NotReadyError):
        worker.start()
    assert not worker.process.running, "a weak key is refused at the start"
    assert "secret_keys" in worker.process.output()
    assert not [key for key in keys if f"'{key}'" in worker.process.output()]


@pytest.mark.parametrize("keys", [(), ("short",), (KEY, "x" * 31)])
def test_s6_a_weak_key_is_refused_at_the_start_and_not_shown(
    keys: tuple[str, ...], rig: Rig
) -> None:
    refuses(rig, keys)


def test_s6_the_check_fails_for_a_key_that_is_just_long_enough(rig: Rig) -> None:
    with pytest.raises(AssertionError, match="a weak key is refused at the start"):
        refuses(rig, (KEY, "x" * 32))


def is_as_it_should(worker: Worker, *, secure: bool) -> None:
    with Visitor(worker.port, headers={"X-Forwarded-Proto": "https"}) as visitor:
        line = visitor.get("/shop/").header("Set-Cookie") or ""
        pair, *attributes = line.split("; ")
        name, _, text = pair.partition("=")
        assert name == (f"__Host-{NAME}" if secure else NAME), "the cookie says what it should"
        assert len(text.encode()) <= 200
        expected = {"Max-Age=7776000", "Path=/", "HttpOnly", "SameSite=Lax"}
        assert set(attributes) == expected | ({"Secure"} if secure else set())
        again = [visitor.get("/shop/").all("Set-Cookie") for _ in range(3)]
        assert again == [[], [], []], "the cookie is set once"
    print(f"\nS8, S14 {worker.server}: {line!r}, 0 of 3 later answers set it")


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn"])
@pytest.mark.parametrize("secure", [True, False])
def test_s8_s14_the_cookie_says_what_it_should_and_is_set_once(
    rig: Rig, server: str, secure: bool
) -> None:
    (worker,) = rig.serve(server, secure=secure)
    rig.workers.remove(worker)
    is_as_it_should(worker, secure=secure)
    worker.kill()


def test_s8_the_check_fails_for_a_cookie_without_secure(rig: Rig) -> None:
    with pytest.raises(AssertionError, match="the cookie says what it should"):
        is_as_it_should(rig.workers[0], secure=True)


def test_s14_the_check_fails_for_a_middleware_that_forgets_its_visitors(rig: Rig) -> None:
    with (
        spoiled(rig, variants.FORGETS) as worker,
        pytest.raises(AssertionError, match="the cookie is set once"),
    ):
        is_as_it_should(worker, secure=False)


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
    assert longest["F"] <= 256, "whoever writes the kill file"


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
    rig.cli("revive", "--yes")
    rig.all_follow(CANARY)
    starts_no_line(worker)
    worker.kill()
    rig.workers.remove(worker)


def test_s24_the_check_fails_for_a_middleware_that_logs_paths_as_they_are(rig: Rig) -> None:
    with spoiled(rig, variants.LOGS_AS_IS, loud=True) as worker:
        attack_log(worker)
        with pytest.raises(AssertionError, match="what others write starts no line"):
            starts_no_line(worker)
