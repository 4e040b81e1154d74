"""The command line, in this process and in its own, on a namespace of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from canary_middleware.cli import main
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.stores import StateStore, open_store
from tests.support.redis import SharedRedis

PLAN = Plan("1.4.2", "1.5.0", ("/checkout",), steps=(1_000, 5_000, 25_000), owner="pay@example.com")


@dataclass(frozen=True)
class Answer:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Types `canary ...` with the store and the namespace of the test."""

    def __init__(self, url: str, namespace: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.namespace = namespace
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Answer:
        self._capsys.readouterr()
        code = main([*arguments, "--store", self.url, "--namespace", self.namespace])
        return Answer(code, *self._capsys.readouterr())

    def store(self) -> StateStore:
        return open_store(self.url, self.namespace, connect_timeout=2, timeout=2)

    def declare(self, plan: Plan = PLAN, *, rollout: str = "checkout", **fields: Any) -> None:
        """As a running process would."""
        told = {"id": "p1", "host": "web-1", "pid": 4711, "kind": "asgi", "revision": -1}
        report = ProcessReport(**{**told, "staleness": 0.3, "plans": {rollout: plan}, **fields})
        store = self.store()
        store.report(report)
        store.close()

    def environment(self) -> dict[str, str]:
        """Of a terminal in which somebody set the store."""
        kept = {name: value for name, value in os.environ.items() if "CANARY_" not in name}
        return {**kept, "CANARY_STORE": self.url, "CANARY_NAMESPACE": self.namespace}

    def process(self, *arguments: str, **variables: str) -> Answer:
        """The same in a process of its own, with a short patience."""
        done = subprocess.run(
            [sys.executable, "-m", "canary_middleware.cli", *arguments],
            env={**self.environment(), **variables},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def canary(
    shared_redis: SharedRedis, namespace: str, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    """A shell on the shared server, in an empty namespace."""
    shell = Shell(shared_redis.url, namespace, capsys)
    yield shell
    with shared_redis.client() as client:
        parts = ("state", "audit", "kill", "processes", "heard")
        client.delete(*(f"canary:{{{namespace}}}:{part}" for part in parts))


@pytest.fixture
def started(canary: Shell) -> Shell:
    """`checkout` 1.5.0 is paused at 5 %."""
    canary.declare()
    assert canary("start", "checkout", "--weight", "5%").code == 0
    return canary
