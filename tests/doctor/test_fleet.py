"""The doctor at real fleets: what each misconfiguration looks like from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.stores.redis import RedisStore
from tests.support.clients import Visitor
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.rig import Rig
from tests.system.site import BUCKET_SECRET, KEY

OTHER = "another-key-of-these-tests-is-long-enough-too"


Diagnose = Callable[..., dict[str, Any]]


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer, namespace: str) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, namespace) as made:
        yield made


@pytest.fixture
def diagnosed(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Diagnose:
    """What was found, by kind; of several of one kind the first. Nothing secret is in it."""
    monkeypatch.chdir(tmp_path)

    def diagnose(*arguments: str, expected: int = 0) -> dict[str, Any]:
        where = ("--store", rig.url, "--namespace", rig.setup.namespace)
        assert main(["doctor", "--json", *arguments, *where]) == expected
        out = capsys.readouterr().out
        for secret in (KEY, OTHER, BUCKET_SECRET):
            assert secret not in out
        found: dict[str, Any] = {}
        for one in json.loads(out)["findings"]:
            found.setdefault(one["kind"], one)
        return found

    return diagnose


def told(rig: Rig, count: int) -> None:
    """Wait until so many processes have said what they know."""
    store = rig.store()
    wait_until(lambda: len(store.processes()) == count, what=f"{count} reports")


def visit(port: int, times: int, *, tls: bool = False, keep: bool = False) -> None:
    headers = {"X-Forwarded-Proto": "https"} if tls else {}
    with Visitor(port) as visitor:
        for _ in range(times):
            answer = visitor.request("GET", "/shop/", headers=headers)
            assert answer.status == 200
            if not keep:
                visitor.cookies.values.clear()


def reported(rig: Rig, weight: int) -> None:
    """Let the processes report again at once, as they do when the state changes."""
    store = rig.store()
    verbs.weight(store, "shop", weight, by="test")
    wait_until(lambda: rig.followed(store), what="all have reported since")


def test_a_fleet_in_good_order_is_well_until_a_process_is_killed(
    rig: Rig, diagnosed: Diagnose
) -> None:
    first, second = rig.serve("uvicorn", "gunicorn", secure=True)
    rig.started(1_000)
    for worker in (first, second):
        visit(worker.port, 2, keep=True)
    told(rig, 2)
    found = diagnosed("--strict")
    assert {kind for kind, one in found.items() if one["level"] != "ok"} <= {
        "store.forgets", "rollouts.unguarded", "rollouts.ownerless",
    }  # fmt: skip
    assert "2 processes with the same secret_keys" in found["keys.ok"]["what"]
    store = rig.store()
    assert isinstance(store, RedisStore)
    # The server of gunicorn is a parent, whose worker ends with it.
    gone = next(one for one in store.processes() if one.pid == first.process.pid)
    first.kill()
    with rig.client() as client:  # so that nobody has to wait for 15 seconds
        client.zincrby(f"canary:{{{rig.setup.namespace}}}:heard", -60, gone.id)
    found = diagnosed()
    assert found["processes.silent"]["level"] == "warning"
    assert f" {gone.pid}: " in found["processes.silent"]["where"][0]


def test_keys_clocks_and_cookies_that_do_not_fit(rig: Rig, diagnosed: Diagnose) -> None:
    (plain,) = rig.serve("uvicorn", keys=(OTHER,), secure=True, wall_shift=45.0)
    (open_,) = rig.serve("uvicorn", keys=(KEY,), identified=True)
    rig.started(50_000)
    visit(plain.port, 25)
    visit(open_.port, 3, tls=True)
    reported(rig, 60_000)
    found = diagnosed(expected=1)
    assert found["keys.unknown"]["level"] == "bad"
    assert len(found["keys.unknown"]["where"]) == 2
    assert found["clocks.worker"]["level"] == "bad"
    assert [place.rpartition(": ")[2] for place in found["clocks.worker"]["where"]] == [
        "45 s ahead"
    ]
    assert found["cookies.lost"]["level"] == "bad"
    assert found["cookies.open"]["level"] == "warning"
    assert not {"spans.untagged", "processes.silent", "processes.stale"} & found.keys()
    with rig.client() as client:
        kept = str(client.hgetall(f"canary:{{{rig.setup.namespace}}}:processes"))
    for secret in (KEY, OTHER, BUCKET_SECRET):
        assert secret not in kept


def test_uwsgi_without_threads_is_named(rig: Rig, diagnosed: Diagnose, tmp_path: Path) -> None:
    """The module that uWSGI offers to its applications, as 2.0.21 of Debian fills it."""
    (tmp_path / "uwsgi.py").write_text("opt = {'processes': b'4'}\nhas_threads = 0\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    (worker,) = [rig.worker("gunicorn", ("env", f"PYTHONPATH={path}", "PYTHONSTARTUP="))]
    worker.process.command = _loading(worker.process.command)
    worker.start()
    visit(worker.port, 1)
    told(rig, 1)
    found = diagnosed(expected=1)
    assert found["processes.threads"]["level"] == "bad"
    assert "enable-threads" in found["processes.threads"]["remedy"]
    assert worker.process.output().count("uWSGI lets no threads run") == 1


def _loading(command: list[str]) -> list[str]:
    """The same, with the module loaded as uWSGI does it before the application."""
    return [
        part.replace("tests.system.wsgi_site:app", "tests.doctor.in_uwsgi:app") for part in command
    ]
