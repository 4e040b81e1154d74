"""What the demo shows: lines that change in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from textwrap import wrap
from typing import Final, TextIO

EVERY: Final = 2.0
"""Seconds between two lines about the same thing where there is no terminal."""

LONGEST: Final = 100
"""Columns of a line of text; longer ones are hard to read."""

_COLOURS: Final = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}


class Display:
    """Lines on a stream.

    Args:
        out: where to; colours and changing lines only if it is a terminal, and colours only
            without ``NO_COLOR`` (https://no-color.org).

    Attributes:
        full: the character of a bar where it is filled.
        empty: where it is not.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        dumb = os.environ.get("TERM") == "dumb"
        self._live = out.isatty() and not dumb
        self._colours = self._live and not os.environ.get("NO_COLOR")
        unicode = (out.encoding or "ascii").lower().replace("-", "").startswith("utf")
        self.full, self.empty = ("█", "░") if unicode else ("#", ".")
        self._open = 0
        self._shown_at = time.monotonic()

    def line(self, text: str = "") -> None:
        """One line that stays."""
        self._erase()
        self._write(text + "\n")
        self._shown_at = time.monotonic()

    @property
    def width(self) -> int:
        """Columns that a line may take without breaking."""
        return shutil.get_terminal_size().columns - 1

    def wrapped(self, text: str, colour: str = "", *, indent: int = 2, hanging: int = 2) -> None:
        """A sentence over as many lines as it needs; on one where nobody's window is narrow.

        Args:
            text: the sentence.
            colour: of all of it.
            indent: columns before each line.
            hanging: further ones before all but the first.
        """
        for line in self._broken(text, indent, hanging):
            self.line(self.paint(line, colour) if colour else line)

    def verdict(self, word: str, colour: str, text: str) -> None:
        """A word in colour, and a sentence in none, so that what failed stands out."""
        first, *others = self._broken(f"{word}  {text}", 2, len(word) + 2)
        self.line(first.replace(word, self.paint(word, colour), 1))
        for line in others:
            self.line(line)

    def _broken(self, text: str, indent: int, hanging: int) -> list[str]:
        lines = [text]
        if self._live:
            room = max(40, min(LONGEST, self.width - indent))
            lines = wrap(text, room, subsequent_indent=" " * hanging, break_on_hyphens=False)
        return [" " * indent + line for line in lines]

    def live(self, text: str, more: Sequence[str] = (), every: float = EVERY) -> None:
        """The present state of things; replaced by what is shown next.

        Args:
            text: one line.
            more: lines above it, on a terminal; none may be wider than :attr:`width`.
            every: seconds between two of them elsewhere.
        """
        if not self._live:
            if time.monotonic() - self._shown_at >= every:
                self.line(text)
            return
        self._erase()
        room = shutil.get_terminal_size().lines - 2
        lines = [*more[: max(0, room)], text]
        self._write("\n".join(lines))
        self._open = len(lines)

    def close(self) -> None:
        """Leave the last changing lines where they are."""
        if self._open:
            self._write("\n")
            self._open = 0

    def paint(self, text: str, colour: str) -> str:
        """Coloured, if colours may be; they never say what the words do not say."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colours else text

    def bar(self, share: float, room: int, nothing: str = "") -> str:
        """A share from 0 to 1 as a bar beside ``room`` columns; anything above 0 can be seen.

        ``nothing`` takes the place of an empty bar, which looks as if something were broken.
        """
        width = max(4, min(24, shutil.get_terminal_size().columns - room - 1))
        if share == 0 and nothing and len(nothing) <= width:
            return nothing.ljust(width)
        full = min(width, max(round(share * width), 1 if share > 0 else 0))
        return self.paint(self.full * full, "yellow") + self.empty * (width - full)

    def _erase(self) -> None:
        if self._open:
            up = f"\x1b[{self._open - 1}A" if self._open > 1 else ""
            self._write(f"\r{up}\x1b[J" if up else "\r\x1b[K")
            self._open = 0

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
