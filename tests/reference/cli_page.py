"""docs/reference/cli.md: every verb with its options, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator

import click

from canary_middleware.cli.app import cli
from tests.reference.configuration_page import commands
from tests.reference.markdown import code, line, table

INTRODUCTION = """\
# Reference: command line

Generated from the commands by `python -m tests.reference`; a test keeps it in step. What the verbs
do to a rollout, and the shapes of `--json`, are in [cli.md](../cli.md)."""
Record = tuple[str, str]
MOST = 8
"""Verbs that have an option before it is told once for all of them."""


def page() -> str:
    """The whole page."""
    shared = _shared()
    parts = [
        INTRODUCTION,
        _text(cli.help or ""),
        "## Options of most verbs",
        table(("option", "meaning"), [_cells(record) for record in shared]),
        *(_command(words, command, shared) for words, command in commands(cli)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _shared() -> list[Record]:
    """Options that many have in the same words, in the order in which they are met."""
    met = Counter(record for words, command in commands(cli) for record in _records(words, command))
    return [record for record, verbs in met.items() if verbs >= MOST]


def _records(words: str, command: click.Command) -> Iterator[Record]:
    context = click.Context(command, info_name=words)
    for option in command.params:
        record = option.get_help_record(context) if isinstance(option, click.Option) else None
        if record is not None:
            yield record


def _command(words: str, command: click.Command, shared: list[Record]) -> str:
    context = click.Context(command, info_name=words)
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    records = list(_records(words, command))
    own = [_cells(record) for record in records if record not in shared]
    also = [re.findall(r"--[\w-]+", record[0])[0] for record in records if record in shared]
    parts = [
        f"## {' '.join(['`' + words, *pieces])}`",
        _text(command.help or ""),
        table(("option", "meaning"), own) if own else "",
        f"Also: {', '.join(map(code, also))}." if also else "",
        _text(command.epilog or ""),
    ]
    return "\n\n".join(part for part in parts if part)


def _cells(record: Record) -> tuple[str, str]:
    return code(record[0]), line(record[1])


def _text(text: str) -> str:
    """Help as paragraphs; what click does not rewrap stays as it is, as a block."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs)


def _paragraph(paragraph: str) -> str:
    mark, _, rest = paragraph.partition("\n")
    if mark.strip() == "\b":
        return f"```text\n{rest}\n```"
    return line(paragraph)
