"""A terminal that is redrawn in place, and left as it was found."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from canary_middleware.cli.drawing import Line, Paper
from canary_middleware.cli.show import is_terminal, paint

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[J"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _REST, _END = "\x1b[H", "\x1b[K", "\x1b[J"
# By name, for not every system has them.
_ENDS: Final = tuple(one for one in signal.Signals if one.name in ("SIGTERM", "SIGHUP"))
_STOPS: Final = tuple(one for one in signal.Signals if one.name == "SIGTSTP")


def paper(width: int | None = None) -> Paper:
    """What standard output can show."""
    columns = width or shutil.get_terminal_size((100, 24)).columns
    try:
        "█░".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return Paper(columns, "#", ".")
    return Paper(columns)


def is_live() -> bool:
    """Whether standard output can be redrawn."""
    return is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """The alternate screen of a terminal, for as long as it is entered.

    It is restored on every way out: the end, an error, Ctrl-C, a terminated process, and while the
    process is stopped by Ctrl-Z.
    """

    def __init__(self) -> None:
        self._size = os.terminal_size((0, 0))

    def __enter__(self) -> Self:
        self._before = [
            *((number, signal.signal(number, self._end)) for number in _ENDS),
            *((number, signal.signal(number, self._stop)) for number in _STOPS),
        ]
        _write(_ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _write(_LEAVE)
        for number, handler in self._before:
            signal.signal(number, handler)

    def _end(self, number: int, *_: object) -> None:
        raise SystemExit(128 + number)

    def _stop(self, *_: object) -> None:
        _write(_LEAVE)
        os.kill(os.getpid(), signal.SIGSTOP)
        _write(_ENTER)
        self._size = os.terminal_size((0, 0))

    @property
    def resized(self) -> bool:
        """Whether the terminal is not what was drawn for."""
        return shutil.get_terminal_size() != self._size

    def draw(self, lines: Sequence[Line]) -> None:
        """Replace what is shown; what does not fit below is counted."""
        self._size = shutil.get_terminal_size()
        room = max(1, self._size.lines - 1)
        if len(lines) > room:
            left = len(lines) - room + 1
            lines = [*lines[: room - 1], Line(f"... {left} more lines"[: self._size.columns])]
        text = "".join(f"{paint(line.text, line.color)}{_REST}\r\n" for line in lines)
        _write(f"{_HOME}{text}{_END}")


def _write(text: str) -> None:
    # Not through sys.stdout: a signal may come in the middle of it, and its handler writes too.
    left = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]
