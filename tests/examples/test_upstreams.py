"""The examples with other servers behind them, started by the commands that their READMEs give."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.examples.test_examples import ROOT
from tests.support.clients import Visitor
from tests.support.servers import Process, free_port, wait_until

STABLE, CANARY = "1.4.2", "1.5.0"
VISITORS = 16


@dataclass(frozen=True)
class Example:
    """One of them; its front is the last of its commands, on port 8000.

    Attributes:
        folder: where it is.
        ports: variables that say where the other servers are, by their ports in the commands.
        canary: which of these ports is the new version's.
        path: a page that both versions have.
        orders: where orders go.
        own: a page that only the front has.
    """

    folder: str
    ports: Mapping[str, str]
    canary: str
    path: str
    orders: str
    own: str


GATEWAY = Example(
    "gateway",
    {"9001": "SHOP_STABLE", "9002": "SHOP_CANARY"},
    "9002",
    "/",
    "/orders",
    "/gateway/health",
)
FLASK = Example(
    "flask_upstream", {"9002": "NEW_CHECKOUT"}, "9002", "/checkout", "/checkout/orders", "/"
)


def commands(example: Example) -> list[str]:
    """The first block of the README."""
    readme = (ROOT / "examples" / example.folder / "README.md").read_text()
    block = re.search(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].splitlines()


@dataclass(frozen=True)
class Site:
    """A running example."""

    port: int
    canary: Process


@contextmanager
def running(example: Example, directory: Path) -> Iterator[Site]:
    ports = {port: free_port() for port in (*example.ports, "8000")}
    env: dict[str, str | None] = dict.fromkeys(("CANARY_STORE", "CANARY_CONFIG"))
    env |= {name: f"http://127.0.0.1:{ports[port]}" for port, name in example.ports.items()}
    found: dict[str, Process] = {}
    with ExitStack() as stack:
        for line in commands(example):
            (port,) = (port for port in ports if port in line)
            words = line.replace(port, str(ports[port])).split()
            given = dict(word.split("=") for word in words if re.match(r"[A-Z]+=", word))
            server, *arguments = words[len(given) :]
            command: list[str | Path] = [Path(sys.executable).with_name(server), *arguments]
            process = Process(command, directory / f"{port}.log", env={**env, **given}, cwd=ROOT)
            found[port] = stack.enter_context(process)
        for port, process in found.items():
            process.wait_port(ports[port])
        yield Site(ports["8000"], found[example.canary])
        for process in found.values():
            process.terminate()
    for process in found.values():
        assert "Traceback" not in process.output()


@pytest.mark.parametrize("example", [GATEWAY, FLASK], ids=lambda example: example.folder)
def test_visitors_of_a_server_that_is_gone_are_served_by_stable(
    example: Example, tmp_path: Path
) -> None:
    with running(example, tmp_path) as site, ExitStack() as stack:

        def arrive() -> Visitor:
            return stack.enter_context(Visitor(site.port))

        def sees(visitor: Visitor) -> str:
            visitor.close()  # a server may have ended the kept connection meanwhile
            page = visitor.get(example.path)
            assert page.status == 200, page
            return page.text.partition("<footer>")[2].split(" ")[1][:5]

        wait_until(lambda: sees(arrive()) == CANARY, what="the new version has been found")
        crowd = [arrive() for _ in range(VISITORS)]
        seen = {visitor: sees(visitor) for visitor in crowd}
        assert set(seen.values()) == {STABLE, CANARY}
        assert {visitor: sees(visitor) for visitor in crowd} == seen
        assert {visitor: order(visitor, example) for visitor in crowd} == seen

        site.canary.signal(signal.SIGINT)
        site.canary.wait()
        assert {sees(visitor) for visitor in crowd} == {STABLE}
        assert {order(visitor, example) for visitor in crowd} == {STABLE}

        own = arrive().get(example.own)
        assert (own.status, own.all("Set-Cookie")) == (200, [])

        site.canary.start()
        wait_until(lambda: {visitor: sees(visitor) for visitor in crowd} == seen, what="it is back")


def order(visitor: Visitor, example: Example) -> str:
    """Order something; returns which version took it."""
    visitor.close()
    answer = visitor.request(
        "POST", example.orders, b'{"seed": 2}', headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200, answer
    receipt = json.loads(answer.body)
    assert receipt["pieces"] == 2
    return str(receipt["version"])


@pytest.mark.parametrize("example", [GATEWAY, FLASK], ids=lambda example: example.folder)
def test_the_files_say_the_same_commands(example: Example) -> None:
    told = "".join(path.read_text() for path in (ROOT / "examples" / example.folder).glob("*.py"))
    for line in commands(example):
        first = line.replace("VERSION=1.5.0", "VERSION=1.4.2").replace("--port 9002", "--port 9001")
        assert f"\n    {first}\n" in told
