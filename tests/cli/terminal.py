"""A command on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.conftest import Shell
from tests.support.servers import wait_until

CSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command on a terminal of its own, and what it was sent."""

    def __init__(self, shell: Shell, *words: str, columns: int = 100, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns)
        environment = {
            name: value
            for name, value in shell.environment().items()
            if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "canary_middleware.cli", *words],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**environment, "TERM": "xterm", **variables},
        )  # fmt: skip
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.sent = ""

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 40, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def read(self) -> str:
        try:
            while chunk := os.read(self._ours, 65536):
                self.sent += chunk.decode(errors="replace")
        except OSError:
            # Nothing more for now, or on Linux: the other side is closed.
            pass
        return self.sent

    @property
    def shown(self) -> str:
        """The last whole picture."""
        return CSI.sub("", self.read().rpartition("\x1b[J")[0].rpartition("\x1b[H")[2])

    def shows(self, text: str) -> None:
        wait_until(lambda: text in self.shown, what=f"it shows {text!r}")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def answers(self, text: str) -> None:
        """Type it once it was asked."""
        wait_until(lambda: "; go on? [y/N] " in self.read(), what="a question")
        self.type(text)

    def end(self) -> int:
        try:
            wait_until(lambda: self.read() is not None and self.process.poll() is not None)
        finally:
            self.process.kill()
            self.process.wait()
        self.read()
        os.close(self._ours)
        return self.process.returncode


@contextmanager
def terminal(shell: Shell, *words: str, columns: int = 100, **variables: str) -> Iterator[Terminal]:
    found = Terminal(shell, *words, columns=columns, **variables)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()
