"""A SQLite file for tests, the stores on it, and what others do to it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from canary_middleware.stores.sqlite import SqliteStore
from canary_middleware.testing.contract import audit, started

STARTED = started()


class Clock:
    """Of the host, set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """A file, and stores on it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "canary.db"
        self.clock = Clock()
        self.opened: list[SqliteStore] = []
        self.store = self.open()

    def open(self, namespace: str = "shop") -> SqliteStore:
        self.opened.append(SqliteStore(self.path, namespace, patience=2.0, wall=self.clock))
        return self.opened[-1]

    def start(self) -> None:
        assert self.store.swap(None, STARTED, audit(STARTED))

    def spoil(self, question: str, *values: object) -> None:
        """Something that somebody else does to the file."""
        with sqlite3.connect(self.path) as connection:
            connection.execute(question, values)
        connection.close()

    def count(self, table: str) -> int:
        connection = sqlite3.connect(self.path)
        try:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        finally:
            connection.close()


def played(program: str, shop: Shop) -> str:
    """What a program says that runs in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", program, f"sqlite:///{shop.path}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
