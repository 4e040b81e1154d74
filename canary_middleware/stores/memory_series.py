"""Points of charts and cursors in the memory of one process."""

from __future__ import annotations

from collections import defaultdict
from threading import Lock

from canary_middleware.stores.series import POINTS, Points, checked, checked_cursor, fitting


class MemorySeries:
    """See :class:`~canary_middleware.stores.protocol.SeriesStore`; kept as long as the process."""

    def __init__(self) -> None:
        self._points: dict[str, dict[int, bytes]] = defaultdict(dict)
        self._points_lock = Lock()

    def append(self, rollout: str, slot: int, data: bytes) -> None:
        """Replace the point of that slot."""
        checked(slot, data)
        with self._points_lock:
            points = self._points[rollout]
            points[slot] = data
            while len(points) > POINTS:
                del points[min(points)]

    def series(self, rollout: str, since: int = 0) -> Points:
        """In their order."""
        with self._points_lock:
            found = list(self._points.get(rollout, {}).items())
        return fitting(sorted((one for one in found if one[0] > since), reverse=True))


class MemoryOutbox:
    """See :class:`~canary_middleware.stores.protocol.Outbox`; kept as long as the process."""

    def __init__(self) -> None:
        self._cursors: dict[str, str] = {}
        self._cursors_lock = Lock()

    def cursor(self, hook: str) -> str | None:
        """As it was left."""
        return self._cursors.get(hook)

    def advance(self, hook: str, before: str | None, after: str) -> bool:
        """Compare, then replace."""
        checked_cursor(hook, after)
        with self._cursors_lock:
            if self._cursors.get(hook) != before:
                return False
            self._cursors[hook] = after
            return True
