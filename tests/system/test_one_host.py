"""A host without Redis: two servers of two workers each, and the command line, on one file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Visitor
from tests.support.servers import LOCALHOST, Process, free_port, wait_until
from tests.system.rig import ROOT
from tests.system.site import CANARY, STABLE, Setup

WORKERS = 4
HEARD_WITHIN = 0.25
FOLLOWED_WITHIN = 1.0


class Host:
    """Servers and a terminal; the file is named by a path."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self.directory = directory
        self.setup = Setup(
            store=f"sqlite:///{directory}/canary.db",
            namespace=namespace,
            heard=str(directory / "heard"),
        )
        self.ports: list[int] = []

    @contextmanager
    def serving(self) -> Iterator[None]:
        # Each time others: a worker of the last time may answer for a moment still.
        asgi, wsgi = self.ports = [free_port(), free_port()]
        env = {**self.setup.environment(), "PYTHONPATH": str(ROOT)}
        uvicorn = f"uvicorn tests.system.asgi_site:app --port {asgi} --workers 2"
        gunicorn = f"gunicorn tests.system.wsgi_site:app --bind {LOCALHOST}:{wsgi} --workers 2"
        log = self.directory / "server.log"
        with (
            Process([sys.executable, "-m", *uvicorn.split()], log, env=env) as one,
            Process([sys.executable, "-m", *gunicorn.split()], log, env=env) as two,
        ):
            one.wait_port(asgi)
            two.wait_port(wsgi)
            wait_until(lambda: len(self.pids()) == WORKERS, what="every worker has been asked")
            # Those of the last time were killed and are remembered for a while.
            wait_until(lambda: self.pids() <= self.reported(), what="their reports")
            yield

    def answers(self) -> list[dict[str, Any]]:
        found = []
        for port in self.ports * 12:
            with Visitor(port) as visitor:
                answer = visitor.get("/shop/")
            assert answer.status == 200
            found.append(json.loads(answer.body))
        return found

    def pids(self) -> set[int]:
        return {answer["pid"] for answer in self.answers()}

    def versions(self) -> set[str]:
        return {answer["version"] for answer in self.answers()}

    def all_follow(self, version: str) -> None:
        seconds = wait_until(lambda: self.versions() == {version}, what=version)
        assert seconds < FOLLOWED_WITHIN

    def canary(self, *words: str) -> str:
        where = {"CANARY_STORE": self.setup.store, "CANARY_NAMESPACE": self.setup.namespace}
        done = subprocess.run(
            [sys.executable, "-m", "canary_middleware.cli", *words],
            env={**os.environ, **where}, cwd=ROOT, capture_output=True, text=True, timeout=20,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        shape: dict[str, Any] = json.loads(self.canary("status", "--json"))
        return shape

    def reported(self) -> set[int]:
        return {process["pid"] for process in self.status()["processes"]}

    def heard(self) -> list[float]:
        file = self.directory / "heard"
        return [float(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def host(tmp_path: Path, namespace: str) -> Host:
    return Host(tmp_path, namespace)


def test_every_worker_of_the_host_follows_the_command_line(host: Host) -> None:
    with host.serving():
        assert host.versions() == {STABLE}
        host.canary("start", "shop", "--weight", "100%")
        host.all_follow(CANARY)
        host.canary("weight", "shop", "0%")
        host.all_follow(STABLE)
        host.canary("weight", "shop", "50%")
        wait_until(lambda: host.versions() == {STABLE, CANARY}, what="both versions")
        host.canary("weight", "shop", "100%")
        host.all_follow(CANARY)
        host.canary("kill", "--why", "orders fail")
        struck = time.monotonic()
        host.all_follow(STABLE)
        wait_until(lambda: len(host.heard()) == WORKERS, what="every worker has heard of it")
        latest = max(host.heard()) - struck
        print(f"\nthe last of {WORKERS} workers hears of a kill {latest * 1e3:.0f} ms after it")
        assert latest < HEARD_WITHIN
        current = host.status()
        wait_until(
            lambda: {p["revision"] for p in host.status()["processes"]} == {current["revision"]},
            what="reports of the newest state",
        )
    with host.serving():
        assert host.versions() == {STABLE}, "a kill outlives every process"
        host.canary("revive", "--yes")
        host.all_follow(CANARY)
    actions = [line["action"] for line in json.loads(host.canary("history", "--json"))]
    assert actions == ["revive", "kill", "weight", "weight", "weight", "start"]
