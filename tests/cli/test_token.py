"""`token`: what it prints is what the middleware takes, and keys never come by the command line."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from canary_middleware import Canary, Rollout
from canary_middleware.cli import main
from canary_middleware.core.override import LONGEST
from canary_middleware.core.state import Plan
from canary_middleware.wsgi import CanaryMiddleware
from tests.cli.conftest import Shell
from tests.scenarios import wsgi_apps, wsgi_driver
from tests.scenarios.words import Ask

OLD, KEY = "o" * 32, "k" * 32
CLOSED = "redis://127.0.0.1:1/0"
PRINTED = re.compile(
    r"checkout: (?P<what>[^\n]*), until (?P<end>[^\n]*) UTC\n"
    r"  header  X-Canary-Override: (?P<token>\S+)\n"
    r"  cookie  (?P<cookie>\S+)=(?P=token)\n"
    r"  query   \?canary-override=(?P=token)\n"
    r"note: the application takes a token in the ways of its setting `overrides`, (?P<ways>.*)\n"
    r"note: the cookie's name follows its setting `secure`, (?P<secure>.*)\n"
)
WAYS = ("header", "cookie", "query")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET_KEYS", f"{OLD},{KEY}")


def printed(canary: Shell, *arguments: str, err: str = "") -> dict[str, str]:
    answer = canary("token", "checkout", *arguments)
    assert (answer.code, answer.err) == (0, err)
    found = PRINTED.fullmatch(answer.out)
    assert found, answer.out
    return found.groupdict()


def version(namespace: str, ask: Ask, *, key: str = KEY, canary: str = "1.5.0") -> str:
    """What an application of that namespace answers at 0 %."""
    shop = Canary(
        Rollout("checkout", stable="1.4.2", canary=canary),
        namespace=namespace, secret_keys=[key], overrides=WAYS, autostart="0%", telemetry=False,
    )  # fmt: skip
    app = CanaryMiddleware(wsgi_apps.version, shop)
    return wsgi_driver.exchange(app, wsgi_driver.http_environ(ask)).body.decode()


def test_every_way_that_is_printed_works(started: Shell) -> None:
    said = printed(started, "canary", "--for", "2h")
    assert said["what"] == "canary, release 1.5.0"
    assert said["cookie"] == f"__Host-canary-override-{started.namespace}"
    for ask in (
        Ask(headers=[("x-canary-override", said["token"])]),
        Ask(headers=[("cookie", f"{said['cookie']}={said['token']}")]),
        Ask(f"/checkout?canary-override={said['token']}"),
    ):
        assert version(started.namespace, ask) == "1.5.0"
        assert version(started.namespace, ask, key=OLD) == "1.4.2", "the newest key signs"
        assert version("another", ask) == "1.4.2"
        assert version(started.namespace, ask, canary="1.6.0") == "1.4.2"
    assert version(started.namespace, Ask()) == "1.4.2"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), ("30d", LONGEST)],
)
def test_durations(started: Shell, text: str, seconds: int) -> None:
    said = printed(started, "stable", "--for", text, "--debug")
    assert said["what"] == "stable, release 1.5.0, debug"
    end = datetime.strptime(said["end"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    assert end - seconds == pytest.approx(time.time(), abs=30)
    assert f".{end:.0f}.d." in said["token"]


@pytest.mark.parametrize("text", ["2", "2 hours", "0s", "31d", "-1h", "", "1w"])
def test_times_that_are_none(started: Shell, text: str) -> None:
    answer = started("token", "checkout", "canary", "--for", text)
    assert (answer.code, answer.out) == (2, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("checkout", "canary"),
        ("checkout", "--for", "2h"),
        ("checkout", "beta", "--for", "2h"),
        ("check out", "canary", "--for", "2h"),
        ("checkout", "canary", "--for", "2h", "--release", "1 5"),
    ],
)
def test_usage(started: Shell, arguments: tuple[str, ...]) -> None:
    answer = started("token", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "token" in answer.err


def test_json(started: Shell) -> None:
    answer = started("token", "checkout", "canary", "--for", "2h", "--json")
    said = answer.json
    assert answer.code == 0
    assert version(started.namespace, Ask(headers=[(said["header"].lower(), said["token"])])) == (
        "1.5.0"
    )
    assert (said["rollout"], said["release"], said["cohort"], said["debug"], said["query"]) == (
        "checkout", "1.5.0", "canary", False, "canary-override",
    )  # fmt: skip


# --- the release ----------------------------------------------------------------------------------


def test_before_the_first_start_it_is_what_all_processes_declare(canary: Shell) -> None:
    canary.declare()
    assert printed(canary, "canary", "--for", "2h", err=idle("1.5.0"))["what"] == (
        "canary, release 1.5.0"
    )
    canary.declare(Plan("1.5.0", "1.6.0"), id="p2")
    answer = canary("token", "checkout", "canary", "--for", "2h")
    assert answer.code == 1
    assert "declared are: 1.5.0, 1.6.0" in answer.err
    said = printed(canary, "canary", "--for", "2h", "--release", "1.6.0", err=idle("1.6.0"))
    assert said["what"] == "canary, release 1.6.0"
    printed(canary, "canary", "--for", "2h", "--release", "1.6.0", "--debug")


def idle(release: str) -> str:
    before = f"{release} was never started; before that only a token of --debug decides"
    return f"canary: it does not work now: {before}\n"


def test_what_keeps_a_token_from_deciding_is_said(started: Shell) -> None:
    ask = ("canary", "--for", "2h")
    printed(started, *ask)
    nobody = "canary: it does not work now: no running process declares 9\n"
    printed(started, *ask, "--release", "9", err=idle("9") + nobody)
    started("kill")
    killed = "canary: it does not work now: checkout is killed\n"
    printed(started, *ask, "--debug", err=killed)
    started("revive", "--yes")
    started("rollback", "checkout", "--yes")
    back = "canary: it does not work now: 1.5.0 is rolled back\n"
    printed(started, *ask, err=back)
    printed(started, *ask, "--debug")
    answer = started("token", "checkout", *ask, "--json")
    assert (answer.code, answer.json["release"], answer.err) == (0, "1.5.0", back)


@pytest.mark.parametrize(
    ("variables", "ways", "secure", "cookie"),
    [
        ({}, "which is set nowhere here", "which is true by default, and set nowhere here",
         "__Host-canary-override-"),
        ({"CANARY_OVERRIDES": "header,cookie", "CANARY_SECURE": "false"},
         "which is header, cookie here", "which is false here", "canary-override-"),
        ({"CANARY_SECURE": "auto"}, "which is set nowhere here", "which is auto here",
         "__Host-canary-override-"),
    ],
)  # fmt: skip
def test_what_the_ways_depend_on_is_said(
    started: Shell,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    ways: str,
    secure: str,
    cookie: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = printed(started, "canary", "--for", "2h")
    assert (said["ways"], said["secure"]) == (ways, secure)
    assert said["cookie"] == cookie + started.namespace


def test_a_rollout_that_nobody_knows(started: Shell) -> None:
    answer = started("token", "chekout", "canary", "--for", "2h")
    assert (answer.code, answer.out) == (1, "")
    assert "known: checkout" in answer.err


def test_with_a_release_no_store_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["token", "checkout", "canary", "--for", "2h", "--namespace", "shop"]
    assert main([*arguments, "--release", "2"]) == 0
    assert main([*arguments, "--release", "2", "--store", CLOSED]) == 0
    assert main([*arguments, "--release", "2", "--store", "memory://"]) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    assert "store: is missing" in capsys.readouterr().err
    assert main([*arguments, "--store", CLOSED]) == 3
    assert "cannot use the store" in capsys.readouterr().err


# --- configuration --------------------------------------------------------------------------------


def test_what_is_missing_is_told_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CANARY_SECRET_KEYS")
    assert main(["token", "checkout", "canary", "--for", "2h", "--release", "2"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "canary: secret_keys: are missing (CANARY_SECRET_KEYS, " in said.err
    assert "canary: namespace: is missing (--namespace or CANARY_NAMESPACE" in said.err


def test_a_short_key_is_not_shown(started: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET_KEYS", "hunter2")
    answer = started("token", "checkout", "canary", "--for", "2h")
    assert answer.code == 2
    assert "has 7 bytes" in answer.err
    assert "hunter2" not in answer.err


def test_the_file_says_keys_namespace_and_how_the_cookie_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CANARY_SECRET_KEYS")
    file = tmp_path / "canary.toml"
    file.write_text(f'namespace = "shop"\nsecret_keys = ["{KEY}"]\nsecure = false\n')
    arguments = ["token", "checkout", "canary", "--for", "2h", "--release", "2"]
    assert main([*arguments, "--config", str(file)]) == 0
    found = PRINTED.fullmatch(capsys.readouterr().out)
    assert found
    assert found["cookie"] == "canary-override-shop"


def test_no_option_takes_a_key(started: Shell) -> None:
    out = started("token", "--help").out
    assert not [line for line in out.splitlines() if re.search(r"--\S*(key|secret)", line)]
