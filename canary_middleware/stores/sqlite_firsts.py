"""First events in a SQLite file.

Their tables came later than the others. They are made by the first event, and the number of the
file's schema stays: processes of an earlier release, which refuse any other one, go on beside us.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any, Final

from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.firsts import (
    ENTERED,
    ENTERED_LIFE,
    EVERYBODY,
    KINDS,
    LIFE,
    WATCHED,
    Count,
    entrances,
    steps,
)
from canary_middleware.stores.protocol import Entered, First
from canary_middleware.stores.sqlite_affinity import SqlitePart

_IS_THERE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'first_counts'"
_KINDS: Final = (
    "SELECT kind, number, CAST(visitors_below AS INTEGER),"
    " (SELECT count(*) FROM first_visitors AS v WHERE v.number = k.number) FROM first_kinds AS k"
    " WHERE namespace = ? AND rollout = ? AND release = ? AND run = ?"
)
_TOUCH: Final = (
    "UPDATE first_kinds SET written = ?"
    " WHERE namespace = ? AND rollout = ? AND release = ? AND run = ?"
)
_COUNTS: Final = (
    "SELECT kind, period, cohort, count FROM first_kinds JOIN first_counts USING (number)"
    " WHERE namespace = ? AND rollout = ? AND release = ? AND run = ? AND written > ?"
)
_COUNT: Final = (
    "INSERT INTO first_counts VALUES (?, ?, ?, 1)"
    " ON CONFLICT (number, period, cohort) DO UPDATE SET count = count + 1"
)
_OLD: Final = "SELECT number FROM first_kinds WHERE written <= ?"
_FORGET: Final = (
    "DELETE FROM first_visitors WHERE number = ?",
    "DELETE FROM first_counts WHERE number = ?",
    "DELETE FROM first_kinds WHERE number = ?",
)

_ENTER: Final = "INSERT OR IGNORE INTO entered VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
_ENTERED_BY: Final = (
    "SELECT 1 FROM entered WHERE namespace = ? AND rollout = ? AND release = ? AND run = ?"
    " AND period = ? AND visitor = ? AND batch = ?"
)
_ENTERED_LONG_AGO: Final = (
    "DELETE FROM entered WHERE at <= ? OR number <= (SELECT max(number) FROM entered) - ?"
)

_Run = tuple[str, str, str, int]


class _Watch:
    """Who is watched for one kind of event, and has had it."""

    def __init__(self, number: int, limit: int, size: int) -> None:
        self._number = number
        self._limit = limit
        self._size = size

    def count(self, connection: sqlite3.Connection, event: First) -> None:
        """Unless that visitor is not watched or was counted before."""
        if event.visitor >= self._limit or not self._add(connection, event.visitor):
            return
        place = (self._number, event.period, event.cohort.value)
        connection.execute(_COUNT, place)
        while self._size >= WATCHED and self._limit > 1:
            self._thin(connection)

    def _add(self, connection: sqlite3.Connection, visitor: int) -> bool:
        question = "INSERT OR IGNORE INTO first_visitors VALUES (?, ?)"
        added = connection.execute(question, (self._number, visitor)).rowcount
        self._size += added
        return added == 1

    def _thin(self, connection: sqlite3.Connection) -> None:
        self._limit //= 2
        question = "UPDATE first_kinds SET visitors_below = ? WHERE number = ?"
        connection.execute(question, (self._limit, self._number))
        question = "DELETE FROM first_visitors WHERE number = ? AND visitor >= ?"
        self._size -= connection.execute(question, (self._number, self._limit)).rowcount


class SqliteFirsts(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.Firsts`."""

    def first(self, rollout: str, release: str, run: int, events: Sequence[First]) -> None:
        """One transaction per 500 events."""
        place = (self._namespace, rollout, release, run)
        for step in steps(events):
            self._file.write(partial(self._count, place=place, events=step))

    def firsts(self, rollout: str, release: str, run: int) -> dict[Count, int]:
        """One question."""
        values = (self._namespace, rollout, release, run, self._wall() - LIFE)
        nothing: list[Any] = []
        rows = self._file.read(partial(_asked, values=values), nothing)
        try:
            return {
                (kind.decode(), int(period), Cohort(cohort.decode())): int(count)
                for kind, period, cohort, count in rows
            }
        except (TypeError, ValueError, AttributeError) as error:
            raise StoreUnavailableError("the first events in the file are none of ours") from error

    def enter(
        self, rollout: str, release: str, run: int, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        """One transaction per 500 entries; the bound is one for all runs in the file."""
        place = (self._namespace, rollout, release, run)
        answers: list[bool] = []
        for step in entrances(batch, entries):
            told = partial(self._entered, place=place, batch=batch, entries=step)
            answers += self._file.write(told)
        return answers

    def _entered(
        self, connection: sqlite3.Connection, place: _Run, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        now = self._wall()
        for statement in _schema():
            connection.execute(statement)
        answers = []
        for entry in entries:
            row = (*place, entry.period, entry.visitor, batch)
            connection.execute(_ENTER, (*row, now))
            answers.append(connection.execute(_ENTERED_BY, row).fetchone() is not None)
        connection.execute(_ENTERED_LONG_AGO, (now - ENTERED_LIFE, 4 * ENTERED))
        return answers

    def _count(self, connection: sqlite3.Connection, place: _Run, events: Sequence[First]) -> None:
        now = self._wall()
        for statement in _schema():
            connection.execute(statement)
        _sweep(connection, now)
        watches = {
            kind.decode(errors="replace"): _Watch(*rest)
            for kind, *rest in connection.execute(_KINDS, place).fetchall()
        }
        for event in events:
            if event.kind not in watches and len(watches) < KINDS:
                watches[event.kind] = _begun(connection, place, event.kind, now)
            if event.kind in watches:
                watches[event.kind].count(connection, event)
        connection.execute(_TOUCH, (now, *place))


@lru_cache(maxsize=1)
def _schema() -> tuple[str, ...]:
    return tuple((files("canary_middleware.stores") / "firsts.sql").read_text().split(";"))


def _asked(connection: sqlite3.Connection, values: tuple[object, ...]) -> list[Any]:
    if connection.execute(_IS_THERE).fetchone() is None:
        return []
    return connection.execute(_COUNTS, values).fetchall()


def _begun(connection: sqlite3.Connection, place: _Run, kind: str, now: float) -> _Watch:
    question = "INSERT INTO first_kinds VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
    number = connection.execute(question, (*place, kind, EVERYBODY, now)).lastrowid
    return _Watch(number or 0, EVERYBODY, 0)


def _sweep(connection: sqlite3.Connection, now: float) -> None:
    old = connection.execute(_OLD, (now - LIFE,)).fetchall()
    for question in _FORGET:
        connection.executemany(question, old)
