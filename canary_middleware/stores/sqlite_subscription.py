"""Hearing of changes in a SQLite file, which has no push.

A look costs microseconds: SQLite tells whether another connection has written anything. What this
very process writes wakes its listeners at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Final, NamedTuple, Self

from canary_middleware.core.codec import MAX_BYTES
from canary_middleware.core.state import Document
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.forgotten import decode_forgotten
from canary_middleware.stores.leaving import Leaving
from canary_middleware.stores.protocol import Forgotten
from canary_middleware.stores.sqlite_file import SqliteFile, Version

LOOK_EVERY: Final = 0.1
"""Seconds between two looks for what other processes wrote."""

_Push = tuple[int, bytes | None]
"""Number of a revocation, and its text unless it is of another namespace."""


class _Seen(NamedTuple):
    """What stands in the file: the state, and revocations by number."""

    state: object = None
    pushes: Sequence[_Push] = ()
    last: int = 0


class SqliteSubscription(Leaving):
    """Looks for what was written, and hands on what is new.

    Args:
        file: for this subscription alone.
        namespace: what to look for.
        decode: makes a document of what stands for the state.
        listening: those that are woken when their process writes; this one while it is entered.
    """

    def __init__(
        self,
        file: SqliteFile,
        namespace: str,
        decode: Callable[[object], Document],
        listening: list[SqliteSubscription],
    ) -> None:
        self.file = file
        self._namespace = namespace
        self._decode = decode
        self._listening = listening
        self._woken = Event()
        self._version = Version((), 0, 0)
        self._state: object = None
        self._told = 0
        self._waiting: deque[Callable[[], Document | Forgotten]] = deque()

    def __enter__(self) -> Self:
        self._listening.append(self)
        try:
            self._version = self.file.version()
            self._state, _, self._told = self.file.read(self._present, _Seen())
        except BaseException:  # whatever it was: `__exit__` is not called then
            self._leave()
            raise
        return self

    def _leave(self) -> None:
        with suppress(ValueError):
            self._listening.remove(self)
        self.file.close()

    def receive(self, timeout: float) -> Document | Forgotten | None:
        """The next push; of several changes of the state within a tenth of a second the last."""
        until = time.monotonic() + timeout
        while True:
            # Before the look: what is written during it wakes us again.
            self._woken.clear()
            if not self._waiting:
                self._look()
            if self._waiting:
                return self._waiting.popleft()()
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._woken.wait(min(LOOK_EVERY, left))

    def wake(self) -> None:
        """This process has written something."""
        self._woken.set()

    def _look(self) -> None:
        version = self.file.version()
        if version == self._version:
            return
        if version.replaces(self._version):
            raise StoreUnavailableError(f"{self.file.path} was replaced")
        seen = self.file.read(self._news, _Seen())
        if seen.last < self._told:
            raise StoreUnavailableError(f"{self.file.path} has lost what was in its log")
        # Only now: a look that failed is repeated.
        self._version = version
        self._hear(seen.pushes)
        if seen.state != self._state:
            self._state = seen.state
            if seen.state is not None:
                self._waiting.append(partial(self._decode, seen.state))

    def _present(self, connection: sqlite3.Connection) -> _Seen:
        return _Seen(written(connection, self._namespace), (), _last(connection))

    def _news(self, connection: sqlite3.Connection) -> _Seen:
        last = _last(connection)
        pushes = connection.execute(
            "SELECT number, CASE WHEN namespace = ? THEN push END FROM forgotten"
            " WHERE number > ? ORDER BY number",
            (self._namespace, self._told),
        ).fetchall()
        return _Seen(written(connection, self._namespace), pushes, last)

    def _hear(self, pushes: Sequence[_Push]) -> None:
        before = self._told
        for number, push in pushes:
            self._told = number
            if push is not None:
                self._waiting.append(partial(decode_forgotten, push))
        if pushes and pushes[0][0] != before + 1:
            raise StoreUnavailableError("more was revoked than is remembered")


def _last(connection: sqlite3.Connection) -> int:
    # The latest revocation is never deleted.
    (number,) = connection.execute("SELECT max(number) FROM forgotten").fetchone()
    return number or 0


def written(connection: sqlite3.Connection, namespace: str) -> object:
    """What stands for the state: ``None`` for nothing, 0 for what is too long to be looked at."""
    row = connection.execute(
        "SELECT CASE WHEN length(document) <= ? THEN document ELSE 0 END FROM state"
        " WHERE namespace = ?",
        (MAX_BYTES, namespace),
    ).fetchone()
    return None if row is None else row[0]
