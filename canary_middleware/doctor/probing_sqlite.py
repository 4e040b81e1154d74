"""Looks at the file of an SQLite store from outside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from canary_middleware.doctor.examined import File

_MOUNTS: Final = Path("/proc/self/mounts")
"""Of Linux; elsewhere the type of a file system is not known."""
_PATIENCE: Final = 1.0


def look(path: Path, mounts: Path = _MOUNTS) -> File:
    """What is to be seen of it."""
    real = path.resolve()
    writable = os.access(real.parent, os.W_OK) and (not real.exists() or os.access(real, os.W_OK))
    return File(str(path), system_of(real, _read(mounts)), writable, _journal(real))


def system_of(path: Path, mounts: str) -> str:
    """Type of the file system that a path is on: of the longest mount point above it.

    Args:
        path: absolute.
        mounts: as proc_mounts(5) has it: device, mount point with octal escapes, type.
    """
    best, system = -1, ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = parts[1].encode("latin-1", "replace").decode("unicode_escape")
        # Later ones cover earlier ones at the same point.
        if path.is_relative_to(point) and len(point) >= best:
            best, system = len(point), parts[2]
    return system


def _read(mounts: Path) -> str:
    try:
        return mounts.read_text(errors="replace")
    except OSError:
        return ""


def _journal(path: Path) -> str:
    """Mode of the journal; empty where it cannot be read, which the store itself tells."""
    if not path.exists():
        return ""
    try:
        address = f"{path.as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as connection:
            return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    except sqlite3.Error:
        return ""
