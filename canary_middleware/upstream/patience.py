"""Whose fault it is that an upstream gave up: many end an exchange that makes no progress.

A client that sends or takes slowly on purpose would choose by that which version fails: gunicorn
ends a worker over it, others have time-outs for bodies and pings.
"""

from __future__ import annotations

from typing import Final

LONG: Final = 1.0
"""Seconds for which no upstream gives up anything."""


def tried(waited: float, since: float) -> bool:
    """Whether the client tried the upstream's patience: most of the time was waiting for it.

    Args:
        waited: seconds for which somebody waited for the client.
        since: seconds that all of it took.
    """
    return waited >= LONG and 2 * waited >= since
