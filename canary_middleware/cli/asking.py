"""Asking before a verb that moves many people, or that its opposite does not undo.

A person at a terminal is told whom it hits; nothing but a yes goes on. Elsewhere, and with
``--json``, nobody can be asked: the verb wants ``--yes``. ``kill`` never comes here.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import click

from canary_middleware.cli.connection import Connection
from canary_middleware.cli.show import is_terminal, say
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview.wording import shown

_URL: Final = "--store"

yes_option: Final[Callable[..., Any]] = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal."
)


def asks(connection: Connection, *, yes: bool) -> bool:
    """Whether a person has to be asked.

    Raises:
        click.ClickException: nobody can be, and there is no ``--yes``.
    """
    if yes:
        return False
    # What is asked is written to standard error, and has to be read there.
    if not connection.as_json and is_terminal(sys.stdin) and is_terminal(sys.stderr):
        return True
    context = click.get_current_context()
    again = with_yes(context.find_root().obj or ())
    verb = shown(context.command_path)
    raise click.ClickException(f"{verb} asks first, and nobody can be asked here; say: {again}")


def with_yes(words: Sequence[str]) -> str:
    """The command that was typed, with ``--yes``; of a store's URL nothing that may be secret."""
    kept = [_open(before, word) for before, word in pairwise(["", *words])]
    # After a lone `--` it would be an argument.
    end = kept.index("--") if "--" in kept else len(kept)
    return shown(shlex.join(["canary", *kept[:end], "--yes", *kept[end:]]))


def _open(before: str, word: str) -> str:
    name, is_one, url = word.partition("=") if before != _URL else ("", "", word)
    hides = name in ("", _URL) and ("@" in url or "?" in url)
    return f"{name}{is_one}..." if hides else word


def be_sure(*lines: str, rollout: str | None = None) -> None:
    """Ask; whoever does not say yes, presses Ctrl-C or closes the terminal has changed nothing.

    Args:
        lines: whom it hits; the last one becomes the question.
        rollout: that is meant; ``None`` for the namespace.

    Raises:
        VerbRefusedError: no.
    """
    for line in lines[:-1]:
        say(shown(line), err=True)
    say(f"{shown(lines[-1])}; go on? [y/N] ", err=True, end="")
    if not _agreed():
        who = f"{rollout}: " if rollout else ""
        raise VerbRefusedError(f"{who}nothing was changed", rollout=rollout)


def _agreed() -> bool:
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    if not line.endswith("\n"):
        say(err=True)
    return line.strip().lower() in ("y", "yes")
