"""docs/redis.md says which permissions suffice: its own lines, on a server that enforces them."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from canary_middleware import Canary, Rollout
from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import open_store
from canary_middleware.stores.redis import RedisStore
from canary_middleware.testing import (
    FirstsContract,
    LeaseContract,
    Opener,
    StoreContract,
    TotalsContract,
)
from tests.stores.test_contract import Everything
from tests.support.fleet import Cluster, Sentinels
from tests.support.redis import RedisServer, connect
from tests.support.servers import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()


def rules(user: str) -> list[str]:
    """What docs/redis.md lets this user do, for every namespace of these tests."""
    line = lines()[user].removeprefix(f"user {user} on ")
    return line.replace("canary:{shop}", "canary:{test-*}").replace(":shop:", ":test-*:").split()


def lines() -> dict[str, str]:
    """Those for an aclfile, by user."""
    return {line.split()[1]: line for line in re.findall(r"^user .*$", PAGE, re.MULTILINE)}


def commands(user: str) -> set[str]:
    return {rule[1:] for rule in rules(user) if rule.startswith("+")}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("guarded")) as server, server.client() as client:
        for user in ("shop-app", "shop-operator"):
            client.execute_command("ACL", "SETUSER", user, "on", *rules(user))
        client.config_resetstat()
        yield server


def as_user(server: RedisServer, user: str) -> str:
    return server.url.replace("//", f"//{user}:secret@")


class TestOperator(Everything):
    """All that there is."""

    @pytest.fixture
    def opener(self, guarded: RedisServer, namespace: str) -> Opener:
        return partial(open_store, as_user(guarded, "shop-operator"), namespace, timeout=5.0)


class TestApplication(StoreContract, LeaseContract, TotalsContract, FirstsContract):
    """All but the claims, which an application neither lists nor revokes."""

    @pytest.fixture
    def opener(self, guarded: RedisServer, namespace: str) -> Opener:
        return partial(open_store, as_user(guarded, "shop-app"), namespace, timeout=5.0)


def test_an_application_runs_with_its_permissions(
    guarded: RedisServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = as_user(guarded, "shop-app")
    canary = Canary(
        Rollout("shop", stable="1", canary="2"), namespace=namespace, store=url,
        secret_keys=["k" * 32],
    )  # fmt: skip
    canary.arrive_blocking()
    operator = open_store(as_user(guarded, "shop-operator"), namespace)
    with guarded.client() as client:
        client.acl_log_reset()
        wait_until(lambda: bool(operator.processes()), what="it reports")
        operator.kill("*", by="me", why="", now=1.0)
        wait_until(lambda: canary.engine.document is not None, timeout=0.5, what="it hears")
        wait_until(lambda: pinged(client), timeout=3.0, what="it asks a silent subscription")
        canary.stop()
        refused = {entry["object"] for entry in client.acl_log()}
    assert refused <= {"info", "client|setinfo"}, "all else is allowed"
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    operator.close()


def test_an_application_claims_with_its_permissions(guarded: RedisServer, namespace: str) -> None:
    store = open_store(as_user(guarded, "shop-app"), namespace)
    assert isinstance(store, RedisStore)
    ask = Ask("shop", "k" * 22, None, "ab12", 1, 1, SPACE, 7, False, 60_000)
    found = asyncio.run(claimed(store, ask))
    assert [claim.cohort for claim in found] == [Cohort.CANARY]
    assert store.claim([ask]) == found
    store.touch("shop", [ask.key], 60_000)
    assert [one.claim for one in store.look("shop", [ask.key])] == found, "without any SCAN"
    store.close()


async def claimed(store: RedisStore, ask: Ask) -> list[Claim]:
    claims = store.quick_async()
    try:
        return await claims.claim([ask])
    finally:
        await claims.close()


def pinged(client: redis.Redis) -> bool:
    return "cmdstat_ping" in client.info("commandstats")


@pytest.mark.parametrize(
    "words",
    [
        ("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("SCAN", "0"), ("SCRIPT", "FLUSH"),
        ("ACL", "LIST"), ("GET", "other"), ("SET", "canary:{other}:kill", "x"),
        ("GET", "canary:other:kill"), ("PUBLISH", "canary:{other}:push", "x"),
        ("SUBSCRIBE", "canary:{other}:push"),
        ("EVAL", "return redis.call('GET', KEYS[1])", "1", "other"),
        ("EVAL", "return redis.call('KEYS', '*')", "0"),
        ("EVAL", "return redis.call('PUBLISH', 'other', '')", "0"),
    ],
)  # fmt: skip
def test_nothing_else_is_allowed(guarded: RedisServer, words: tuple[str, ...]) -> None:
    refused = pytest.raises(redis.ResponseError, match=r"(?i)permission|can't (run|access|publish)")
    with redis.Redis.from_url(as_user(guarded, "shop-app")) as client, refused:
        client.execute_command(*words)


def test_nothing_is_allowed_that_nobody_needs(guarded: RedisServer) -> None:
    """After all of the above: the server's own account of what was called, by scripts too."""
    with guarded.client() as client:
        counted = client.info("commandstats")
    called = {name.removeprefix("cmdstat_") for name, told in counted.items() if told["calls"]}
    assert commands("shop-operator") - called == set()


