"""Turns of pytest-xdist's workers: a test that measures times runs while no other test does."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(directory: Path, *, alone: bool) -> Iterator[None]:
    """Wait until this test may run: beside those of other workers, or ``alone``.

    Everybody passes the door first, and who waits to be alone stands in it: so those who share the
    room cannot keep one out that wants it alone.

    Args:
        directory: one for all workers of a run.
        alone: whether no other test may run meanwhile.
    """
    with (directory / "door").open("a") as door, (directory / "room").open("a") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        try:
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            yield
        finally:  # by name: a child that was forked in between has the same open files
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)
