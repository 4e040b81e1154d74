"""The help of every command: whole, in sentences, with examples, and no wider than it should be."""

from __future__ import annotations

import click
import pytest

from canary_middleware.cli import main
from canary_middleware.cli.app import cli
from tests.cli.documented import COMMANDS

WIDEST = 100
ASKING = {
    "start", "resume", "promote", "rollback", "finish", "revive", "drill", "affinity revoke",
}  # fmt: skip
"""Those that ask, some of them with an option only."""


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_whole(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = helped(capsys, *name.split())
    assert max(map(len, text.splitlines())) <= WIDEST
    command = COMMANDS[name]
    first = (command.help or "").strip().partition("\n\n")[0]
    assert first.endswith("."), "a sentence"
    assert f"canary {name}" in (command.epilog or ""), "an example"
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert silent == [], "options that nobody explains"


def test_the_verbs_that_ask_are_these() -> None:
    asking = {
        name for name, command in COMMANDS.items() if any(p.name == "yes" for p in command.params)
    }
    assert asking == ASKING
    assert "yes" not in [param.name for param in COMMANDS["kill"].params]


@pytest.mark.parametrize("name", sorted(ASKING))
def test_a_verb_that_asks_says_so_in_its_text(name: str) -> None:
    assert "needs --yes elsewhere" in " ".join((COMMANDS[name].help or "").split())


def test_the_whole_list_is_grouped_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(capsys)
    assert max(map(len, text.splitlines())) <= WIDEST
    assert "..." not in text.partition("Look:")[2]
    assert "Others:" not in text, "a verb belongs to a group"
    titles = [line.rstrip(":") for line in text.splitlines() if line.endswith(":")]
    assert titles[:2] == ["  Exit codes", "Options"]
    assert "Emergency" in titles
    assert all(f"\n  {name} " in text for name in cli.commands)
