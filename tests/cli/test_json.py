"""``--json``: every command has it, and prints what a page promises; so do errors."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.cli import drill
from canary_middleware.cli.rehearsing import Result
from canary_middleware.core.command import Command
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.model import Memory
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.state import Plan, Verb
from tests.cli.conftest import Answer, Shell
from tests.cli.documented import COMMANDS, DOCS, PROMISED, keys, kinds, prints_json
from tests.cli.test_affinity import BUCKETS, claim
from tests.cli.totals import plan, ship
from tests.support.servers import Process, free_port, wait_until

PLAIN = {
    "demo": "tells a story to a person",
    "completion": "prints a script",
}
"""Commands without ``--json``, and why."""
ALICE = ("--subject", "alice")


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """`checkout` is measured and ramps; processes report everything that can be reported."""
    monkeypatch.setenv("CANARY_BUCKET_SECRET", BUCKETS)
    monkeypatch.setenv("CANARY_SECRET_KEYS", BUCKETS)
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    declared = plan(ramp=Ramp("5%", Step("50%", approval=True), "100%", bake="10m"))
    declared = replace(declared, affinity=Memory.SHARED)
    shell.declare(Plan("1", "2"), rollout="search", id="p2")
    shell.declare(declared)
    assert shell("start", "checkout").code == 0
    odd = replace(declared, stable="1.4.3", paths=("/orders",))
    streams = (OpenStreams("checkout", "1.5.0", 2, 2, 3.7),)
    silent = (("checkout", "1.5.0", "it said 503"),)
    shell.declare(odd, id="p3", streams=streams, silent=silent)
    store = shell.store()
    ship(store, "a", (61, 1), (1_204, 9))
    store.close()
    claim(shell, "alice", 5)
    return shell


def typed(*words: str) -> Callable[[Shell], Answer]:
    return lambda shell: shell(*words, "--json")


def after(*before: tuple[str, ...], then: tuple[str, ...]) -> Callable[[Shell], Answer]:
    def run(shell: Shell) -> Answer:
        for words in before:
            shell(*words)
        return shell(*then, "--json")

    return run


def approved(shell: Shell) -> Answer:
    store = shell.store()
    document = store.load().document
    assert document is not None
    command = Command(Verb.AWAIT, "checkout", "50% needs an approval", step=0)
    assert verbs.move(store, document, command, by="agent", evidence={}, now=time.time())
    store.close()
    return shell("approve", "checkout", "--json")


RUNS = {
    "status": after(("kill",), then=("status",)),
    "watch": typed("watch", "--once"),
    "doctor": typed("doctor"),
    "history": typed("history"),
    "explain": typed("explain", "checkout", *ALICE),
    "start": typed("start", "search"),
    "weight": typed("weight", "checkout", "6%"),
    "pause": typed("pause", "checkout"),
    "approve": approved,
    "resume": after(("weight", "checkout", "1%"), then=("resume", "checkout")),
    "promote": typed("promote", "checkout", "--anyway"),
    "rollback": typed("rollback", "checkout", "--anyway"),
    "finish": after(
        ("promote", "checkout", "--anyway"), then=("finish", "checkout", "--early", "--yes")
    ),
    "rebase": typed("rebase", "checkout", "--stable", "1.4.3"),
    "kill": typed("kill"),
    "revive": after(("kill",), then=("revive", "--yes")),
    "simulate": typed("simulate", "checkout", "--runs", "2", "--rate", "charges=5%"),
    "token": typed("token", "checkout", "canary", "--for", "2h"),
    "affinity list": typed("affinity", "list", "checkout"),
    "affinity count": typed("affinity", "count", "checkout"),
    "affinity show": typed("affinity", "show", "checkout", *ALICE),
    "affinity revoke": typed("affinity", "revoke", "checkout", *ALICE),
}
"""How each command comes to print its object."""
TRIED = {"drill", "panel", "panel token", "alert test"}
"""Those that are tried below, and in test_alert.py, in ways of their own."""
MADE = {
    "drill": drill.shape(
        "checkout", Result(Drill(Fault.ERROR, 20_000, time.time(), 60), "1.5.0", after=3.2)
    ),
}
"""Objects of commands that take longer than a test should; their own tests print them."""
ELSEWHERE = {
    "status": ("rollouts.releases.", "rollouts.measured.", "rollouts.ramp."),
    "watch": ("rollouts.current.", "rollouts.last.", "rollouts.measured.", "rollouts.ramp."),
    "revive": ("rollouts.",),
}
"""Members that a page says to be of another shape."""


def test_a_command_prints_json_or_says_why_not() -> None:
    without = {name for name, command in COMMANDS.items() if not prints_json(command)}
    assert without <= PLAIN.keys()
    text = (DOCS / "cli.md").read_text()
    assert all(f"`{name}`" in text.partition("## JSON")[2] for name in without)


def test_every_command_is_promised_and_tried_here() -> None:
    with_json = {name for name, command in COMMANDS.items() if prints_json(command)}
    assert with_json - PROMISED.keys() == set(), "a page has to promise what it prints"
    assert with_json - RUNS.keys() - TRIED == set()


@pytest.mark.parametrize("name", RUNS)
def test_it_prints_the_promised_members(shell: Shell, name: str) -> None:
    answer = RUNS[name](shell)
    assert answer.code == (1 if name == "doctor" else 0), answer.err  # a process is silent here
    assert names(name, answer.json) == names(name, PROMISED[name])
    assert answer.out.isascii()
    promised = set(kinds(PROMISED[name]))
    told = {member for member, _ in promised}
    assert {one for one in kinds(answer.json) if one[0] in told} <= promised


@pytest.mark.parametrize("name", MADE)
def test_what_takes_long_has_the_promised_members(name: str) -> None:
    assert keys(MADE[name]) == keys(PROMISED[name])


def names(command: str, shape: Any) -> set[str]:
    hidden = ELSEWHERE.get(command, ())
    return {name for name in keys(shape) if not name.startswith(hidden)} if hidden else keys(shape)


def test_the_panel_says_where_it_is_and_the_token_what_it_is(shell: Shell, tmp_path: Path) -> None:
    file = ("--tokens", str(tmp_path / "tokens"))
    made = shell.process("panel", "token", "alice", *file, "--json")
    assert keys(made.json) == keys(PROMISED["panel token"])
    panel = [sys.executable, "-m", "canary_middleware.cli", "panel", *file, "--port", "0", "--json"]
    with Process(panel, tmp_path / "log", env=shell.environment()) as process:
        wait_until(lambda: "}" in process.output(), what="it says where it is")
        told = next(line for line in process.output().splitlines() if line.startswith("{"))
        assert keys(json.loads(told)) == keys(PROMISED["panel"])


# --- errors ---------------------------------------------------------------------------------------

FAILURES = {
    "usage": (2, ("weight", "checkout")),
    "refused": (1, ("weight", "nosuch", "5%")),
    "configuration": (2, ("token", "checkout", "canary", "--for", "2h", "--config", "nosuch.toml")),
}


def promised_error() -> Any:
    text = (DOCS / "cli.md").read_text().partition("standard error: one object")[2]
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("kind", FAILURES)
def test_an_error_is_one_object_on_standard_error(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("CANARY_SECRET_KEYS")
    code, words = FAILURES[kind]
    answer = shell(*words, "--json")
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    error = json.loads(answer.err)
    assert (error["error"]["code"], error["error"]["kind"]) == (code, kind)
    assert keys(error) | {"error.problems." + n for n in ("place", "message", "hint")} == keys(
        promised_error()
    )


def test_a_store_that_is_away_is_an_object_without_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"redis://:hunter2@127.0.0.1:{free_port()}/0"
    answer = Shell(url, "shop", capsys)("status", "--json")
    assert (answer.code, json.loads(answer.err)["error"]["kind"]) == (3, "unreachable")
    assert "hunter2" not in answer.err


def test_the_end_of_a_drill_prints_the_release(shell: Shell) -> None:
    store = shell.store()
    verbs.drill(store, "checkout", Drill(Fault.ERROR, 20_000, time.time(), 60), by="test")
    store.close()
    answer = shell("drill", "checkout", "--stop", "--json")
    assert answer.code == 0, answer.err
    assert keys(answer.json) == keys(PROMISED["weight"])
    again = shell("drill", "checkout", "--stop", "--json")
    assert (again.code, json.loads(again.err)["error"]["kind"]) == (1, "refused")
