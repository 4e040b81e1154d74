"""Claims in the memory of one process, as many as fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Final

from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.stores.forgotten import batches
from canary_middleware.stores.protocol import Forgotten, Listed

MOST: Final = 100_000
"""Claims kept; beyond that those that were seen longest ago go, and their bucket decides again."""

_Place = tuple[str, str]
_Kept = tuple[Claim, float]


class MemoryAffinity:
    """See :class:`~canary_middleware.stores.protocol.Affinity`; for the threads of one process."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._claims: OrderedDict[_Place, _Kept] = OrderedDict()
        self._claims_lock = Lock()
        self._watchers: list[Callable[[Forgotten], object]] = []

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """In turn, under one lock."""
        with self._claims_lock:
            return [self._settle(ask) for ask in asks]

    def touch(self, rollout: str, keys: Sequence[str], life: int) -> list[str]:
        """Those that are there live on."""
        gone = []
        with self._claims_lock:
            for key in keys:
                claim = self._found((rollout, key))
                if claim is not None:
                    self._keep((rollout, key), claim, life)
                else:
                    gone.append(key)
        return gone

    def claims(self, rollout: str) -> Iterator[Listed]:
        """As they are at the first step."""
        now = self._wall()
        with self._claims_lock:
            found = [(key, *kept) for (name, key), kept in self._claims.items() if name == rollout]
        return (Listed(key, claim, until - now) for key, claim, until in found if until > now)

    def look(self, rollout: str, keys: Iterable[str]) -> list[Listed]:
        """Under one lock."""
        now = self._wall()
        with self._claims_lock:
            found = [(key, self._claims.get((rollout, key))) for key in set(keys)]
        alive = ((key, *kept) for key, kept in found if kept is not None and kept[1] > now)
        return [Listed(key, claim, until - now) for key, claim, until in alive]

    def forget(self, rollout: str, keys: Iterable[str] | None) -> int:
        """Whoever listens hears of it in this thread."""
        if keys is not None:
            return sum(self._forget(Forgotten(rollout, batch)) for batch in batches(keys))
        return self._forget(Forgotten(rollout))

    def watch(self, watcher: Callable[[Forgotten], object]) -> None:
        """Call with what is revoked, in the thread that does it."""
        with self._claims_lock:
            self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Forgotten], object]) -> None:
        """Call it no more."""
        with self._claims_lock:
            self._watchers = [other for other in self._watchers if other != watcher]

    def _forget(self, forgotten: Forgotten) -> int:
        name, keys = forgotten
        with self._claims_lock:
            places = [(name, key) for key in keys] or [p for p in self._claims if p[0] == name]
            count = sum(self._found(place) is not None for place in places)
            for place in places:
                self._claims.pop(place, None)
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher(forgotten)
        return count

    def _settle(self, ask: Ask) -> Claim:
        place = (ask.rollout, ask.key)
        origin = None if ask.origin is None else self._found((ask.rollout, ask.origin))
        winner = contend(self._found(place), origin, ask)
        self._keep(place, winner, ask.life)
        return winner

    def _found(self, place: _Place) -> Claim | None:
        kept = self._claims.get(place)
        return kept[0] if kept is not None and kept[1] > self._wall() else None

    def _keep(self, place: _Place, claim: Claim, life: int) -> None:
        self._claims[place] = claim, self._wall() + life / 1000
        self._claims.move_to_end(place)
        if len(self._claims) > MOST:
            self._claims.popitem(last=False)
