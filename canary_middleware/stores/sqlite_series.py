"""Points of charts and cursors in a SQLite file.

Their tables came later than the others, as those of first events did: they are made by the first
write, and the number of the file's schema stays, so that an earlier release goes on beside us.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Final, TypeVar

from canary_middleware.errors import StoreCorruptError
from canary_middleware.stores.series import (
    CURSOR_LIFE,
    LIFE,
    MAX_CURSOR,
    MAX_POINT,
    POINTS,
    Points,
    checked,
    checked_cursor,
    fitting,
    read_cursor,
)
from canary_middleware.stores.sqlite_affinity import SqlitePart

_IS_THERE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'leases'"
_SERIES: Final = (
    "SELECT slot, CASE WHEN typeof(data) = 'blob' AND length(data) <= ? THEN data END FROM series"
    " WHERE namespace = ? AND rollout = ? AND slot > ? ORDER BY slot DESC LIMIT ?"
)
_TRIM: Final = (
    "DELETE FROM series WHERE namespace = ? AND rollout = ? AND slot <= (SELECT slot FROM series"
    " WHERE namespace = ? AND rollout = ? ORDER BY slot DESC LIMIT 1 OFFSET ?)"
)
_FORGET: Final = (
    "DELETE FROM series WHERE (namespace, rollout) IN"
    " (SELECT namespace, rollout FROM series_written WHERE at <= ?)"
)
_FORGET_WRITTEN: Final = "DELETE FROM series_written WHERE at <= ?"
_CURSOR: Final = (
    "SELECT CASE WHEN typeof(cursor) = 'blob' AND length(cursor) <= ? THEN cursor ELSE '' END"
    " FROM outbox WHERE namespace = ? AND hook = ?"
)

T = TypeVar("T")


class SqliteSeries(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.SeriesStore`."""

    def append(self, rollout: str, slot: int, data: bytes) -> None:
        """One transaction."""
        checked(slot, data)
        place = (self._namespace, rollout)

        def change(connection: sqlite3.Connection) -> None:
            prepare(connection)
            now = self._wall()
            row = (*place, slot, data)
            connection.execute("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)", row)
            connection.execute(
                "INSERT OR REPLACE INTO series_written VALUES (?, ?, ?)", (*place, now)
            )
            connection.execute(_TRIM, (*place, *place, POINTS))
            connection.execute(_FORGET, (now - LIFE,))
            connection.execute(_FORGET_WRITTEN, (now - LIFE,))

        self._file.write(change)

    def series(self, rollout: str, since: int = 0) -> Points:
        """One question, newest first, and no further than what fits into an answer."""
        values = (MAX_POINT, self._namespace, rollout, since, POINTS)
        nothing: Points = []
        return self._file.read(
            asked(lambda c: fitting(_points(c.execute(_SERIES, values))), nothing), nothing
        )


class SqliteOutbox(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.Outbox`."""

    def cursor(self, hook: str) -> str | None:
        """One question."""
        return self._file.read(asked(lambda c: self._cursor(c, hook), None), None)

    def advance(self, hook: str, before: str | None, after: str) -> bool:
        """One transaction."""
        checked_cursor(hook, after)

        def change(connection: sqlite3.Connection) -> bool:
            prepare(connection)
            if self._cursor(connection, hook) != before:
                return False
            now = self._wall()
            row = (self._namespace, hook, after.encode(), now)
            connection.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?)", row)
            connection.execute("DELETE FROM outbox WHERE at <= ?", (now - CURSOR_LIFE,))
            return True

        return self._file.write(change)

    def _cursor(self, connection: sqlite3.Connection, hook: str) -> str | None:
        values = (MAX_CURSOR, self._namespace, hook)
        found = connection.execute(_CURSOR, values).fetchone()
        return None if found is None else read_cursor(found[0])


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, within the transaction that needs them."""
    for statement in _schema():
        connection.execute(statement)


def asked(
    question: Callable[[sqlite3.Connection], T], empty: T
) -> Callable[[sqlite3.Connection], T]:
    """The same question, of a file that may lack the tables."""

    def ask(connection: sqlite3.Connection) -> T:
        return empty if connection.execute(_IS_THERE).fetchone() is None else question(connection)

    return ask


@lru_cache(maxsize=1)
def _schema() -> tuple[str, ...]:
    return tuple((files("canary_middleware.stores") / "series.sql").read_text().split(";"))


def _points(rows: sqlite3.Cursor) -> Iterator[tuple[int, bytes]]:
    for slot, data in rows:
        if type(slot) is not int or not isinstance(data, bytes):
            raise StoreCorruptError("a point of a chart is none, or too large")
        yield slot, data
