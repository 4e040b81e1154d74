"""The group of all verbs, listed by what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import click

_ALL: Final = 200
"""Characters of a first sentence: none is cut, lines are wrapped."""


class Verbs(click.Group):
    """A group whose help has sections.

    Commands are listed in the order in which they were added to their section.
    """

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]  # click's own, handed through
        self.sections: dict[str, list[str]] = {}

    def add_section(self, title: str, commands: Sequence[click.Command]) -> None:
        """Add commands that belong together."""
        for command in commands:
            self.add_command(command)
        names = [str(command.name) for command in commands]
        self.sections[title] = [*self.sections.get(title, ()), *names]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, section by section."""
        del ctx  # prescribed by click
        return [name for _, names in self._parts() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with one column for all names."""
        del ctx  # prescribed by click
        column = max(map(len, self.commands))
        for title, names in self._parts():
            with formatter.section(title):
                formatter.write_dl([
                    (name.ljust(column), self.commands[name].get_short_help_str(_ALL))
                    for name in names
                ])  # fmt: skip

    def _parts(self) -> Iterator[tuple[str, list[str]]]:
        listed = {name for names in self.sections.values() for name in names}
        yield from self.sections.items()
        if others := [name for name in self.commands if name not in listed]:
            yield "Others", others
