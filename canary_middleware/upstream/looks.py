"""Who waits longer than nearly everybody: one timer for all, rather than one for each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Looking(Protocol):
    """Wants to know when it has waited for a while."""

    def look(self) -> None:
        """The while is over."""


class Looks:
    """Tells everybody who joined and did not leave, once, after one to two times ``every`` seconds.

    To arm and cancel a timer costs a request more than to join and to leave.

    Args:
        later: of an event loop: calls after some seconds.
        every: seconds.
    """

    __slots__ = ("_armed", "_every", "_later", "_old", "_young")

    def __init__(
        self, later: Callable[[float, Callable[[], object]], object], every: float
    ) -> None:
        self._later = later
        self._every = every
        self._young: set[Looking] = set()
        self._old: set[Looking] = set()
        self._armed = False

    def join(self, one: Looking) -> None:
        """Begin to wait."""
        self._young.add(one)
        if not self._armed:
            self._arm()

    def leave(self, one: Looking) -> None:
        """Wait no more; harmless for whoever does not."""
        self._young.discard(one)
        self._old.discard(one)

    def _passed(self) -> None:
        due, self._old, self._young = self._old, self._young, set()
        self._armed = False
        if self._old:
            self._arm()
        for one in due:
            one.look()

    def _arm(self) -> None:
        self._armed = True
        self._later(self._every, self._passed)
