"""Every command there is, and the JSON that the pages promise of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from canary_middleware.cli.app import cli

DOCS = Path(__file__).parents[2] / "docs"


def leaves(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Each command that does something, by its words: ``affinity list``."""
    for name, command in group.commands.items():
        words = (*path, name)
        group_only = isinstance(command, click.Group) and not command.invoke_without_command
        if not group_only:
            yield " ".join(words), command
        if isinstance(command, click.Group):
            yield from leaves(command, words)


COMMANDS = dict(leaves())


def prints_json(command: click.Command) -> bool:
    return any("--json" in param.opts for param in command.params)


def _named(paragraph: str) -> Iterator[str]:
    """The commands of a paragraph that introduces a block: the first, and the same for others."""
    head, _, same = paragraph.partition("the same for")
    for text in [head.split("`")[1], *re.findall(r"`([^`]+)`", same.partition(";")[0])]:
        words = text.removeprefix("canary ")
        found = [name for name in COMMANDS if f"{words} ".startswith(f"{name} ")]
        yield from sorted(found, key=len)[-1:]


def shapes() -> dict[str, Any]:
    """What the pages promise: the block below a paragraph that begins with the command."""
    promised: dict[str, Any] = {}
    for page in sorted(DOCS.glob("*.md")):
        parts = page.read_text().split("\n\n")
        for before, block in pairwise(parts):
            if before.startswith("`canary ") and block.startswith("```json\n"):
                shape = json.loads(block.removeprefix("```json\n").partition("```")[0])
                promised |= dict.fromkeys(_named(before), shape)
    return promised


PROMISED = shapes()


def keys(value: Any, at: str = "") -> set[str]:
    """Every member, as ``kills.scope``; members of some have free names."""
    if isinstance(value, list):
        return set().union(*(keys(item, at) for item in value))
    if not isinstance(value, dict) or at.endswith(FREE):
        return set()
    names = {at + name for name in value}
    return names.union(*(keys(member, f"{at}{name}.") for name, member in value.items()))


def kinds(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every member with the kind of its value; of what is null nothing is said."""
    if isinstance(value, list):
        for item in value:
            yield from kinds(item, at)
    elif isinstance(value, dict) and not at.endswith(FREE):
        for name, member in value.items():
            yield from kinds(member, f"{at}{name}.")
    elif value is not None and not isinstance(value, dict):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        yield at.removesuffix("."), "number" if number else type(value).__name__


FREE = ("declares.", "rates.", "lacking.", "observed.", "evidence.")
"""Members whose own members are named by users, or promised on another page."""
