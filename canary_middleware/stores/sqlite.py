"""The control state in one SQLite file, for any number of processes on one host.

There is no push in a file: who listens asks every 100 ms whether something was written, which costs
microseconds, and is woken at once by what its own process writes.
"""

from __future__ import annotations

import functools
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final, TypeVar

from canary_middleware.core.codec import (
    MAX_BYTES,
    SHOWN,
    Decoder,
    decode_audit,
    decode_report,
    encode,
    encode_audit,
    encode_report,
    printable,
)
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.core.transitions import strike
from canary_middleware.errors import (
    ConfigurationError,
    Problem,
    StoreCorruptError,
    StoreError,
)
from canary_middleware.stores.protocol import REPORT_LIFE, SILENT_LIFE, Key, Loaded
from canary_middleware.stores.quick import InThread
from canary_middleware.stores.sqlite_affinity import SqliteAffinity
from canary_middleware.stores.sqlite_file import SqliteFile
from canary_middleware.stores.sqlite_firsts import SqliteFirsts
from canary_middleware.stores.sqlite_series import SqliteOutbox, SqliteSeries
from canary_middleware.stores.sqlite_subscription import SqliteSubscription, written
from canary_middleware.stores.sqlite_totals import SqliteLease, SqliteTotals

HISTORY: Final = 1_000
"""Lines of history kept."""
MAX_LINE: Final = 64 * 1024
"""Bytes of a line of history that is read; ours are shorter, with a few kilobytes of evidence."""
KILL_PATIENCE: Final = 10.0
"""Seconds that a kill waits for the changes of others, at least."""
T = TypeVar("T")


