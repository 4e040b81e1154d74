"""`canary rollback` where stable is another server: with a gateway, its two servers and a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.support.clients import Visitor
from tests.support.servers import LOCALHOST, Process, free_port, wait_until

ROOT = Path(__file__).parents[2]
STABLE, CANARY = "1.4.2", "1.5.0"
LONG = 60.0
"""Seconds within which anything happens however busy the machine is."""


@dataclass
class Site:
    """A running gateway, and the terminal beside it."""

    shell: Shell
    gateway: Process
    stable: Process
    ports: dict[Process, int]

    def silent(self) -> set[str]:
        """The versions that do not answer, as `canary status` knows it."""
        processes = self.shell("status", "--json").json["processes"]
        return {one["version"] for process in processes for one in process["silent"]}

    def knows(self, *, gone: bool) -> None:
        """Wait until everybody knows whether stable answers."""
        said = "stable: does not answer its probe" if gone else "stable: answers its probe"
        self.gateway.wait_log(said, LONG)
        wait_until(lambda: self.silent() == ({STABLE} if gone else set()), timeout=LONG, what=said)

    def page(self) -> str:
        """The version that a new visitor sees, or the status where there is none."""
        with Visitor(self.ports[self.gateway]) as visitor:
            answer = visitor.get("/")
        found = [version for version in (STABLE, CANARY) if f"shop {version}," in answer.text]
        return found[0] if answer.status == 200 else str(answer.status)


def serving(name: str, port: int, log: Path, **env: str | None) -> Process:
    command = [sys.executable, "-m", "uvicorn", f"examples.gateway.{name}:app", "--port", str(port)]
    return Process(command, log, env={"CANARY_CONFIG": None, **env}, cwd=ROOT)


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    front, old, new = free_port(), free_port(), free_port()
    settings = {
        "CANARY_STORE": shell.url, "CANARY_NAMESPACE": "shop", "CANARY_SECURE": "false",
        "CANARY_SECRET_KEYS": "k" * 32, "SHOP_STABLE": f"http://{LOCALHOST}:{old}",
        "SHOP_CANARY": f"http://{LOCALHOST}:{new}",
    }  # fmt: skip
    stable = serving("server", old, tmp_path / "stable.log", VERSION=STABLE)
    canary = serving("server", new, tmp_path / "canary.log", VERSION=CANARY)
    gateway = serving("app", front, tmp_path / "gateway.log", **settings)
    ports = {stable: old, canary: new, gateway: front}
    with ExitStack() as stack:
        for process in (stable, canary):
            stack.enter_context(process)
        for process in (stable, canary):  # before anybody asks whether they are there
            process.wait_port(ports[process], LONG)
        stack.enter_context(gateway).wait_port(front, LONG)
        yield Site(shell, gateway, stable, ports)


def test_nobody_is_sent_back_to_a_server_that_was_stopped(site: Site) -> None:
    shell = site.shell
    wait_until(
        lambda: bool(shell("status", "--json").json["processes"]), timeout=LONG, what="a report"
    )
    assert shell("start", "shop", "--weight", "100%").code == 0
    wait_until(lambda: site.page() == CANARY, timeout=LONG, what="everybody is on canary")

    site.stable.terminate(LONG)
    site.knows(gone=True)
    refused = shell.process("rollback", "shop", "--yes")
    assert (refused.code, refused.out) == (1, "")
    where = f"stable {STABLE} does not answer its probe in 1 of 1 processes (no connection: "
    assert f"shop: {where}" in refused.err
    assert "--anyway" in refused.err
    assert shell("history", "shop", "--json").json[0]["action"] == "start"
    assert site.page() == CANARY

    site.stable.start().wait_port(site.ports[site.stable], LONG)
    site.knows(gone=False)
    passed = shell.process("rollback", "shop", "--yes")
    assert passed.code == 0, passed.err
    assert passed.out.startswith(f"shop: rolled back at 0%: {STABLE} for everybody; ")
    wait_until(lambda: site.page() == STABLE, timeout=LONG, what="visitors are back on stable")
