"""`explain` says what requests get: compared with the WSGI middleware under the same secrets."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from canary_middleware import Canary, Rollout, current
from canary_middleware.config import canary_from
from canary_middleware.core.state import Plan
from canary_middleware.wsgi import CanaryMiddleware
from tests.cli.conftest import Shell
from tests.support.redis import connect

KEY = "k" * 32
BUCKETS = "b" * 32
FILE = f"""
secret_keys = ["{KEY}"]
bucket_secret = "{BUCKETS}"

[rollouts.checkout]
stable = "1.4.2"
canary = "1.5.0"
testers = {{ groups = ["beta"] }}
denied = {{ subjects = ["mallory"] }}
"""


def ask(canary: Canary, user: str | None = None) -> tuple[str, str | None]:
    """Version and visitor cookie that a request gets."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        version = current("checkout").version
        start_response("200 OK", [])
        return [version.encode()]

    environ: dict[str, Any] = {} if user is None else {"HTTP_X_USER": user}
    setup_testing_defaults(environ)
    told: list[tuple[str, str]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
        told.extend(headers)
        return bytes

    version = b"".join(CanaryMiddleware(app, canary)(environ, start_response)).decode()
    cookies = SimpleCookie("".join(value for name, value in told if name == "Set-Cookie"))
    return version, next((morsel.value for morsel in cookies.values()), None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "canary.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def half(canary: Shell) -> Shell:
    """`checkout` is at 50 %."""
    canary.declare(Plan("1.4.2", "1.5.0"))
    canary("start", "checkout", "--weight", "50%")
    return canary


def test_subjects_get_what_requests_get(half: Shell, file: Path) -> None:
    app = canary_from(
        file,
        environ={},
        namespace=half.namespace,
        autostart="50%",
        identify=lambda view: view.header("X-User"),
    )
    versions = {user: ask(app, user)[0] for user in map(str, range(12))}
    assert set(versions.values()) == {"1.4.2", "1.5.0"}
    for user, version in versions.items():
        words = ("explain", "checkout", "--subject", user, "--config", str(file), "--json")
        assert half(*words).json["version"] == version


def test_cookies_get_what_requests_get(half: Shell, file: Path) -> None:
    rollout = Rollout("checkout", stable="1.4.2", canary="1.5.0")
    app = Canary(
        rollout,
        namespace=half.namespace,
        secret_keys=[KEY],
        bucket_secret=BUCKETS,
        autostart="50%",
    )
    answers = [ask(app) for _ in range(12)]
    assert {version for version, _ in answers} == {"1.4.2", "1.5.0"}
    for version, cookie in answers:
        assert cookie is not None
        words = ("explain", "checkout", "--cookie", cookie, "--config", str(file), "--json")
        assert half(*words).json["version"] == version


def test_secrets_may_come_from_the_environment_alone(half: Shell) -> None:
    secrets = {"CANARY_SECRET_KEYS": KEY, "CANARY_BUCKET_SECRET": BUCKETS}
    answer = half.process("explain", "checkout", "--subject", "alice", **secrets)
    assert (answer.code, answer.err) == (0, "")
    assert "gates: open" in answer.out
    assert "bucket: 0." in answer.out
    assert KEY not in answer.out
    assert BUCKETS not in answer.out


@pytest.mark.parametrize(
    ("words", "reason", "cohort"),
    [
        (("--subject", "alice", "--group", "beta"), "tester", "canary"),
        (("--subject", "mallory", "--group", "beta"), "denied", "stable"),
    ],
)
def test_audiences_come_from_the_file(
    half: Shell, file: Path, words: tuple[str, ...], reason: str, cohort: str
) -> None:
    shape = half("explain", "checkout", *words, "--config", str(file), "--json").json
    assert (shape["reason"], shape["cohort"]) == (reason, cohort)
    assert shape.keys() == {
        "rollout", "release", "cohort", "version", "reason", "phase", "audience", "trace",
        "notes",
    }  # fmt: skip
    assert shape["trace"] == ["gates: open", f"audience: {reason}"]


def test_audiences_that_are_declared_in_code_are_not_known(half: Shell) -> None:
    store = half.process("explain", "checkout", "--subject", "alice", CANARY_BUCKET_SECRET=BUCKETS)
    first, *others = store.out.splitlines()
    assert first.endswith(", reason weight, unless the application knows it as a tester or denied")
    assert "  audience: not known here (declared in code, not in canary.toml)" in others
    assert "neither denied" not in store.out
    words = ("explain", "checkout", "--subject", "alice", "--json")
    assert half.process(*words, CANARY_BUCKET_SECRET=BUCKETS).json["audience"] is None
    half("kill")
    killed = half.process("explain", "checkout", "--subject", "alice", CANARY_BUCKET_SECRET=BUCKETS)
    assert "unless" not in killed.out


@pytest.mark.parametrize(
    ("words", "audience"),
    [(("bob",), "neither"), (("bob", "--group", "beta"), "tester"), (("mallory",), "denied")],
)
def test_an_audience_has_a_word_for_machines(
    half: Shell, file: Path, words: tuple[str, ...], audience: str
) -> None:
    asked = ("explain", "checkout", "--config", str(file), "--json", "--subject")
    assert half(*asked, *words).json["audience"] == audience


def test_a_cookie_without_keys_wants_those_of_the_application(half: Shell) -> None:
    answer = half.process("explain", "checkout", "--cookie", "x")
    assert (answer.code, answer.err) == (2, (
        "canary: CANARY_SECRET_KEYS: is missing (the application's own; with others its cookies "
        "cannot be read)\n"
    ))  # fmt: skip


def test_a_kill_explains_itself(half: Shell, file: Path) -> None:
    half("kill")
    answer = half("explain", "checkout", "--subject", "alice", "--config", str(file))
    assert answer.out.startswith("checkout: stable, version 1.4.2, reason kill_switch\n")


def test_a_kill_key_counts_before_any_process_saw_it(half: Shell, file: Path) -> None:
    with connect(half.url) as client:
        client.set(f"canary:{half.namespace}:kill", "now")
    words = ("explain", "checkout", "--subject", "alice", "--config", str(file), "--json")
    try:
        assert half(*words).json["reason"] == "kill_switch"
    finally:
        with connect(half.url) as client:
            client.delete(f"canary:{half.namespace}:kill")


def test_an_idle_rollout_is_known_from_processes_alone(canary: Shell) -> None:
    canary.declare()
    secrets = {"CANARY_BUCKET_SECRET": BUCKETS}
    answer = canary.process("explain", "checkout", "--subject", "alice", "--json", **secrets)
    assert (answer.json["reason"], answer.json["phase"]) == ("idle", "idle")


def test_what_cannot_be_explained_says_why(half: Shell, file: Path) -> None:
    config = ("--config", str(file))
    cases = [
        (("checkout", *config), 2, "one of --subject and --cookie"),
        (("checkout", "--subject", "a", "--cookie", "b", *config), 2, "one of"),
        (("checkout", "--subject", "alice"), 2, "CANARY_BUCKET_SECRET: is missing"),
        (("checkout", "--cookie", "a.b.c"), 2, "CANARY_SECRET_KEYS: is missing"),
        (("checkout", "--cookie", "a.b.c", *config), 1, "the cookie is forged"),
        (
            ("nosuch", "--subject", "alice", *config),
            1,
            "nosuch: there is no such rollout (known are: checkout)",
        ),
        (("checkout", "--subject", "a", "--release", "9", *config), 1, "known releases: 1.5.0"),
    ]
    for words, code, reason in cases:
        answer = half("explain", *words)
        assert (answer.code, answer.out) == (code, ""), words
        assert reason in answer.err


def test_a_cookie_without_the_bucket_secret_is_explained_with_a_note(half: Shell) -> None:
    app = Canary(
        Rollout("checkout", stable="1.4.2", canary="1.5.0"),
        namespace=half.namespace,
        secret_keys=[KEY],
        autostart="50%",
    )
    _, cookie = ask(app)
    secrets = {"CANARY_SECRET_KEYS": f"{'o' * 32},{KEY}"}
    answer = half.process("explain", "checkout", "--cookie", str(cookie), **secrets)
    assert answer.code == 0
    assert "note: no bucket_secret is set here" in answer.out