class SqliteStore(
    SqliteAffinity, SqliteLease, SqliteTotals, SqliteFirsts, SqliteSeries, SqliteOutbox
):
    """One namespace in one file.

    Args:
        path: of the file, which the first change creates; its directory must be there.
        namespace: stands in every row.
        patience: seconds that a change waits for those of others.
        wall: seconds since the epoch. The clock of the host is that of the store: all who use the
            file are on that host, and no other clock goes on over a restart.
    """

    def __init__(
        self,
        path: Path,
        namespace: str,
        *,
        patience: float = 0.5,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(SqliteFile(path.absolute(), patience), namespace, wall)
        self._patience = patience
        self._decode = Decoder().decode
        self._listening: list[SqliteSubscription] = []
        self._fork_turn = Lock()
        self._forking: list[SqliteFile] = []
        _close_at_fork(self)

    @classmethod
    def from_url(cls, url: str, namespace: str, *, timeout: float) -> SqliteStore:
        """As SQLAlchemy writes it: ``sqlite:///shop.db`` is relative to the working directory.

        Args:
            url: three slashes and a path, so that an absolute one begins with four.
            namespace: stands in every row.
            timeout: seconds that a change waits for those of others.

        Raises:
            ConfigurationError: there is no path in it, or more than one.
        """
        return cls(_path_of(url), namespace, patience=timeout)

    # --- questions ------------------------------------------------------------------------------

    def load(self) -> Loaded:
        """The state; there is no plain kill key in a file."""
        try:
            return Loaded(self._file.read(self._document, None))
        except StoreCorruptError as error:
            return Loaded(None, None, error)

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        """One transaction: compare, write, remember."""
        data = encode(new)  # refuses what nobody could read again

        def change(connection: sqlite3.Connection) -> bool:
            try:
                present = self._document(connection)
            except StoreCorruptError:
                return False
            if clears is not None or (present.key if present else None) != expected:
                return False
            self._write(connection, data, audit)
            return True

        return self._changed(change)

    def kill(self, scope: str, *, by: str, why: str, now: float) -> Document:
        """One transaction, whatever is there.

        Where the present state is unreadable one that kills everything takes its place.

        Raises:
            StoreUnavailableError: it cannot be written, and so nobody heard of it.
        """

        def change(connection: sqlite3.Connection) -> Document:
            struck, data = self._struck(connection, scope, by, why, now)
            killed = scope if scope in struck.kills else EVERYTHING
            audit = Audit(now, by, "kill", killed, "", "killed", why, struck.revision)
            self._write(connection, data, audit)
            return struck

        return self._changed(change, patience=max(KILL_PATIENCE, self._patience))

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        """Newest first; lines that are not ours are left out."""
        question = (
            "SELECT line FROM audit WHERE namespace = ? AND typeof(line) = 'blob'"
            " AND length(line) <= ? ORDER BY number DESC LIMIT ?"
        )
        found = []
        for (line,) in self._file.rows(question, self._namespace, MAX_LINE, HISTORY):
            with suppress(StoreCorruptError):
                found.append(decode_audit(line))
        return [audit for audit in found if scope in (None, audit.scope)][:limit]

    def listen(self) -> SqliteSubscription:
        """A subscription on its own connection."""
        file = SqliteFile(self._file.path, self._patience)
        return SqliteSubscription(file, self._namespace, self._decoded, self._listening)

    def report(self, report: ProcessReport) -> None:
        """Write under the process id, with the clock of the host; now and then, tidy up."""
        data, now = encode_report(report), self._wall()

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM processes WHERE namespace = ? AND heard NOT BETWEEN ? AND ?",
                (self._namespace, now - SILENT_LIFE, now + REPORT_LIFE),
            )
            connection.execute(
                "INSERT OR REPLACE INTO processes VALUES (?, ?, ?, ?)",
                (self._namespace, report.id, now, data),
            )

        self._file.tidy()
        self._file.write(change)

    def processes(self) -> list[ProcessReport]:
        """Who lives; reports that are not ours are left out."""
        return self._reports(REPORT_LIFE)

    def lately(self) -> list[ProcessReport]:
        """Who lived lately; see :class:`~canary_middleware.stores.protocol.Remembering`."""
        return self._reports(SILENT_LIFE)

    def _reports(self, life: float) -> list[ProcessReport]:
        question = (
            "SELECT heard, report FROM (SELECT id, heard, report FROM processes"
            " WHERE namespace = ? AND heard > ? AND typeof(report) = 'blob' AND length(report) <= ?"
            " ORDER BY heard DESC LIMIT 5000) ORDER BY id"
        )
        found = []
        oldest = self._wall() - life
        for heard, data in self._file.rows(question, self._namespace, oldest, MAX_BYTES):
            with suppress(StoreCorruptError):
                found.append(replace(decode_report(data), at=float(heard)))
        return found

    def withdraw(self, process_id: str) -> None:
        """Forget a process at once."""
        if not self._file.path.exists():
            return
        self._file.write(
            lambda connection: connection.execute(
                "DELETE FROM processes WHERE namespace = ? AND id = ?",
                (self._namespace, process_id),
            )
        )

    def quick(self, budget: float) -> SqliteStore:
        """The same namespace through a connection whose every change ends within the budget."""
        return SqliteStore(self._file.path, self._namespace, patience=budget, wall=self._wall)

    def quick_async(self) -> InThread:
        """Likewise for an event loop: a file can only block, and so a thread waits for it."""
        return InThread(self.quick(self._patience))

    def close(self) -> None:
        """Close the connection of this process."""
        self._file.close()

    # --- private --------------------------------------------------------------------------------

    def _document(self, connection: sqlite3.Connection) -> Document | None:
        data = written(connection, self._namespace)
        return None if data is None else self._decoded(data)

    def _decoded(self, data: object) -> Document:
        if not isinstance(data, bytes):
            raise StoreCorruptError(f"the state is no text, or has more than {MAX_BYTES} bytes")
        return self._decode(data)

    def _struck(
        self, connection: sqlite3.Connection, scope: str, by: str, why: str, now: float
    ) -> tuple[Document, bytes]:
        fresh = Document(secrets.token_hex(8))
        try:
            struck = strike(self._document(connection) or fresh, scope, by=by, why=why, now=now)
            return struck, encode(struck)
        except StoreError:
            # Unreadable, or as long as can be read, or at its last revision.
            struck = strike(fresh, EVERYTHING, by=by, why=why, now=now)
            return struck, encode(struck)

    def _write(self, connection: sqlite3.Connection, data: bytes, audit: Audit) -> None:
        name = self._namespace
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, data))
        connection.execute(
            "INSERT INTO audit (namespace, line) VALUES (?, ?)", (name, encode_audit(audit))
        )
        connection.execute(
            "DELETE FROM audit WHERE namespace = ? AND number <= (SELECT number FROM audit"
            " WHERE namespace = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (name, name, HISTORY),
        )

    def _changed(
        self, change: Callable[[sqlite3.Connection], T], patience: float | None = None
    ) -> T:
        answer = self._file.write(change, durable=True, patience=patience)
        self._pushed()
        return answer

    def _pushed(self) -> None:
        for subscription in tuple(self._listening):
            subscription.wake()

    # --- forks ----------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """No connection may be open then."""
        # Two threads may fork at once.
        self._fork_turn.acquire()
        self._forking = [self._file, *(listening.file for listening in self._listening)]
        for file in self._forking:
            file.before_fork()

    def after_fork(self) -> None:
        """In parent and child."""
        for file in self._forking:
            file.after_fork()
        self._forking = []
        self._fork_turn.release()


def _path_of(url: str) -> Path:
    path = url.removeprefix("sqlite:///")
    wrong, hint = "", "sqlite:///relative/to/here.db or sqlite:////absolute/path.db"
    if path == url:
        wrong = "has no path after three slashes"
    elif path in ("", ":memory:"):
        wrong, hint = "names no file", f"{hint}; without a file it is memory://"
    elif "?" in path or "#" in path:
        wrong = "has options after the path, and there are none"
    if wrong:
        raise ConfigurationError([Problem("store", f"{printable(url, SHOWN)!r} {wrong}", hint)])
    return Path(path)


def _close_at_fork(store: SqliteStore) -> None:
    """Have nothing open at any fork, for as long as the store lives."""
    reference = weakref.ref(store)

    def call(what: Callable[[SqliteStore], None]) -> None:
        alive = reference()
        if alive is not None:
            what(alive)

    after = functools.partial(call, SqliteStore.after_fork)
    os.register_at_fork(
        before=functools.partial(call, SqliteStore.before_fork),
        after_in_parent=after,
        after_in_child=after,
    )
