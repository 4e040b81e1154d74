"""How things look: escaped, aligned, and never wider than the terminal."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

LONGEST: Final = 600
"""Characters of any one text from the store; a reason has 500 at most."""
_GAP: Final = "  "
_NARROWEST: Final = 8
_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def shown(text: str) -> str:
    """Text from elsewhere: what could move a cursor or start a line is escaped."""
    clipped = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clipped)


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line; a character that the terminal does not know is escaped."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, color=True)


def print_json(value: Any) -> None:
    """Print for machines: one object, ASCII only."""
    say(json.dumps(_clean(value), indent=2))


def print_json_line(value: Any) -> None:
    """The same on one line, for a stream of objects; it is out at once."""
    say(json.dumps(_clean(value)))
    sys.stdout.flush()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(name): _clean(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(member) for member in value]
    # JSON has no infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def paint(text: str, color: str) -> str:
    """Coloured on a terminal; colour never says what the words do not say."""
    if not color or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return click.style(text, fg=color)


def ago(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def instant(at: float) -> str:
    """A wall-clock time as people write it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    cells: Sequence[str]
    color: str = ""


def print_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    """Aligned columns; on a terminal the widest give way until the lines fit."""
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = aligned([head, *(row.cells for row in rows)], room)
    for line, row in zip(lines, (Row(head), *rows), strict=True):
        say(paint(line, row.color))


def aligned(rows: Sequence[Sequence[str]], room: int | None = None) -> list[str]:
    """Escaped cells in columns; the widest columns give way until a line has ``room``."""
    lines = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    if room is not None:
        _fit(widths, room)
    return [
        _GAP.join(cut(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in lines
    ]


def _fit(widths: list[int], room: int) -> None:
    # The widest column gives way first, so that short words stay whole.
    while sum(widths) + len(_GAP) * (len(widths) - 1) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1


def width_of(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text in exactly so many columns."""
    missing = width - width_of(text)
    if missing >= 0:
        return text + " " * missing
    kept = ""
    for character in text:
        if width_of(kept + character) > width - 3:
            break
        kept += character
    return kept + "." * 3 + " " * (width - 3 - width_of(kept))
