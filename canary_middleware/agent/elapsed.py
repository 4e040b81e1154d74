"""How long a release has been where it is, by a clock that does not jump."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from canary_middleware.core.state import Document, Entry


class _Stay(NamedTuple):
    revision: int
    since: float


class Stays:
    """Counts from the moment at which this process heard of a stay.

    Whoever came later has only the clocks of both machines to go by; everybody else is right
    whatever theirs do, and at most late.

    Args:
        clock: monotonic seconds.
        wall: wall-clock seconds.
    """

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._stays: dict[tuple[str, str], _Stay] = {}
        self._heard = False

    def hear(self, document: Document | None) -> None:
        """This is followed now; called at least as often as somebody asks."""
        if document is None:
            return
        now, known = self._clock(), self._stays
        self._stays = {}
        for name, state in document.rollouts.items():
            for release, entry in state.entries.items():
                revision, at = _began(entry)
                stay = known.get((name, release))
                if stay is None or stay.revision != revision:
                    age = 0.0 if self._heard else max(0.0, self._wall() - at)
                    stay = _Stay(revision, now - age)
                self._stays[name, release] = stay
        self._heard = True

    def elapsed(self, name: str, release: str) -> float:
        """Seconds of the present stay; 0 for one that was never heard of."""
        stay = self._stays.get((name, release))
        return 0.0 if stay is None else max(0.0, self._clock() - stay.since)


def _began(entry: Entry) -> tuple[int, float]:
    if not entry.periods:
        return entry.period, entry.since
    return entry.stay[0].revision, entry.stay[0].at
