"""Superseding: may stable answer in place of this canary, and is there budget for it?"""

from __future__ import annotations

import enum
from typing import Final

FLOOR: Final = 3
"""Rescues that are always allowed at one time, as Envoy's ``min_retry_concurrency``."""

MAX_REPLAY: Final = 64 * 1024
"""Bytes of a request body that are kept for a second run; a longer one is not replay-safe."""

RAISED: Final = 599
"""Stands for the status of a canary that raised instead of answering."""


class Superseded(BaseException):
    """Unwinds a canary whose answer nobody will see.

    Not an ``Exception``, for the reason for which ``asyncio.CancelledError`` is none: it is not an
    error of the application, and no ``except Exception`` in it should log it or answer to it.
    """


class Supersede(enum.Enum):
    """Why a canary answer is abandoned before its first byte."""

    KILL = "kill"
    RESCUE = "rescue"
    DRILL = "drill"
    """A drill has put its own answer in the place of it."""


def within_budget(rescuing: int, active: int, share: int) -> bool:
    """Whether one more rescue may start.

    A canary that fails on every request would double the load on stable at the worst moment; a
    share of the requests in service bounds that (Envoy ``retry_budget``, Finagle ``RetryBudget``).

    Args:
        rescuing: rescues under way.
        active: requests under way, this one included.
        share: weight in units of 0.001 %.
    """
    return rescuing < max(FLOOR, active * share // 100_000)
