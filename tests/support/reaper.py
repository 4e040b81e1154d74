"""Ends every process group that a test run started, however the run itself ends.

The run holds one end of a pipe and tells this process of each group. When the pipe closes, the run
is over: by its end, by Ctrl-C, or by SIGKILL, which no ``finally`` survives. What is still
registered then is killed. (A parent-death signal would miss the workers that a server forks.)
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


class Reaper:
    """The run's end of the pipe."""

    def __init__(self) -> None:
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )

    def watch(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        assert self._watcher.stdin is not None
        self._watcher.stdin.write(line.encode())


@functools.cache
def reaper() -> Reaper:
    """The one reaper of this run, started with the first server."""
    return Reaper()


def kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _serve(lines: Iterable[str]) -> None:
    alive: set[int] = set()
    for line in lines:
        change = alive.add if line.startswith("+") else alive.discard
        change(int(line[1:]))
    for group in alive:
        kill_group(group)


if __name__ == "__main__":
    _serve(sys.stdin)
