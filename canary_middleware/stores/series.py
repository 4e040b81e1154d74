"""How large points of charts and cursors may be, and what is left out of an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from canary_middleware.errors import StoreCorruptError, StoreError

POINTS: Final = 8_640
"""Points kept per rollout: a day, at one in ten seconds."""
MAX_POINT: Final = 16 * 1024
"""Bytes of a point."""
MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of all points of one answer."""
MAX_SLOT: Final = 2**53 - 1
LIFE: Final = 30 * 86_400
"""Seconds after the last point of a rollout after which its points are deleted."""
MAX_HOOK: Final = 200
"""Characters of the name of an outbox."""
MAX_CURSOR: Final = 1_000
"""Bytes of a cursor."""
CURSOR_LIFE: Final = 366 * 86_400
"""Seconds after which a cursor that nobody advances is deleted."""

Points = list[tuple[int, bytes]]


def checked(slot: int, data: bytes) -> None:
    """Refuse what no store takes.

    Raises:
        StoreError: the slot is none, or the data is too large.
    """
    if not 1 <= slot <= MAX_SLOT:
        raise StoreError(f"{slot} is no slot of time, from 1 to {MAX_SLOT}")
    if len(data) > MAX_POINT:
        raise StoreError(f"a point would take {len(data)} bytes of at most {MAX_POINT}")


def fitting(newest_first: Iterable[tuple[int, bytes]]) -> Points:
    """Those that fit into one answer, in the order of time."""
    found: Points = []
    size = 0
    for slot, data in newest_first:
        size += len(data)
        if size > MAX_ANSWER:
            break
        found.append((slot, data))
    return found[::-1]


def checked_cursor(hook: str, after: str) -> None:
    """Refuse what no store takes.

    Raises:
        StoreError: a text is empty or too long.
    """
    if not 1 <= len(hook) <= MAX_HOOK:
        raise StoreError(f"the name of an outbox has 1 to {MAX_HOOK} characters, not {len(hook)}")
    try:
        hook.encode()
        size = len(after.encode())
    except UnicodeEncodeError as error:
        raise StoreError("an outbox or its cursor is no text") from error
    if not 1 <= size <= MAX_CURSOR:
        raise StoreError(f"a cursor has 1 to {MAX_CURSOR} bytes, not {size}")


def read_cursor(found: object) -> str | None:
    """What stands in a store.

    Raises:
        StoreCorruptError: it is no cursor of ours.
    """
    if found is None:
        return None
    if not isinstance(found, bytes) or not 1 <= len(found) <= MAX_CURSOR:
        raise StoreCorruptError("a cursor of an outbox is none, or too long")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise StoreCorruptError("a cursor of an outbox is no UTF-8") from error
