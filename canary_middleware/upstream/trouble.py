"""What is logged of an upstream: that it fails and that it answers again, not each failure."""

from __future__ import annotations

import logging
from typing import Final

from canary_middleware.upstream.address import Origin

logger = logging.getLogger("canary_middleware")

CALM: Final = 1.0
"""Seconds without a failure until an answer is a recovery: of one that fails now and then, each
failure and each success would be a line."""


class Trouble:
    """Of one upstream; for all threads, whose worst race is a line said twice.

    Args:
        origin: the upstream.

    Attributes:
        active: whether a failure was logged, and no recovery since.
    """

    __slots__ = ("_last", "_name", "active")

    def __init__(self, origin: Origin) -> None:
        self._name = origin.unix or f"{origin.host}:{origin.port}"
        self._last = 0.0
        self.active = False

    def failed(self, why: str, now: float) -> None:
        """It was not reached, or did not answer.

        Args:
            why: in a few words.
            now: monotonic seconds.
        """
        self._last = now
        if not self.active:
            self.active = True
            logger.warning("upstream %s: degraded: %s", self._name, why)

    def answered(self, now: float) -> None:
        """It answered.

        Args:
            now: monotonic seconds.
        """
        if self.active and now - self._last >= CALM:
            self.active = False
            logger.warning("upstream %s: recovered", self._name)
