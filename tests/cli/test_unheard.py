"""Nobody can read what is printed: a kill is done all the same, and codes stay true."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from canary_middleware.cli.failing import REFUSED, UNREACHABLE, UNWRITTEN, USAGE
from tests.cli.conftest import Shell
from tests.support.servers import free_port

FULL = "/dev/full"
NOWHERE = [f">{FULL}", f">{FULL} 2>{FULL}", ">&-", ">&- 2>&-", "| true"]


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """`checkout` is promoted: a kill has much to say before it."""
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare()
    shell("start", "checkout")
    assert shell("promote", "checkout", "--yes").code == 0
    return shell


Typed = Callable[..., int]


@pytest.fixture
def typed(shell: Shell) -> Typed:
    """The exit code of a command with its streams led elsewhere, as a shell does it."""

    def run(words: str, streams: str, **variables: str) -> int:
        line = f"{sys.executable} -m canary_middleware.cli {words} {streams}"
        if streams.startswith("|"):  # the code of the first, which is not the last
            line = f"(sleep 0.1; {line.removesuffix(streams)}; echo $? >code) {streams}"
        environment = {**shell.environment(), **variables}
        cwd = Path(shell.url.removeprefix("sqlite:///")).parent
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        done = subprocess.run(
            ["sh", "-c", line], env=environment, cwd=cwd, stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=30, check=False,
        )  # fmt: skip
        return int((cwd / "code").read_text()) if streams.startswith("|") else done.returncode

    return run


@pytest.mark.parametrize("streams", NOWHERE)
@pytest.mark.parametrize("words", ["kill", "kill --json"])
def test_a_kill_that_nobody_reads_about_is_done(
    shell: Shell, typed: Typed, words: str, streams: str
) -> None:
    assert typed(words, streams) == 0
    (kill,) = shell("status", "--json").json["kills"]
    assert kill["scope"] == "*"


@pytest.mark.parametrize(
    ("words", "streams", "code"),
    [
        ("status", f">{FULL}", UNWRITTEN),
        ("status --json", f">{FULL} 2>{FULL}", UNWRITTEN),
        ("simulate --runs 2 --svg /nonexistent/x.svg", "", UNWRITTEN),
        ("pause checkout", f"2>{FULL}", REFUSED),
        ("rollback checkout", "<&-", USAGE),
        ("rollback checkout", ">&- 2>&-", USAGE),
    ],
)
def test_the_code_is_true_although_nothing_can_be_written(
    typed: Typed, words: str, streams: str, code: int
) -> None:
    assert typed(words, streams) == code


def test_a_store_that_is_away_is_told_by_the_code_alone(typed: Typed) -> None:
    gone = f"redis://127.0.0.1:{free_port()}/0"
    assert typed("kill", f">{FULL} 2>{FULL}", CANARY_STORE=gone) == UNREACHABLE
