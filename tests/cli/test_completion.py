"""Completion in a real shell: verbs, options, rollouts and releases; and silence on any error."""

from __future__ import annotations

import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from canary_middleware.cli import main, naming
from canary_middleware.cli.app import cli
from canary_middleware.core.state import Plan
from tests.cli.conftest import PLAN, Shell
from tests.support.servers import free_port

CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}
"""How a shell reads a script without running it."""
HERE = [name for name in CHECKS if shutil.which(name)]
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_canary_completion canary
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """`checkout` runs with two releases, `search` is declared."""
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare(Plan("1", "2"), rollout="search", id="p2")
    shell.declare(PLAN)
    shell("start", "checkout")
    shell("rollback", "checkout", "--yes")
    shell.declare(Plan("1.4.2", "1.6.0"))
    return shell


def environment(shell: Shell, directory: Path) -> dict[str, str]:
    """Of a terminal with this very program on its path."""
    program = directory / "canary"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m canary_middleware.cli "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(directory), os.environ["PATH"]])
    root = Path(__file__).parents[2]
    found = {"PYTHONPATH": str(root), **shell.environment(), "PATH": path}
    return {**found, "CANARY_STORE": shell.url, "TERM": "dumb"}


def script(directory: Path, name: str) -> Path:
    file = directory / f"canary.{name}"
    with file.open("w") as out, redirect_stdout(out):
        assert main(["completion", name]) == 0
    return file


@pytest.mark.parametrize("name", CHECKS)
def test_every_script_is_printed_and_asks_this_program(tmp_path: Path, name: str) -> None:
    text = script(tmp_path, name).read_text()
    assert f"_CANARY_COMPLETE={name}_complete" in text
    if name in HERE:
        done = subprocess.run(
            [*CHECKS[name], tmp_path / f"canary.{name}"], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("pro", ["promote"]),
        ("affinity re", ["revoke"]),
        ("promote ", ["checkout", "search"]),
        ("promote che", ["checkout"]),
        ("promote checkout --release ", ["1.5.0", "1.6.0"]),
        ("promote search --release ", ["2"]),
        ("promote checkout --an", ["--anyway"]),
        ("drill checkout --fault e", ["error", "exception", "events"]),
        ("kill --namespace elsewhere ", []),
    ],
)
def test_bash_completes(shell: Shell, tmp_path: Path, words: str, expected: list[str]) -> None:
    file = script(tmp_path, "bash")
    asked = ["bash", "--norc", "-c", ASK, "bash", str(file), "canary", *words.split(" ")]
    done = subprocess.run(
        asked, env=environment(shell, tmp_path), capture_output=True, text=True, timeout=20,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == expected


def test_a_person_presses_the_key(shell: Shell, tmp_path: Path) -> None:
    file = script(tmp_path, "bash")
    ours, theirs = pty.openpty()
    command = ["bash", "--norc", "--noprofile", "-i"]
    with subprocess.Popen(
        command, env=environment(shell, tmp_path), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            os.close(theirs)
            os.write(ours, f"source {file}\ncanary promote che\t".encode())
            seen = b""
            while b"promote checkout" not in seen:
                assert select.select([ours], [], [], 20)[0], seen
                seen += os.read(ours, 1000)
        finally:
            process.kill()
            os.close(ours)


def items(url: str, *words: str, begun: str = "") -> list[str]:
    complete = BashComplete(cli, {}, "canary", "_CANARY_COMPLETE")
    verb, *rest = words
    args = [verb, "--store", url, "--namespace", "shop", *rest]
    return [item.value for item in complete.get_completions(args, begun)]


def test_a_store_that_never_answers_completes_nothing_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        assert items(f"redis://127.0.0.1:{server.getsockname()[1]}/0", "kill") == []
        assert time.monotonic() - begun < naming.PATIENCE + 2.0


@pytest.mark.parametrize("url", ["", "memory://", "nonsense", "redis://:secret@127.0.0.1:{port}/0"])
def test_on_any_error_there_is_silence(capfd: pytest.CaptureFixture[str], url: str) -> None:
    assert items(url.format(port=free_port()), "kill") == []
    assert capfd.readouterr() == ("", "")


def test_nothing_is_created_by_looking(tmp_path: Path) -> None:
    assert items(f"sqlite:///{tmp_path}/canary.db", "kill") == []
    assert list(tmp_path.iterdir()) == []


def test_no_shell_is_given_what_it_would_expand(shell: Shell) -> None:
    for number, label in enumerate(("$(reboot)", "*", "`id`", "a;b", "--yes", "1.7.0+b.1")):
        shell.declare(Plan("1", label), rollout="trap", id=f"t{number}")
    assert items(shell.url, "start", "trap", "--release") == ["1.7.0+b.1"]
