"""Complete without colour: a terminal, NO_COLOR, a dumb terminal and a pipe show the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.terminal import CSI, terminal

RED = "\x1b[31m"
AGES = re.compile(r"\b\d+ s\b|\d\d:\d\d:\d\d")


@pytest.fixture
def killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare()
    shell("start", "checkout", "--weight", "25%")
    shell("kill", "--why", "orders fail")
    return shell


def shown(shell: Shell, *words: str, **variables: str) -> str:
    with terminal(shell, *words, columns=300, **variables) as screen:
        assert screen.end() == 0
    return screen.sent.replace("\r\n", "\n")


def told(text: str) -> str:
    """Without colours, and without the time that passes between two looks."""
    return AGES.sub("some time", CSI.sub("", text))


@pytest.mark.parametrize("words", [("status",), ("watch", "--once"), ("kill",)], ids=" ".join)
def test_colour_says_nothing_that_words_do_not(killed: Shell, words: tuple[str, ...]) -> None:
    painted = shown(killed, *words)
    assert RED in painted
    plain = [
        shown(killed, *words, NO_COLOR="1"),
        shown(killed, *words, TERM="dumb"),
        killed.process(*words, COLUMNS="300").out,
    ]
    for text in plain:
        assert "\x1b" not in text
        assert told(text) == told(painted)


def test_an_empty_no_color_is_none(killed: Shell) -> None:
    assert RED in shown(killed, "status", NO_COLOR="")
