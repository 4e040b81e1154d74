"""How things look: escaped, aligned, and never wider than the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TextIO

import click

from canary_middleware.overview.wording import clean, shown

_GAP: Final = "  "
_NARROWEST: Final = 8


def say(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print one line; a character that the terminal does not know is escaped."""
    stream = _stream(err=err)
    if stream is None:  # closed by whoever started us
        return
    encoding = stream.encoding or "utf-8"
    line = text.encode(encoding, "backslashreplace").decode(encoding) + end
    click.echo(line, nl=False, err=err, color=True)


def _stream(*, err: bool) -> TextIO | None:
    return sys.stderr if err else sys.stdout


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sits there; a stream that was closed is ``None``."""
    return stream is not None and stream.isatty()


@contextmanager
def unheard() -> Iterator[None]:
    """For words about what has to be done, whether or not they can be written.

    A full disk or a reader who has left ends the words and nothing else.
    """
    try:
        yield
    except OSError:
        # What is still in the buffer would fail once more at the end of the process.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def print_json(value: Any) -> None:
    """Print for machines: one object, ASCII only."""
    say(json.dumps(clean(value), indent=2))


def print_json_line(value: Any, *, err: bool = False) -> None:
    """The same on one line, for a stream of objects; it is out at once."""
    say(json.dumps(clean(value)), err=err)


def paint(text: str, color: str) -> str:
    """Coloured on a terminal; colour never says what the words do not say."""
    return click.style(text, fg=color) if color and _coloured() else text


def _coloured() -> bool:
    # https://no-color.org: any value but an empty one; a terminal that is dumb knows no colour.
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal(sys.stdout) and not plain


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    cells: Sequence[str]
    color: str = ""


def print_table(head: Sequence[str], rows: Sequence[Row]) -> None:
    """Aligned columns; on a terminal the widest give way until the lines fit."""
    room = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
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
