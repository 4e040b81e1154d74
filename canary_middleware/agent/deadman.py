"""Tells in the log when this process goes to stable because it hears nothing from the store."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger("canary_middleware")


class DeadMan:
    """One line when the dead-man's switch begins to serve stable here, and one when it ends.

    Requests compare for themselves, so what the log says may be a turn of the agent late.

    Args:
        stale: whether the last confirmation of the control state is too old.
    """

    def __init__(self, stale: Callable[[], bool]) -> None:
        self._stale = stale
        self._on = False

    def look(self) -> None:
        """Tell of a change."""
        on = self._stale()
        if on and not self._on:
            logger.warning(
                "dead-man's switch: on: the store has not confirmed the state for max_staleness, "
                "running rollouts serve stable here, promoted ones stay"
            )
        elif self._on and not on:
            logger.warning("dead-man's switch: off: the store confirms the state again")
        self._on = on
