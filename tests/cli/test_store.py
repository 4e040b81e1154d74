"""A store that is missing, gone, stopped or wrong: one line, an exit code, soon, and no secrets."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.support.servers import free_port

SECRET = "hunter2"
VERBS = (("status",), ("kill",), ("start", "checkout"), ("history",), ("revive", "--yes"))


@pytest.mark.parametrize("words", VERBS)
def test_a_refused_connection_takes_one_line(
    namespace: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}/0"
    answer = Shell(url, namespace, capsys).process(*words)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("canary: cannot use the store: ")
    assert answer.err.count("\n") == 1
    assert SECRET not in answer.err


def test_a_kill_that_was_never_sent_says_that_nothing_was_killed(
    namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (f"redis://127.0.0.1:{free_port()}/0", f"unix://{tmp_path}/none.sock"):
        answer = Shell(url, namespace, capsys)("kill")
        assert answer.code == 3
        assert answer.err.endswith(
            "; there was no connection, so nothing was killed; write the reason into "
            f"<snapshot_path>/{namespace}.kill on each host; running releases go to stable by "
            "themselves max_staleness (60 s by default) after the store was lost\n"
        )
        assert ".;" not in answer.err


@pytest.mark.parametrize(
    ("who", "database"),
    [("", "99"), ("noeval:wrong@", "0"), ("noeval:secret@", "0"), ("nokeys:secret@", "0")],
)
def test_a_kill_that_the_server_refused_says_that_nothing_was_killed(
    redis_server: RedisServer,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    who: str,
    database: str,
) -> None:
    with redis_server.client() as client:
        for user, rule in (("noeval", "-eval"), ("nokeys", "resetkeys")):
            client.execute_command(
                "ACL", "SETUSER", user, *f"on >secret ~* &* +@all {rule}".split()
            )
        where = f"redis://{who}127.0.0.1:{redis_server.port}/{database}"
        answer = Shell(where, namespace, capsys)("kill")
        assert (answer.code, answer.out) == (3, "")
        assert answer.err.endswith("; the server refused it, so nothing was killed\n")
        assert client.dbsize() == 0


def test_a_kill_without_a_password_says_that_nothing_was_killed(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", SECRET)
        answer = Shell(redis_server.url, namespace, capsys)("kill")
        assert answer.err.endswith("; the server refused it, so nothing was killed\n")
        assert client.dbsize() == 0


def test_a_kill_whose_script_was_ended_is_not_said_to_be_refused(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis_server.client() as client:
        rules = ["on", ">secret", "~*", "&*", "+@all", "-type"]
        client.execute_command("ACL", "SETUSER", "half", *rules)
    where = f"redis://half:secret@127.0.0.1:{redis_server.port}/0"
    answer = Shell(where, namespace, capsys)("kill")
    assert answer.code == 3
    assert "; whether it arrived is unknown:" in answer.err


def test_a_kill_that_may_have_arrived_says_that_this_is_unknown(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = "; whether it arrived is unknown: look at `canary status`, or kill again\n"
    redis_server.pause()
    stopped = Shell(redis_server.url, namespace, capsys)("kill")
    assert (stopped.code, stopped.err.count("\n")) == (3, 1)
    assert stopped.err.endswith(unknown)
    with FaultProxy(redis_server.port) as proxy:
        redis_server.resume()
        proxy.drop_new()
        broken = Shell(proxy.url(), namespace, capsys)("kill")
    assert broken.code == 3
    assert broken.err.endswith(unknown)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("localhost:6379", "did you mean redis://localhost:6379?"),
        ("redis.internal:6379/0", "did you mean redis://redis.internal:6379/0?"),
        ("[::1]:6379", "did you mean redis://[::1]:6379?"),
        (f"{SECRET}@localhost:6379", "sqlite:///path, redis://, rediss:// or unix://"),
        (f":{SECRET}@localhost:6379", "sqlite:///path, redis://, rediss:// or unix://"),
    ],
)
def test_a_store_without_a_scheme_is_told_which_was_meant(
    namespace: str, capsys: pytest.CaptureFixture[str], url: str, hint: str
) -> None:
    answer = Shell(url, namespace, capsys)("status")
    expected = f"canary: store: does not say what it is ({hint})\n"
    assert (answer.code, answer.err) == (2, expected)


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        (f"redis:/{SECRET}@localhost", "redis:"), ("sqlite:/canary.db", "sqlite:"),
        ("redis+sentinel:/one", "redis+sentinel:"), ("unix:/run/redis.sock", "unix:"),
    ],
)  # fmt: skip
def test_a_store_with_too_few_slashes_is_told_so(
    namespace: str, capsys: pytest.CaptureFixture[str], url: str, scheme: str
) -> None:
    answer = Shell(url, namespace, capsys)("status")
    forms = "sqlite:///path, redis://host:6379/0, unix:///path"
    expected = f"canary: store: has too few slashes after {scheme} ({forms})\n"
    assert (answer.code, answer.err) == (2, expected)


@pytest.mark.parametrize("words", [("status",), ("kill",), ("weight", "checkout", "5%")])
def test_a_stopped_store_is_given_up_after_two_seconds(
    redis_server: RedisServer,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    canary = Shell(redis_server.url, namespace, capsys)
    redis_server.pause()
    begun = time.monotonic()
    answer = canary(*words)
    assert time.monotonic() - begun < 2.5
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memory://", "sqlite:///path, redis://, rediss:// or unix://"),
        (f"redis://:{SECRET}#x@localhost:6379", "%23"),
        (f"http://:{SECRET}@localhost", "no store of kind 'http'"),
        (f"redis://:{SECRET}@localhost/0?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_a_store_that_cannot_be_is_a_usage_error_and_keeps_its_password(
    namespace: str, capsys: pytest.CaptureFixture[str], url: str, reason: str
) -> None:
    answer = Shell(url, namespace, capsys)("status")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert reason in answer.err
    assert SECRET not in answer.err


def test_what_is_missing_is_said_at_once(canary: Shell) -> None:
    answer = canary.process("status", CANARY_STORE="", CANARY_NAMESPACE="")
    assert answer.code == 2
    assert [line.split(":")[1].strip() for line in answer.err.splitlines()] == [
        "store",
        "namespace",
    ]
    named = "namespace: is missing (--namespace NAME or CANARY_NAMESPACE, as in the application)"
    assert answer.err.endswith(f"canary: {named}\n")


def test_a_file_names_store_and_namespace_and_a_flag_wins(started: Shell, tmp_path: Path) -> None:
    file = tmp_path / "canary.toml"
    file.write_text(f'store = "{started.url}"\nnamespace = "{started.namespace}"\n')
    unset = {"CANARY_STORE": "", "CANARY_NAMESPACE": ""}
    shape = started.process("status", "--json", "--config", str(file), **unset).json
    assert (shape["namespace"], shape["revision"]) == (started.namespace, 1)
    shape = started.process("status", "--json", CANARY_CONFIG=str(file), **unset).json
    assert shape["revision"] == 1
    words = ("status", "--json", "--config", str(file), "--namespace", "elsewhere")
    assert started.process(*words, **unset).json["revision"] is None


def test_a_file_without_a_store_is_told_with_all_its_mistakes(
    canary: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "canary.toml"
    file.write_text('stor = "redis://localhost"\n')
    unset = {"CANARY_STORE": "", "CANARY_NAMESPACE": ""}
    answer = canary.process("status", "--config", str(file), **unset)
    assert answer.code == 2
    assert "did you mean store?" in answer.err
    assert "--store redis://" in answer.err