def test_an_operator_lists_and_revokes_and_nothing_else(guarded: RedisServer) -> None:
    assert commands("shop-operator") - commands("shop-app") == {"scan", "unlink"}
    reach = [rule for rule in rules("shop-app") if not rule.startswith("+")]
    assert reach == [rule for rule in rules("shop-operator") if not rule.startswith("+")]


@pytest.mark.parametrize("option", ["--aclfile", "--include"])
def test_a_server_reads_the_lines_from_either_file(tmp_path: Path, option: str) -> None:
    file = tmp_path / "users.acl"
    file.write_text("\n".join(["user default on nopass ~* &* +@all", *lines().values(), ""]))
    with RedisServer(tmp_path, option, str(file)) as server:
        for user in lines():
            with redis.Redis.from_url(as_user(server, user)) as client:
                assert client.publish("canary:{shop}:push", "") == 0


def test_a_shell_makes_the_same_of_the_commands(tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "redis-cli"
    program.write_text('#!/bin/sh\nshift 2; echo user "$@"\n')
    program.chmod(0o755)
    said = subprocess.run(
        ["/bin/sh", "-euc", commands], cwd=tmp_path, env={"PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=10, check=True,
    )  # fmt: skip
    assert said.stdout.splitlines() == list(lines().values())
    assert list(tmp_path.iterdir()) == [program], "no file is named secret"


def test_a_cluster_needs_three_commands_more(cluster: Cluster) -> None:
    added = re.search(r"On a \*\*Cluster\*\* add `(.*?)`", PAGE)
    assert added
    more = added[1].split()

    def allow(*changes: str) -> None:
        for server in cluster.servers:
            cluster.ask(server, "ACL", "SETUSER", "shop-app", "on", *changes)

    allow(*rules("shop-app"), *more)
    url = cluster.url.replace("//", "//shop-app:secret@")
    store = open_store(url, "test-cluster", timeout=2.0)
    with store.listen() as subscription:
        assert subscription.receive(0.1) is None
        struck = store.kill("*", by="me", why="", now=1.0)
        assert subscription.receive(1.0) == struck
    store.close()
    for name in set(more) - {"+asking"}:  # which is for slots on their way
        allow(name.replace("+", "-"))
        lesser = open_store(url, "test-cluster", timeout=2.0)
        with pytest.raises(StoreUnavailableError, match=r"(?i)permission|not enabled"):
            lesser.load()
        allow(name)


def test_sentinels_have_users_of_their_own(sentinels: Sentinels) -> None:
    needed = re.search(r"\*\*Sentinels\*\* needs `(.*?)` there", PAGE)
    assert needed
    for url in sentinels.sentinel_urls():
        with connect(url) as client:
            client.execute_command("ACL", "SETUSER", "asker", "on", ">secret", "-@all", needed[1])
    wrong = open_store(f"{sentinels.url}?sentinel_username=asker&sentinel_password=wrong1", "users")
    assert isinstance(wrong, RedisStore)
    ask = Ask("shop", "k" * 22, None, "ab12", 1, 1, SPACE, 7, False, 60_000)
    for question in (wrong.load, lambda: asyncio.run(claimed(wrong, ask))):
        with pytest.raises(StoreUnavailableError, match="no Sentinel names a master: Auth") as said:
            question()
        assert "wrong1" not in str(said.value)
    store = open_store(f"{sentinels.url}?sentinel_username=asker&sentinel_password=secret", "users")
    assert store.load().document is None
    assert isinstance(store, RedisStore)
    assert asyncio.run(claimed(store, ask))
    store.close()
