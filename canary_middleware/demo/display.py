"""What the demo shows: one line that changes in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from typing import Final, TextIO

EVERY: Final = 2.0
"""Seconds between two lines about the same thing where there is no terminal."""

_COLOURS: Final = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}


class Display:
    """Lines on a stream.

    Args:
        out: where to; colours and changing lines only if it is a terminal, and colours only
            without ``NO_COLOR`` (https://no-color.org).
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        dumb = os.environ.get("TERM") == "dumb"
        self._live = out.isatty() and not dumb
        self._colours = self._live and not os.environ.get("NO_COLOR")
        unicode = (out.encoding or "ascii").lower().replace("-", "").startswith("utf")
        self._full, self._empty = ("█", "░") if unicode else ("#", ".")
        self._open = False
        self._shown_at = time.monotonic()

    def line(self, text: str = "") -> None:
        """One line that stays."""
        self._erase()
        self._write(text + "\n")
        self._shown_at = time.monotonic()

    def live(self, text: str, every: float = EVERY) -> None:
        """The present state of things; replaced by what is shown next."""
        if not self._live:
            if time.monotonic() - self._shown_at >= every:
                self.line(text)
            return
        self._erase()
        self._write(text)
        self._open = True

    def close(self) -> None:
        """Leave the last changing line where it is."""
        if self._open:
            self._write("\n")
            self._open = False

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
        return self.paint(self._full * full, "yellow") + self._empty * (width - full)

    def _erase(self) -> None:
        if self._open:
            self._write("\r\x1b[K")
            self._open = False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
