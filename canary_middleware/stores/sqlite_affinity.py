"""Claims in a SQLite file."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from canary_middleware.core.claims import Ask, Claim, contend, decode_claim, encode_claim
from canary_middleware.stores.forgotten import MOST, batches, encode_forgotten
from canary_middleware.stores.protocol import Forgotten, Listed
from canary_middleware.stores.sqlite_file import SqliteFile

REMEMBERED: Final = 1_000
"""Revocations kept for listeners that are a little behind."""
_SWEPT: Final = 20
"""Expired claims deleted with each change, so that there are never many of them."""
_LONGEST: Final = 128
"""More bytes than any claim has."""

_READ: Final = (
    "SELECT substr(text, 1, ?), expires FROM claims"
    " WHERE namespace = ? AND rollout = ? AND key = ? AND expires > ?"
)
_WRITE: Final = (
    "INSERT INTO claims VALUES (?, ?, ?, ?, ?) ON CONFLICT (namespace, rollout, key)"
    " DO UPDATE SET text = excluded.text, expires = excluded.expires"
)
_EXTEND: Final = (
    "UPDATE claims SET expires = ? WHERE namespace = ? AND rollout = ? AND key = ? AND expires > ?"
)
_LIST: Final = (
    "SELECT key, substr(text, 1, ?), expires FROM claims"
    " WHERE namespace = ? AND rollout = ? AND key > ? AND expires > ? ORDER BY key LIMIT ?"
)
_DELETE: Final = (
    "DELETE FROM claims WHERE namespace = ? AND rollout = ? AND key = ? AND expires > ?"
)
_DELETE_SOME: Final = (
    "DELETE FROM claims WHERE rowid IN"
    " (SELECT rowid FROM claims WHERE namespace = ? AND rollout = ? LIMIT ?)"
)
_SWEEP: Final = (
    "DELETE FROM claims WHERE rowid IN (SELECT rowid FROM claims WHERE expires <= ? LIMIT ?)"
)


class SqlitePart(ABC):
    """What the parts of the store share."""

    def __init__(self, file: SqliteFile, namespace: str, wall: Callable[[], float]) -> None:
        self._file = file
        self._namespace = namespace
        self._wall = wall

    @abstractmethod
    def _pushed(self) -> None:
        """Wake whoever listens in this process."""


class SqliteAffinity(SqlitePart):
    """See :class:`~canary_middleware.stores.protocol.Affinity`."""

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """One transaction."""
        if not asks:
            return []

        def change(connection: sqlite3.Connection) -> list[Claim]:
            # Not before: a turn may have been waited for.
            now = self._now()
            _sweep(connection, now)
            return [self._settle(connection, ask, now) for ask in asks]

        return self._file.write(change)

    def touch(self, rollout: str, keys: Sequence[str], life: int) -> list[str]:
        """One transaction per 500 claims."""
        gone: list[str] = []
        for batch in batches(keys):
            gone += self._file.write(partial(self._extend, rollout=rollout, keys=batch, life=life))
        return gone

    def claims(self, rollout: str) -> Iterator[Listed]:
        """In steps, in the order of their keys."""
        last: str | None = ""
        while last is not None:
            now = self._now()
            rows = self._file.rows(_LIST, _LONGEST, self._namespace, rollout, last, now, MOST)
            for key, text, expires in rows:
                claim = _claim(text)
                if claim is not None:
                    yield Listed(_text(key), claim, (expires - now) / 1000)
            last = _text(rows[-1][0]) if len(rows) == MOST else None

    def look(self, rollout: str, keys: Iterable[str]) -> list[Listed]:
        """Row by row."""
        wanted = set(keys)

        def find(connection: sqlite3.Connection) -> list[Listed]:
            now = self._now()
            rows = ((key, self._row(connection, rollout, key, now)) for key in wanted)
            return [Listed(key, row[0], (row[1] - now) / 1000) for key, row in rows if row]

        return self._file.read(find, [])

    def forget(self, rollout: str, keys: Iterable[str] | None) -> int:
        """In steps, so that nobody waits for all of it; each with its push."""
        if keys is None:
            count = self._forget_all(rollout)
        else:
            count = sum(self._forget(rollout, batch) for batch in batches(keys))
        self._pushed()
        return count

    # --- private --------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._wall() * 1000)

    def _settle(self, connection: sqlite3.Connection, ask: Ask, now: int) -> Claim:
        held = self._found(connection, ask.rollout, ask.key, now)
        origin = None
        if ask.origin is not None:
            origin = self._found(connection, ask.rollout, ask.origin, now)
        winner = contend(held, origin, ask)
        text = encode_claim(winner)
        connection.execute(_WRITE, (self._namespace, ask.rollout, ask.key, text, now + ask.life))
        return winner

    def _found(
        self, connection: sqlite3.Connection, rollout: str, key: str, now: int
    ) -> Claim | None:
        row = self._row(connection, rollout, key, now)
        return row and row[0]

    def _row(
        self, connection: sqlite3.Connection, rollout: str, key: str, now: int
    ) -> tuple[Claim, int] | None:
        values = (_LONGEST, self._namespace, rollout, key, now)
        text, expires = connection.execute(_READ, values).fetchone() or (None, 0)
        claim = _claim(text)
        return None if claim is None else (claim, expires)

    def _extend(
        self, connection: sqlite3.Connection, rollout: str, keys: Iterable[str], life: int
    ) -> list[str]:
        now = self._now()
        _sweep(connection, now)
        values = ((key, (now + life, self._namespace, rollout, key, now)) for key in keys)
        return [key for key, value in values if connection.execute(_EXTEND, value).rowcount == 0]

    def _forget(self, rollout: str, keys: Sequence[str]) -> int:
        def change(connection: sqlite3.Connection) -> int:
            values = [(self._namespace, rollout, key, self._now()) for key in keys]
            self._push(connection, Forgotten(rollout, tuple(keys)))
            return max(0, connection.executemany(_DELETE, values).rowcount)

        return self._file.write(change)

    def _forget_all(self, rollout: str) -> int:
        values = (self._namespace, rollout, MOST)
        count, deleted = 0, MOST
        while deleted == MOST:
            deleted = self._file.write(lambda c: c.execute(_DELETE_SOME, values).rowcount)
            count += deleted
        # Last: who has one in memory still holds it when none is left here.
        self._file.write(lambda c: self._push(c, Forgotten(rollout)))
        return count

    def _push(self, connection: sqlite3.Connection, forgotten: Forgotten) -> None:
        number = connection.execute(
            "INSERT INTO forgotten (namespace, push) VALUES (?, ?)",
            (self._namespace, encode_forgotten(forgotten)),
        ).lastrowid
        oldest = (number or 0) - REMEMBERED
        connection.execute("DELETE FROM forgotten WHERE number <= ?", (oldest,))


def _sweep(connection: sqlite3.Connection, now: int) -> None:
    connection.execute(_SWEEP, (now, _SWEPT))


def _claim(text: object) -> Claim | None:
    return decode_claim(text) if isinstance(text, bytes) else None


def _text(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else str(key)
