"""The part of the chores that speaks of claims: what may wait, and what was seen lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.errors import StoreError
from canary_middleware.stores.protocol import Affinity, Forgotten

BATCH: Final = 200
"""Questions or sightings in one call; the server does nothing else meanwhile."""
BATCHES: Final = 80
"""Batches in one turn: whoever brings in visitors faster must not keep us from the kill switch."""
TOUCH_EVERY: Final = 5.0
"""Seconds between two reports of what was seen; far less than the life of a claim."""


class Sighting(Protocol):
    """Claims that were used."""

    @property
    def rollout(self) -> str:
        """Whose."""

    @property
    def life(self) -> int:
        """Milliseconds."""

    @property
    def keys(self) -> Sequence[str]:
        """Which."""


class Remembered(Protocol):
    """The part of the engine that holds claims."""

    def take(self, most: int) -> list[Ask]:
        """Questions that waited."""

    def give_back(self, asks: Iterable[Ask]) -> None:
        """They could not be asked."""

    def sightings(self, most: int) -> Sequence[Sighting]:
        """What was used since the last call."""

    def learn(self, asks: Sequence[Ask], winners: Sequence[Claim]) -> None:
        """What the store said."""

    def forget(self, rollout: str, keys: Sequence[str]) -> None:
        """Somebody revoked them."""

    def lost(self, keys: Sequence[str]) -> None:
        """The store does not have them any more."""

    def doubt(self) -> None:
        """Somebody may have revoked any of them."""


class Claiming:
    """Tells the store what requests did not wait for.

    Args:
        store: where claims live; the agent's own connection.
        claims: what the process remembers; asked for anew, as a forked child has another.
        clock: monotonic seconds.
    """

    def __init__(
        self, store: Affinity, claims: Callable[[], Remembered], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._claims = claims
        self._clock = clock
        self._touched_at = clock()

    def tell(self) -> None:
        """Claim what waited, prolong what was seen.

        Raises:
            StoreError: the store does not do it; what waited goes on waiting.
        """
        claims = self._claims()
        for _ in range(BATCHES):
            asks = claims.take(BATCH)
            if not asks:
                break
            try:
                claims.learn(asks, self._store.claim(asks))
            except StoreError:
                claims.give_back(asks)
                raise
        now = self._clock()
        if now - self._touched_at >= TOUCH_EVERY:
            self._touched_at = now
            for seen in claims.sightings(BATCH):
                gone = self._store.touch(seen.rollout, seen.keys, seen.life)
                # A new process would ask for them before we do, a third of their life from now.
                claims.lost(gone)

    def forget(self, forgotten: Forgotten) -> None:
        """A push said so."""
        self._claims().forget(forgotten.rollout, forgotten.keys)
