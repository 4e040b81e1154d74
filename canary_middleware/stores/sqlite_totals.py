"""The lease and the totals in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final, NamedTuple

from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.protocol import Totals
from canary_middleware.stores.sqlite_affinity import SqlitePart
from canary_middleware.stores.sqlite_series import prepare
from canary_middleware.stores.totals import MAX_TOTALS, bounded

LIFE: Final = 30 * 86_400.0
"""Seconds after which totals that nobody writes any more are deleted, and folded ids forgotten. The
sum of those that were folded stays for as long as any process writes for that release."""

_READ: Final = (
    "SELECT boot, CASE WHEN length(data) <= ? THEN data END, written FROM totals"
    " WHERE namespace = ? AND rollout = ? AND release = ?"
)
_IS_FOLDED: Final = (
    "SELECT 1 FROM folded WHERE namespace = ? AND rollout = ? AND release = ? AND boot = ?"
)
_UPDATE: Final = (
    "UPDATE totals SET data = ?, written = ?"
    " WHERE namespace = ? AND rollout = ? AND release = ? AND boot = ?"
)
_SWEEP: Final = (
    "DELETE FROM totals AS old WHERE written < ? AND (boot <> '' OR NOT EXISTS (SELECT 1"
    " FROM totals AS new WHERE new.namespace = old.namespace AND new.rollout = old.rollout"
    " AND new.release = old.release AND new.written >= ?))"
)
_DELETE: Final = (
    "DELETE FROM totals WHERE namespace = ? AND rollout = ? AND release = ? AND boot = ?"
)


class _Lease(NamedTuple):
    """How one kind of lease is looked for, taken and given back."""

    taken: str
    take: str
    give: str


# Processes of earlier releases know this table, and must not lead beside us.
_LEADING: Final = _Lease(
    "SELECT 1 FROM lease WHERE namespace = ? AND owner <> ? AND taken <= ? AND expires > ?",
    "INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?)",
    "DELETE FROM lease WHERE namespace = ? AND owner = ?",
)
_NAMED: Final = _Lease(
    "SELECT 1 FROM leases"
    " WHERE namespace = ? AND name = ? AND owner <> ? AND taken <= ? AND expires > ?",
    "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
    "DELETE FROM leases WHERE namespace = ? AND name = ? AND owner = ?",
)


class SqliteLease(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.Lease`."""

    def hold(self, owner: str, seconds: float, of: str = "") -> bool:
        """One transaction."""
        sql = _NAMED if of else _LEADING
        place = (self._namespace, of) if of else (self._namespace,)

        def change(connection: sqlite3.Connection) -> bool:
            if of:
                prepare(connection)
            now = self._wall()
            # One that was taken in the future says that the clock was set back: it never ends.
            found = connection.execute(sql.taken, (*place, owner, now, now)).fetchone()
            if found is None:
                connection.execute(sql.take, (*place, owner, now, now + seconds))
            return found is None

        return self._file.write(change)

    def release(self, owner: str, of: str = "") -> None:
        """Only one's own."""
        sql = _NAMED if of else _LEADING
        place = (self._namespace, of) if of else (self._namespace,)

        def change(connection: sqlite3.Connection) -> None:
            if of:
                prepare(connection)
            connection.execute(sql.give, (*place, owner))

        self._file.write(change)


class SqliteTotals(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.TotalsStore`."""

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        """One transaction."""
        bounded(data)
        place = (self._namespace, rollout, release, boot)

        def change(connection: sqlite3.Connection) -> bool:
            if connection.execute(_IS_FOLDED, place).fetchone() is not None:
                return False
            self._replace(connection, place, data)
            return True

        return self._file.write(change)

    def read(self, rollout: str, release: str) -> list[Totals]:
        """All of them or an error, for a part of a sum is a wrong sum."""
        rows = self._file.rows(_READ, MAX_TOTALS, self._namespace, rollout, release)
        if not all(isinstance(data, bytes) for _, data, _ in rows):
            raise StoreUnavailableError("the totals of a process are none, or too large")
        now = self._wall()
        return [
            Totals(boot.decode(errors="replace"), data, max(0.0, now - written))
            for boot, data, written in rows
        ]

    def fold(
        self, rollout: str, release: str, folded: bytes, boots: Mapping[str, bytes], old: bytes
    ) -> bool:
        """One transaction."""
        bounded(folded)
        place = (self._namespace, rollout, release)

        def change(connection: sqlite3.Connection) -> bool:
            rows = connection.execute(_READ, (MAX_TOTALS, *place)).fetchall()
            present = {b"": b"", **{boot: data for boot, data, _ in rows}}
            expected = {boot.encode(): data for boot, data in {**boots, "": old}.items()}
            if any(present.get(boot) != data for boot, data in expected.items()):
                return False
            gone = [(*place, boot) for boot in boots]
            connection.executemany(_DELETE, gone)
            connection.executemany(
                "INSERT OR REPLACE INTO folded VALUES (?, ?, ?, ?, ?)",
                [(*row, self._wall()) for row in gone],
            )
            self._replace(connection, (*place, ""), folded)
            return True

        return self._file.write(change)

    def _replace(
        self, connection: sqlite3.Connection, place: tuple[str, str, str, str], data: bytes
    ) -> None:
        now = self._wall()
        if connection.execute(_UPDATE, (data, now, *place)).rowcount:
            return
        connection.execute("INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?)", (*place, data, now))
        # Only for somebody new: it reads through all totals of all releases.
        connection.execute(_SWEEP, (now - LIFE, now - LIFE))
        connection.execute("DELETE FROM folded WHERE at < ?", (now - LIFE,))
