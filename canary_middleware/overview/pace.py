"""Work that lets other threads have their turn: a panel may be mounted in an application."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def unhurried(items: Iterable[T], at_once: int) -> Iterator[T]:
    """The same items; others are let through before every so many of them.

    Args:
        items: what is gone through.
        at_once: of them, what takes a millisecond at most: as long as nobody lets go, an event loop
            in the same process stands still.
    """
    for number, item in enumerate(items):
        if not number % at_once:
            time.sleep(0)
        yield item
