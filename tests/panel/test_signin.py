"""Ten thousand wrong sign-ins lock nobody out and find nothing; forms of other sites do nothing."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

import pytest

from canary_middleware import verbs
from canary_middleware.panel.tokens import mint
from tests.panel.rig import Browser, Panel
from tests.support.clients import (
    CROSS_SITE_FETCH,
    CROSS_SITE_NAVIGATION,
    FETCH,
    NO_METADATA,
    SAME_ORIGIN_NAVIGATION,
    Visitor,
)

WRONG = 10_000
TOGETHER = 20
"""Requests that are on their way at a time, on each connection."""
ATTACKER, OTHER = "192.0.2.66", "198.51.100.7"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def guess(panel: Panel, count: int) -> Counter[str]:
    """So many wrong tokens from one address, by the form and by the API in turn."""
    browser = Browser(panel.port)
    csrf = browser.csrf("/sign-in")
    cookie = browser.cookies.header()["Cookie"]
    browser.close()
    head = f"Host: x\r\nX-Forwarded-For: {ATTACKER}\r\nCookie: {cookie}\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded"
    found: Counter[str] = Counter()
    with socket.create_connection(("127.0.0.1", panel.port), timeout=30) as connection:
        answers = connection.makefile("rb")
        for _ in range(count // TOGETHER):
            sent = b""
            for _ in range(TOGETHER // 2):
                body = urlencode({"csrf": csrf, "token": mint()})
                length = f"Content-Length: {len(body)}"
                sent += f"POST /sign-in HTTP/1.1\r\n{head}{kind}\r\n{length}\r\n\r\n{body}".encode()
                bearer = f"Authorization: Bearer {mint()}\r\n"
                sent += f"GET /api/status HTTP/1.1\r\n{head}{bearer}\r\n".encode()
            connection.sendall(sent)
            found.update(status_of(answers) for _ in range(TOGETHER))
    return found


def status_of(answers: BinaryIO) -> str:
    """Of the next answer on a connection, which is read to its end."""
    status, length = answers.readline().split()[1].decode(), 0
    while (line := answers.readline().lower()) != b"\r\n":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    answers.read(length)
    return status


def sign_in(panel: Panel, token: str, address: str) -> int:
    browser = panel.browser()
    fields = {"csrf": browser.csrf("/sign-in"), "token": token}
    return browser.post_form("/sign-in", fields, {"X-Forwarded-For": address}).status


@pytest.mark.slow
def test_ten_thousand_wrong_sign_ins_lock_nobody_out_and_find_nothing(
    tmp_path: Path, namespace: str
) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    with Panel(tmp_path, url, namespace, trust=["127.0.0.0/8"]) as panel:
        with ThreadPoolExecutor(4) as pool:
            found = sum(pool.map(lambda _: guess(panel, WRONG // 4), range(4)), Counter[str]())
        assert set(found) == {"401", "429"}
        assert found.total() == WRONG
        assert found["401"] < 20  # those of its bucket
        # Neither others nor whoever shares the address with the attacker.
        assert sign_in(panel, panel.tokens["alice"], ATTACKER) == 303
        assert sign_in(panel, panel.tokens["bob"], OTHER) == 303
        assert sign_in(panel, mint(), OTHER) == 401
        assert sign_in(panel, mint(), ATTACKER) == 429
        lines = panel.log().splitlines()
        assert 0 < sum("a wrong token" in line for line in lines) < 60
        assert not any("cnp_" in line for line in lines)


def test_says_how_long_to_wait(panel: Panel) -> None:
    with Visitor(panel.port) as visitor:
        bearer = f"Bearer {mint()}"
        answers = [visitor.get("/api/status", Authorization=bearer) for _ in range(12)]
    assert [one.status for one in answers] == [401] * 10 + [429] * 2
    assert 0 < int(answers[-1].header("Retry-After") or 0) <= 30


ORIGIN = {"Origin": "https://evil.example"}


@pytest.fixture
def calm(standing: Panel) -> Panel:
    """A panel of a namespace in which nothing is killed."""
    if killed(standing):
        store = standing.store()
        verbs.revive(store, by="test")
        store.close()
    return standing


@pytest.mark.parametrize(("fetch", "headers", "with_csrf", "status"), [
    (SAME_ORIGIN_NAVIGATION, {}, True, 303),
    (SAME_ORIGIN_NAVIGATION, {}, False, 403),
    (FETCH, {}, True, 303),
    (NO_METADATA, {}, True, 303),  # an old browser, whose form has our token
    (NO_METADATA, {}, False, 403),
    (NO_METADATA, ORIGIN, True, 403),
    (NO_METADATA, {"Origin": "null"}, True, 403),
    (NO_METADATA, {"Origin": "null"}, False, 403),
    (CROSS_SITE_NAVIGATION, ORIGIN, True, 403),
    (CROSS_SITE_NAVIGATION, ORIGIN, False, 403),
    (CROSS_SITE_FETCH, ORIGIN, True, 403),
    ({"Sec-Fetch-Site": "same-site"}, {}, True, 403),
])  # fmt: skip
def test_a_form_counts_that_a_page_of_ours_has_sent(
    calm: Panel, fetch: dict[str, str], headers: dict[str, str], with_csrf: bool, status: int
) -> None:
    browser = calm.browser("alice")
    fields = {"why": "because", **({"csrf": browser.csrf()} if with_csrf else {})}
    # SameSite=Strict would leave the cookie out; here the browser is one that does not.
    assert browser.post_form("/kill", fields, headers, fetch).status == status
    assert killed(calm) is (status == 303)


def killed(panel: Panel) -> bool:
    store = panel.store()
    document = store.load().document
    store.close()
    return document is not None and bool(document.kills)


def test_the_form_of_another_session_does_not_count(calm: Panel) -> None:
    alice, eve = calm.browser("alice"), calm.browser("bob")
    assert alice.post_form("/kill", {"csrf": eve.csrf(), "why": "x"}).status == 403
    assert not killed(calm)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data", ""])
def test_what_no_form_of_ours_sends_needs_the_header(calm: Panel, kind: str) -> None:
    browser = calm.browser("alice")
    csrf = browser.csrf()
    headers = {"Content-Type": kind} if kind else {}
    body = f'{{"csrf": "{csrf}", "why": "x"}}'.encode()
    sent = browser.request("POST", "/api/kill", body, fetch=FETCH, headers=headers)
    assert sent.status == 403
    assert not killed(calm)
    headers["X-Canary-CSRF"] = csrf
    forged = browser.request("POST", "/api/kill", body, fetch=CROSS_SITE_FETCH, headers=headers)
    assert forged.status == 403
    assert not killed(calm)


def test_a_get_changes_nothing(calm: Panel) -> None:
    browser = calm.browser("alice")
    for path in ("/kill?why=x", "/sign-out", "/api/kill", "/rollouts/checkout/promote?why=x"):
        browser.get(path, CROSS_SITE_NAVIGATION)
    assert not killed(calm)
    assert browser.see("/").status == 200


def test_nobody_is_signed_out_by_another_site(calm: Panel) -> None:
    # Its form comes without the cookie, which is strict; an answer that drops it would count.
    with calm.browser() as stranger:
        sent = stranger.post_form("/sign-out", {}, ORIGIN, CROSS_SITE_NAVIGATION)
    assert sent.status == 403
    assert sent.header("set-cookie") is None


def test_nobody_is_signed_in_by_another_site(calm: Panel) -> None:
    # Otherwise somebody would work, and be recorded, under the name of who attacks.
    browser = calm.browser()
    fields = {"token": calm.tokens["bob"], "csrf": browser.csrf("/sign-in")}
    assert browser.post_form("/sign-in", fields, ORIGIN, CROSS_SITE_NAVIGATION).status == 403
    assert browser.post_form("/sign-in", {"token": calm.tokens["bob"]}).status == 403
    with Visitor(calm.port) as other:
        body = urlencode(fields).encode()
        assert other.request("POST", "/sign-in", body, headers=FORM).status == 403
