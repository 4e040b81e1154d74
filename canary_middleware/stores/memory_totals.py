"""The lease and the totals in the memory of one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final

from canary_middleware.stores.protocol import Totals
from canary_middleware.stores.totals import bounded

FOLDED: Final = 10_000
"""Folded ids remembered per release; one process has few."""

_Release = tuple[str, str]


class MemoryLease:
    """See :class:`~canary_middleware.stores.protocol.Lease`."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._leases: dict[str, tuple[str, float]] = {}
        self._lease_lock = Lock()

    def hold(self, owner: str, seconds: float, of: str = "") -> bool:
        """Whoever has it, or else comes first."""
        now = self._wall()
        with self._lease_lock:
            holder, until = self._leases.get(of, ("", 0.0))
            if holder != owner and until > now:
                return False
            self._leases[of] = owner, now + seconds
            return True

    def release(self, owner: str, of: str = "") -> None:
        """Only one's own."""
        with self._lease_lock:
            if self._leases.get(of, ("", 0.0))[0] == owner:
                del self._leases[of]


class MemoryTotals:
    """See :class:`~canary_middleware.stores.protocol.TotalsStore`."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._totals: dict[_Release, dict[str, tuple[bytes, float]]] = defaultdict(dict)
        self._folded: dict[_Release, dict[str, None]] = defaultdict(dict)
        self._totals_lock = Lock()

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        """Replace those of one process."""
        bounded(data)
        place = rollout, release
        with self._totals_lock:
            if boot in self._folded[place]:
                return False
            self._totals[place][boot] = data, self._wall()
            return True

    def read(self, rollout: str, release: str) -> list[Totals]:
        """All of them."""
        now = self._wall()
        with self._totals_lock:
            found = self._totals[rollout, release].items()
            return [Totals(boot, data, max(0.0, now - at)) for boot, (data, at) in found]

    def fold(
        self, rollout: str, release: str, folded: bytes, boots: Mapping[str, bytes], old: bytes
    ) -> bool:
        """Compare, then replace."""
        bounded(folded)
        place = rollout, release
        with self._totals_lock:
            totals, gone = self._totals[place], self._folded[place]
            present = {"": b"", **{boot: data for boot, (data, _) in totals.items()}}
            if any(present.get(boot) != data for boot, data in {**boots, "": old}.items()):
                return False
            totals[""] = folded, self._wall()
            for boot in boots:
                del totals[boot]
                gone[boot] = None
            while len(gone) > FOLDED:
                del gone[next(iter(gone))]
            return True
