"""The store as it really is: a Redis that is set up badly, a user who may not, a file."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.doctor.diagnosis import diagnose
from canary_middleware.doctor.finding import Kind
from canary_middleware.doctor.permitted import TRIALS
from canary_middleware.doctor.probing import BUDGET, examine
from canary_middleware.doctor.probing_sqlite import look, system_of
from canary_middleware.stores import Loaded, MemoryStore, open_store
from tests.support.redis import RedisServer, SharedRedis

Diagnose = Callable[..., dict[str, Any]]
PLAN = Plan("1.4.2", "1.5.0", ("/checkout",))


@pytest.fixture
def diagnosed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Diagnose:
    monkeypatch.chdir(tmp_path)

    def diagnose(url: str, expected: int, namespace: str = "shop") -> dict[str, Any]:
        where = ("--store", url, "--namespace", namespace)
        assert main(["doctor", "--json", *where]) == expected
        return {one["kind"]: one for one in json.loads(capsys.readouterr().out)["findings"]}

    return diagnose


def test_the_trials_are_what_agents_and_verbs_run() -> None:
    """INFO may be refused, SCAN and UNLINK are for `canary affinity` alone."""
    folder = files("canary_middleware.stores") / "lua"
    texts = [one.read_text() for one in folder.iterdir() if one.name.endswith(".lua")]
    run = {found.lower() for text in texts for found in re.findall(r"redis\.p?call\('(\w+)'", text)}
    assert {words[0] for words in TRIALS} == run - {"info", "unlink"}


def test_a_redis_that_may_evict_forgets_and_is_full(tmp_path: Path, diagnosed: Diagnose) -> None:
    options = ("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    with RedisServer(tmp_path, *options) as server:
        with server.client() as client:
            for number in range(40):
                client.set(f"filler-{number}", "x" * 60_000)
        found = diagnosed(server.url, 0)
        assert "allkeys-lru" in found["store.setup"]["what"]
        assert found["store.setup"]["level"] == "warning"
        assert found["store.forgets"]["level"] == "note"
        assert found["store.full"]["level"] == "warning"
        with server.client() as client:
            assert not client.keys("*doctor*"), "trials leave nothing behind"


def test_a_replica_takes_no_writes(tmp_path: Path, diagnosed: Diagnose) -> None:
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            client.replicaof("127.0.0.1", "1")
        found = diagnosed(server.url, 1)
        assert found["store.replica"]["level"] == "bad"
        assert "store.refuses" not in found


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        (["-lpush", "-expire"], "expire, lpush"),
        (["-publish"], "publish"),
        (["-eval"], "eval"),
        (["-evalsha"], "evalsha"),
        (["resetchannels"], "subscribe"),
    ],
)
def test_a_user_who_may_not_do_everything(
    tmp_path: Path, diagnosed: Diagnose, rules: list[str], refused: str
) -> None:
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            allowed = ("on", ">secret-of-the-user", "~*", "&*", "+@all", "-acl", "-config", *rules)
            client.execute_command("ACL", "SETUSER", "shop", *allowed)
        url = server.url.replace("redis://", "redis://shop:secret-of-the-user@")
        found = diagnosed(url, 3 if rules == ["-eval"] else 1)
        assert "secret-of-the-user" not in json.dumps(found)
        if rules == ["-eval"]:
            assert "eval" in found["store.unreachable"]["why"]
        else:
            names = found["store.refuses"]["what"].partition(": ")[2]
            assert ", ".join(sorted(names.split(" (")[0].split(", "))) == refused


def test_the_least_that_the_docs_name_is_enough(tmp_path: Path, diagnosed: Diagnose) -> None:
    page = Path(__file__).parents[2] / "docs" / "redis.md"
    (line,) = re.findall(r"^user shop-app on (.*)$", page.read_text(), re.MULTILINE)
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "shop-app", "on", *line.split())
        found = diagnosed(server.url.replace("redis://", "redis://shop-app:secret@"), 0)
        assert "store.refuses" not in found
        assert found["store.unseen"]["what"] == "could not be asked: INFO"


def test_a_state_that_cannot_be_read(diagnosed: Diagnose, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            client.hset(
                "canary:{shop}:state", mapping={"lineage": "x", "revision": "1", "body": "?"}
            )
        found = diagnosed(server.url, 3)
        assert found["store.corrupt"]["level"] == "bad"
        assert "store.ok" in found, "it answers all the same"


def test_a_store_that_hangs_is_given_up(diagnosed: Diagnose) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        found = diagnosed(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", 3)
        assert time.monotonic() - began < 5.0
    assert found["store.unreachable"]["level"] == "bad"


class Slow(MemoryStore):
    """Answers each question at the end of everybody's patience."""

    now = 0.0

    def load(self) -> Loaded:
        self.now += 0.9
        return super().load()

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        self.now += 0.9
        return super().history(scope, limit)

    def processes(self) -> list[ProcessReport]:
        self.now += 0.9
        return super().processes()


def test_a_slow_store_is_asked_less() -> None:
    store = Slow()
    seen = examine(store, "shop", clock=lambda: store.now)
    assert seen.probed is not None
    assert [round(trip, 3) for trip in seen.probed.trips] == [0.9]
    assert store.now <= BUDGET + 1.0
    assert Kind.STORE_SLOW in {one.kind for one in diagnose(seen)}


@pytest.mark.parametrize("url", ["memory://", "", "sqlite:/x", "redis://h:notaport/0"])
def test_no_store_that_could_be(diagnosed: Diagnose, url: str) -> None:
    found = diagnosed(url, 2)
    assert found["store.unnamed"]["level"] == "bad"
    assert found["store.unnamed"]["remedy"]


def test_a_file(diagnosed: Diagnose, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/canary.db"
    assert diagnosed(url, 0)["store.missing"]["where"] == [f"{tmp_path}/canary.db"]
    assert not (tmp_path / "canary.db").exists(), "who only looks creates nothing"
    store = open_store(url, "shop")
    store.report(ProcessReport("p", "web-1", 7, "asgi", 1, 0.1, {"checkout": PLAN}))
    verbs.start(store, "checkout", by="me", plan=PLAN, weight=1_000)
    found = diagnosed(url, 0)
    assert {"store.ok", "processes.ok", "processes.older"} <= found.keys()
    assert not {"store.missing", "store.network", "store.journal", "store.refuses"} & found.keys()
    store.close()
    assert look(tmp_path / "canary.db").journal == "wal"
    assert diagnosed(f"sqlite:///{tmp_path}/nowhere/canary.db", 3)["store.unreachable"]


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /srv/with\\040space nfs4 rw 0 0
/dev/sdb1 /srv/with\\040space/local xfs rw 0 0
tmpfs /srv tmpfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "system"),
    [
        ("/etc/canary.db", "ext4"),
        ("/srv/with space/canary.db", "nfs4"),
        ("/srv/with space/local/canary.db", "xfs"),
        ("/srv/with spaces/canary.db", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_longest_mount_point(path: str, system: str) -> None:
    assert system_of(Path(path), MOUNTS) == system
    assert system_of(Path(path), "") == ""


def test_a_shared_server_is_left_as_it_was(
    shared_redis: SharedRedis, namespace: str, diagnosed: Diagnose
) -> None:
    diagnosed(shared_redis.url, 0, namespace)
    with shared_redis.client() as client:
        assert client.keys(f"*{namespace}*") == []
