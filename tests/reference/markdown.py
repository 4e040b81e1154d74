"""Markdown out of docstrings and rows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?([^`]*)`")
PAGE = re.compile(r"\bdocs/(\w+\.md)")
SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$", re.MULTILINE)


def prose(text: str) -> str:
    """Text of a docstring: roles become code, names of pages links."""
    plain = ROLE.sub(r"`\1`", text).replace("``", "`").replace("::\n", ":\n")
    return PAGE.sub(r"[\1](../\1)", plain)


def line(text: str) -> str:
    """As :func:`prose`, without line breaks."""
    return " ".join(prose(text).split())


def about(documented: object) -> str:
    """What a docstring says before its sections."""
    return prose(SECTION.split(inspect.getdoc(documented) or "")[0]).strip()


def section(documented: object, *titles: str) -> dict[str, str]:
    """The entries of a section of a docstring in the Google dialect, by their names."""
    parts = SECTION.split(inspect.getdoc(documented) or "")
    found: dict[str, str] = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title in titles:
            found |= _entries(body)
    return found


def _entries(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for row in body.strip("\n").splitlines():
        begun = re.match(r"    (\w+): ?(.*)", row)
        if begun:
            name, found[begun[1]] = begun[1], begun[2]
        elif row.startswith("    ") and name:
            found[name] += f" {row.strip()}"
        elif row.strip():
            break  # prose after the section
    return {name: line(text) for name, text in found.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table; a bar in a cell is no end of it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in each)} |" for each in lines
    )


def code(text: str) -> str:
    """Between backquotes; nothing stays nothing."""
    return f"`{text}`" if text else ""
