"""One SQLite file and this process's connection to it.

How it is used, and why:

* Write-ahead log: readers never wait, neither for writers nor for each other. It needs shared
  memory, hence one host and a local disk.
* Every change is one ``BEGIN IMMEDIATE`` transaction: the lock is taken before anything is read,
  so that nothing read can be old when it is written.
* ``synchronous=FULL`` for the control state: a kill that was confirmed outlives a power failure.
  ``NORMAL`` for all else: what a failure takes of claims, reports and totals is drawn, reported and
  counted again, and a sync of the disk per claim would hold the lock for milliseconds.
* No change brings the log back into the database, which takes two syncs: SQLite would do so in
  whichever change fills a thousand pages, that of a request too. :meth:`SqliteFile.tidy` does it.
* One connection per process, its threads take turns: they would wait for the file's lock anyway,
  and there in steps of SQLite's sleeps.
* No connection is open while the process forks. A child that inherits one believes that it holds
  its parent's locks, even for connections that it opens itself.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from canary_middleware.core.codec import SHOWN, printable
from canary_middleware.errors import StoreCorruptError, StoreUnavailableError

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x43_4E_52_59
"""``CNRY``; tells our files from those of others."""

_PAUSE: Final = (0.0002, 0.002)
"""Seconds between two tries for the lock, instead of SQLite's own waits: those grow to 100 ms, so
that whoever waited longest would be served last."""
LONG_LOG: Final = 8 * 1024 * 1024
"""Bytes; about twice what SQLite lets a log grow to by itself."""
_PASSING: Final = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC")
"""Failures in which the connection is kept. It still reads from a disk that is full, where a new
one would find no room for the shared memory that even readers need."""

T = TypeVar("T")
_Identity = tuple[tuple[int, int], ...]


class Version(NamedTuple):
    """What a look at the file found; equal ones mean that nothing has changed.

    Attributes:
        files: device and inode of the database and of its log, if they are there.
        opening: counts the connections of this process.
        number: of this connection; raised by the changes of others.
    """

    files: _Identity
    opening: int
    number: int

    def replaces(self, before: Version) -> bool:
        """Whether the database that was there is not there any more.

        The log may be another one: it is deleted when nobody has the database open.
        """
        return before.files != () and self.files[:1] != before.files[:1]


class SqliteFile:
    """A file that need not be there yet.

    Args:
        path: absolute.
        patience: seconds that a change waits for those of others.
    """

    def __init__(self, path: Path, patience: float) -> None:
        self.path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._patience = patience
        self._turn = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity = ()
        self._opened_by = 0
        self._openings = 0
        self._durable = False
        self._inherited: list[sqlite3.Connection] = []

    def read(self, question: Callable[[sqlite3.Connection], T], empty: T) -> T:
        """The answer, or ``empty`` where there is no file or nothing in it.

        Raises:
            StoreUnavailableError: it cannot be read.
            StoreCorruptError: it is no file of ours.
        """

        def look() -> T:
            connection = self._connect(create=False)
            return empty if connection is None else question(connection)

        until = time.monotonic() + self._patience
        with self._turns(self._patience), self._errors():
            return _patiently(look, until)

    def rows(self, question: str, *values: object) -> list[Any]:
        """What one question finds; texts come as bytes, whatever they were written as."""
        nothing: list[Any] = []
        return self.read(lambda c: c.execute(question, values).fetchall(), nothing)

    def write(
        self,
        change: Callable[[sqlite3.Connection], T],
        *,
        durable: bool = False,
        patience: float | None = None,
    ) -> T:
        """One transaction, all or nothing.

        Args:
            change: what to do in it.
            durable: wait until it is on the disk.
            patience: seconds to wait for the changes of others.

        Raises:
            StoreUnavailableError: it cannot be written; nothing was changed.
            StoreCorruptError: it is no file of ours.
        """
        until = time.monotonic() + (self._patience if patience is None else patience)
        with self._turns(until - time.monotonic()), self._errors():
            connection = _patiently(lambda: self._begun(durable=durable), until)
            try:
                answer = change(connection)
                connection.execute("COMMIT")
            except BaseException:  # an interrupt, too: a transaction left open locks everybody out
                _end(connection, "ROLLBACK")
                raise
            return answer

    def version(self) -> Version:
        """Another one when another connection has changed the file, or another file is there."""
        number = self.read(lambda c: _number(c, "PRAGMA data_version"), -1)
        # SQLite's number is one of this connection only.
        return Version(self._identity, self._openings, number)

    def tidy(self) -> None:
        """Bring a log that has grown back into the database; then write something.

        Whoever writes next begins the log anew, with a sync of the disk.
        """
        with suppress(OSError):
            if self._log.stat().st_size <= LONG_LOG:
                return
        until = time.monotonic() + self._patience
        with self._turns(self._patience), self._errors():
            connection = self._connect(create=False)
            if connection is None:
                return
            # Most of it while others write; only the rest keeps them from it.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            while _is_late(connection) and time.monotonic() < until:
                time.sleep(random.uniform(*_PAUSE))

    def close(self) -> None:
        """Until it is used again."""
        with self._turn:
            self._close()

    def before_fork(self) -> None:
        """Finish what is being done, and leave nothing open to inherit."""
        self._turn.acquire()
        self._close()

    def after_fork(self) -> None:
        """Go on, in parent and child."""
        self._turn.release()

    # --- private --------------------------------------------------------------------------------

    @contextmanager
    def _turns(self, patience: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=max(0.0, patience)):
            raise StoreUnavailableError(f"{self.path} is busy")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if not name.startswith(_PASSING):
                # Whatever it is, a new connection knows it better.
                self._close()
            raise _told(self.path, name, error) from error
        except StoreCorruptError:
            self._close()
            raise

    def _begun(self, *, durable: bool) -> sqlite3.Connection:
        connection = self._connect(create=True)
        if connection is None:
            raise StoreUnavailableError(f"{self.path} was taken away")
        if durable != self._durable:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def _connect(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is not None and self._opened_by != os.getpid():
            # Forked without our being told: neither used nor closed, which would end its locks.
            self._inherited.append(self._connection)
            self._connection = None
        identity = self._files()
        if identity != self._identity:
            self._close()
        if self._connection is None and (identity or create):
            self._connection = self._open(create=create)
            self._identity = self._files()
            if identity and self._identity[:1] != identity[:1]:
                self._close()
                raise StoreUnavailableError(f"{self.path} is just being replaced")
        return self._connection

    def _files(self) -> _Identity:
        # The log counts, too: a connection whose log was deleted writes where nobody reads.
        found = []
        with suppress(OSError):
            for name in (self.path, self._log):
                status = name.stat()
                found.append((status.st_dev, status.st_ino))
        return tuple(found)

    def _open(self, *, create: bool) -> sqlite3.Connection | None:
        self._opened_by, self._durable = os.getpid(), False
        self._openings += 1
        address = f"file:{quote(str(self.path))}?mode={'rwc' if create else 'rw'}"
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False, timeout=0
        )
        try:
            # Keys of other people's making need not be texts.
            connection.text_factory = bytes
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            if _is_ours(connection) or create:
                _create(connection)
                return connection
        except BaseException:  # nobody else holds it yet who could close it
            connection.close()
            raise
        connection.close()
        return None

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._opened_by == os.getpid():
            with suppress(sqlite3.Error):
                connection.close()


def _patiently(action: Callable[[], T], until: float) -> T:
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorname.startswith("SQLITE_BUSY")
            if not busy or time.monotonic() > until:
                raise
        time.sleep(random.uniform(*_PAUSE))


def _is_late(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])


def _end(connection: sqlite3.Connection, how: str) -> None:
    # A disk that is full may have ended it already.
    if connection.in_transaction:
        connection.execute(how)


def _create(connection: sqlite3.Connection) -> None:
    if _is_ours(connection):
        return
    # Whoever else does it at this moment gets in our way, and then it is done.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    if not _is_signed(connection):
        for statement in (files("canary_middleware.stores") / "schema.sql").read_text().split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _is_ours(connection: sqlite3.Connection) -> bool:
    # In one transaction: somebody may create it between two questions.
    connection.execute("BEGIN")
    try:
        return _is_signed(connection)
    finally:
        _end(connection, "COMMIT")


def _is_signed(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there; ``False`` for a file with nothing in it.

    Raises:
        StoreCorruptError: there is something else in it.
    """
    version = _number(connection, "PRAGMA user_version")
    owner = _number(connection, "PRAGMA application_id")
    if (owner, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return True
    if owner == APPLICATION_ID:
        raise StoreCorruptError(f"the file has schema {version}, not {SCHEMA_VERSION}")
    if owner or version or _number(connection, "SELECT count(*) FROM sqlite_master"):
        raise StoreCorruptError("the file is the database of another program")
    return False


def _number(connection: sqlite3.Connection, question: str) -> int:
    return int(connection.execute(question).fetchone()[0])


def _told(path: Path, name: str, error: sqlite3.Error) -> StoreCorruptError | StoreUnavailableError:
    text = printable(str(error), SHOWN)
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_ERROR", "SQLITE_SCHEMA"):
        return StoreCorruptError(f"{path}: {text}")
    if name.startswith("SQLITE_BUSY"):
        return StoreUnavailableError(f"{path} is busy")
    if name.startswith("SQLITE_CANTOPEN") and not path.parent.is_dir():
        return StoreUnavailableError(f"there is no directory {path.parent}")
    # Of the one text about I/O there are thirty kinds.
    kind = f" ({name})" if name.startswith("SQLITE_IOERR") else ""
    return StoreUnavailableError(f"{path}: {text}{kind}")
