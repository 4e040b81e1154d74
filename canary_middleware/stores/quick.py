"""Claims on the request path: the same store, with every wait bounded by a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.errors import Problem, StoreUnavailableError
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.protocol import Affinity, StateStore


class Claimer(Protocol):
    """Asks in threads."""

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners; raises ``StoreUnavailableError`` within the budget."""

    def close(self) -> None:
        """Close what it opened."""


class AsyncClaimer(Protocol):
    """Asks from one event loop, inside of which it was made; whoever asks keeps the time."""

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners; raises ``StoreUnavailableError``."""

    async def close(self) -> None:
        """Close what it opened."""


@runtime_checkable
class Addressed(Protocol):
    """A store that others can reach, too."""

    @property
    def address(self) -> object:
        """Where; raises ``ConfigurationError`` if only its own client can."""


@runtime_checkable
class Hastened(Protocol):
    """A store that knows better than to be asked in its own time."""

    def quick(self, budget: float) -> Claimer:
        """For threads; ``budget`` in seconds."""

    def quick_async(self) -> AsyncClaimer:
        """For the running event loop."""


def quick(store: StateStore, budget: float) -> Claimer:
    """Asks the store from threads."""
    return store.quick(budget) if isinstance(store, Hastened) else Borrowed(store)


def quick_async(store: StateStore, budget: float) -> AsyncClaimer:
    """Asks the store from the running event loop."""
    if isinstance(store, Hastened):
        return store.quick_async()
    return AtOnce(store) if isinstance(store, MemoryStore) else InThread(Borrowed(store))


class Borrowed:
    """A store as it is."""

    def __init__(self, store: StateStore) -> None:
        self._store = store if isinstance(store, Affinity) else None

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners."""
        if self._store is None:
            raise StoreUnavailableError("the store keeps no claims")
        return self._store.claim(asks)

    def close(self) -> None:
        """It is somebody else's."""


class InThread:
    """A blocking store for an event loop."""

    def __init__(self, claimer: Claimer) -> None:
        self._claimer = claimer

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners, from a thread, which goes on if nobody waits for it any more."""
        from asyncio import to_thread  # a WSGI process has no use for it

        return await to_thread(self._claimer.claim, asks)

    async def close(self) -> None:
        """Close it."""
        from asyncio import to_thread

        await to_thread(self._claimer.close)


class AtOnce:
    """A store without I/O for an event loop."""

    def __init__(self, store: Affinity) -> None:
        self._store = store

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners."""
        return self._store.claim(asks)

    async def close(self) -> None:
        """Nothing to close."""


def place_problems(store: StateStore) -> list[Problem]:
    """Why a store cannot keep the places of shared affinity.

    Raises:
        ConfigurationError: it is a ready client whose server requests could not reach.
    """
    if not isinstance(store, Affinity):
        hint = 'leave affinity="shared" out, or let the store implement Affinity (docs/stores.md)'
        return [Problem("store", "keeps no claims, and a rollout has shared affinity", hint)]
    if isinstance(store, Addressed):
        _ = store.address
    return []
