"""The token file: read when it changes, so that a removed line ends its sessions at once."""

from __future__ import annotations

import logging
import os
import stat as modes
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.panel.tokens import Line, parse

logger = logging.getLogger("canary_middleware.panel")

LARGEST: Final = 256 * 1024
"""Bytes that are read of it."""
_FRESH: Final = 2.0
"""Seconds for which a file that was just written is read anew at each look: a second change within
the same tick of the file system's clock would not be seen (git calls such an entry racy)."""
_ONLY_MINE: Final = "chmod 600"

Stamp = tuple[int, int, int, int, int]


class TokenFile:
    """The people of a token file, as it is now.

    A look costs one ``stat``. When the file was changed for the worse, the lines that can be read
    count and the others do not; when it is away or others may write it, nobody is let in.

    Args:
        path: of the file.
        wall: seconds since the epoch; for tests.

    Raises:
        ConfigurationError: with everything that is wrong with it now.

    Attributes:
        trouble: why nobody is let in at present; ``""`` where people are.
    """

    def __init__(self, path: str | Path, wall: Callable[[], float] = time.time) -> None:
        self.trouble = ""
        self._path, self._wall = Path(path), wall
        self._lines: Sequence[Line] = ()
        self._stamp: Stamp | None = None
        self._settled = False
        problems = self._read()
        if not problems and not self._lines:
            hint = f"canary panel token NAME --role operate --tokens {self._path}"
            problems = [Problem(str(self._path), "lets nobody in", hint)]
        if problems:
            raise ConfigurationError(problems)

    def lines(self) -> Sequence[Line]:
        """Everybody who may sign in."""
        if not self._settled or self._stamp != self._present():
            before = self._stamp, self.trouble
            problems = self._read()
            if before != (self._stamp, self.trouble):
                for problem in problems:
                    logger.error("panel: %s", problem)
        return self._lines

    def _present(self) -> Stamp | None:
        try:
            return _stamp(self._path.stat())
        except OSError:
            return None

    def _read(self) -> Sequence[Problem]:
        try:
            if self._path.exists() and not self._path.is_file():
                # A pipe can be read once only, and opening one may wait for ever.
                return self._shut(None, "is no file", "a regular file")
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                text = file.read(LARGEST).decode()
        except FileNotFoundError:
            hint = f"canary panel token NAME --role operate --tokens {self._path}"
            return self._shut(None, "does not exist", hint)
        except OSError as error:
            return self._shut(None, error.strerror or "cannot be read", "a file that we may read")
        except UnicodeDecodeError:
            return self._shut(_stamp(status), "is no text", "a file of UTF-8 text")
        stamp = _stamp(status)
        if _others(status, modes.S_IWGRP | modes.S_IWOTH):
            return self._shut(stamp, "may be written by others", f"chmod 600 {self._path}")
        if stamp != self._stamp and _others(status, modes.S_IROTH):
            told = "panel: everybody on this host may read in %s who may sign in (chmod 600 %s)"
            logger.warning(told, self._path, self._path)
        self._lines, problems = parse(text, str(self._path))
        self._stamp, self.trouble = stamp, ""
        self._settled = self._wall() - status.st_mtime > _FRESH
        return problems

    def _shut(self, stamp: Stamp | None, why: str, hint: str) -> Sequence[Problem]:
        self._lines, self._stamp, self._settled = (), stamp, False
        self.trouble = f"the token file {why}"
        return [Problem(str(self._path), why, hint)]


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _others(status: os.stat_result, rights: int) -> bool:
    # Windows makes its mode bits up: who may do what stands elsewhere there.
    return os.name != "nt" and bool(status.st_mode & rights)
