from __future__ import annotations

import base64
from typing import Any

import pytest

from canary_middleware.core.hook_address import host_of, target_of, url_problems
from canary_middleware.core.state import Verb
from canary_middleware.core.webhook import EVENTS, QUIET, Webhook, alert_problems, key_of, signed

URL = "https://hooks.example.com/services/T0/B0/s3cr3t"
SECRET = "s" * 32
KNOWN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The vector that the reference libraries of Standard Webhooks hold themselves against."""
    body = b'{"test": 2432232314}'
    head = signed(key_of(KNOWN), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert head == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_without_a_key_nothing_is_signed() -> None:
    assert "webhook-signature" not in signed(None, "evt_1", 1, b"{}")


def test_a_secret_without_prefix_is_its_own_bytes() -> None:
    assert key_of(SECRET) == key_of(SECRET.encode()) == SECRET.encode()
    assert len(key_of(KNOWN)) == 24


def test_every_verb_can_be_told() -> None:
    others = ("kill", "kill-file", "restore", "revoke")
    assert {*(verb.value for verb in Verb), *others} == {*EVENTS, *QUIET}
    assert not set(EVENTS) & set(QUIET)
    hook = Webhook(URL)
    assert all(hook.wants(event) for event in [*EVENTS, "test"])
    assert not any(map(hook.wants, QUIET))


def test_what_is_shown_of_a_hook_is_its_host() -> None:
    hook = Webhook(URL, secret=SECRET)
    assert hook.host == "hooks.example.com"
    assert "s3cr3t" not in repr(hook)
    assert SECRET not in repr(hook)
    assert "s3cr3t" not in hook.name
    assert hook.name != Webhook(URL + "x").name


@pytest.mark.parametrize(("url", "target"), [
    ("https://a.example/x?y=1", (True, "a.example", 443, "/x?y=1")),
    ("http://a.example:8080", (False, "a.example", 8080, "/")),
    ("http://[::1]:81/x", (False, "::1", 81, "/x")),
])  # fmt: skip
def test_an_address_has_parts(url: str, target: tuple[object, ...]) -> None:
    assert list(url_problems(url, "url")) == []
    assert tuple(target_of(url)) == target


@pytest.mark.parametrize(("url", "wrong"), [
    (5, "is int, not text"),
    ("hooks.example.com/x", "is neither http nor https"),
    ("ftp://a.example/x", "is neither http nor https"),
    ("https://", "names no host"),
    ("https://a.example:0/", "names no host"),
    ("https://a.example:99999/", "is no address"),
    ("https://[::1/", "is no address"),
    ("https://me:s3cr3t@a.example/", "holds a user or a password"),
    ("https://a.example/#s3cr3t", "has a #fragment, which is never sent"),
    ("https://a.example/s3cr3t\r\nHost: b", "is not one word of at most 1000 ASCII characters"),
    ("https://a.example/s3cr3t b", "is not one word of at most 1000 ASCII characters"),
    ("https://ä.example/", "is not one word of at most 1000 ASCII characters"),
    ("https://a.example/" + "s3cr3t" * 200, "is not one word of at most 1000 ASCII characters"),
])  # fmt: skip
def test_an_address_that_is_none_is_not_shown(url: Any, wrong: str) -> None:
    (problem,) = url_problems(url, "url")
    assert problem.message == wrong
    assert "s3cr3t" not in str(problem)


def test_the_host_of_anything_can_be_shown() -> None:
    assert host_of("https://me:s3cr3t@a.example:81/x") == "a.example:81"
    assert host_of("https://[::1/") == "?"
    assert host_of("nothing") == "?"


def test_good_declarations_have_no_problem() -> None:
    hooks = [
        Webhook(URL), Webhook(URL + "x", KNOWN, "slack", ["kill"]), Webhook(URL + "y", b"s" * 32),
    ]  # fmt: skip
    assert alert_problems(hooks, SECRET) == []
    assert alert_problems((), None) == alert_problems([], KNOWN) == []


LISTED = Webhook([URL])  # type: ignore[arg-type]  # as somebody writes it whose editor is silent


@pytest.mark.parametrize(("alerts", "secret", "place", "wrong"), [
    (URL, None, "alerts", "is str, not a list"),
    (None, None, "alerts", "is NoneType, not a list"),
    (Webhook(URL), None, "alerts", "is Webhook, not a list"),
    ([LISTED], None, "alerts[0], url", "is list, not text"),
    ([URL], None, "alerts[0]", "is str, not Webhook"),
    ([Webhook(URL), Webhook(URL, format="slack")], None, "alerts[1], url", "address of alerts[0]"),
    ([Webhook(URL, format="xml")], None, "alerts[0], format", "'xml' is none"),
    ([Webhook(URL, events=["exploded"])], None, "alerts[0], events", "no action of history"),
    ([Webhook(URL, events=[])], None, "alerts[0], events", "is empty"),
    ([Webhook(URL, events="kill")], None, "alerts[0], events", "is not a list"),
    ([Webhook(URL, secret="short")], None, "alerts[0], secret", "has 5 bytes, at least 32"),
    ([Webhook(URL, secret="whsec_%%")], None, "alerts[0], secret", "is no base64 after whsec_"),
    ([], "whsec_" + base64.b64encode(b"s" * 23).decode(), "webhook_secret", "has 23 bytes"),
    ([], 5, "webhook_secret", "is int, not str or bytes"),
    ([Webhook(f"{URL}{at}") for at in range(17)], None, "alerts", "are 17, at most 16"),
])  # fmt: skip
def test_mistakes_have_their_place(alerts: Any, secret: Any, place: str, wrong: str) -> None:
    problems = alert_problems(alerts, secret)
    assert [(one.place, wrong in one.message) for one in problems] == [(place, True)]
    assert "s3cr3t" not in str(problems)
