"""Ends every process group that a run started, however the run itself ends.

The run holds one end of a pipe and tells this process of each group. When the pipe closes, the run
is over: by its end, by Ctrl-C, or by SIGKILL, which no ``finally`` survives. What is still
registered then is killed. (A parent-death signal would miss the workers that a server forks.)
"""

from __future__ import annotations

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
        """End this process group with the run."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """This process group is gone; its number may become somebody else's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End what is still registered, and wait for that."""
        self._watcher.communicate()

    def _tell(self, line: str) -> None:
        if self._watcher.stdin is not None:
            self._watcher.stdin.write(line.encode())


def kill_group(group: int) -> None:
    """SIGKILL for a process and its children; harmless when they are gone."""
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
