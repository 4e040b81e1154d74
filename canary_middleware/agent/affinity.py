"""Asks the store for claims on behalf of requests: within a budget, and not while it is away."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from canary_middleware.agent.claiming import BATCH
from canary_middleware.core.claims import Ask, Claim
from canary_middleware.engine.engine import Engine
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import StoreError
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.protocol import Affinity, StateStore
from canary_middleware.stores.quick import AsyncClaimer, Claimer, quick, quick_async

if TYPE_CHECKING:
    from canary_middleware.stores.batched import Batched

logger = logging.getLogger("canary_middleware")

BUDGET: Final = 0.02
"""Seconds; the default of ``claim_budget``."""
QUICK: Final = 2
"""Budgets within which the agent's look must have succeeded for requests to ask again. More than
one, for a thread has to wait for the interpreter; a store that takes longer answers none in time.
"""


class Asker:
    """Claims for the requests of one process, in threads and in event loops.

    Args:
        engine: whose requests.
        blocking: opens a store whose every question ends within the budget; called once per
            process, because a fork must not share connections.
        asynchronous: opens one for an event loop.
        budget: seconds that a request waits, at most.
        looked: when the last look at the store that succeeded in time was begun, monotonic seconds.
        local: the store, if it is this process's own memory.
    """

    def __init__(
        self,
        engine: Engine,
        blocking: Callable[[], Claimer],
        asynchronous: Callable[[], AsyncClaimer],
        budget: float,
        looked: Callable[[], float],
        local: Affinity | None = None,
    ) -> None:
        self._local = local
        self._engine = engine
        self._looked = looked
        self._open = blocking
        self._open_async = asynchronous
        self._budget = budget
        self._stores: dict[int, Claimer] = {}
        self._loops: WeakKeyDictionary[Any, tuple[AsyncClaimer, Batched]] = WeakKeyDictionary()
        self._told = False

    def settle(self, visit: Visit) -> None:
        """Ask what has to be asked before this visit's version is chosen; blocking."""
        self._without_agent()
        asks = visit.asks()
        if asks:
            visit.answered(asks, self._asked(asks) if self._allowed() else None)

    async def settle_async(self, visit: Visit) -> None:
        """As :meth:`settle`, from an event loop."""
        self._without_agent()
        asks = visit.asks()
        if asks:
            visit.answered(asks, await self._awaited(asks) if self._allowed() else None)

    def _without_agent(self) -> None:
        """What an agent would write: with ``memory://`` there is none, and nothing to wait for."""
        if self._local is not None:
            asks = self._engine.claims.take(BATCH)
            if asks:
                self._local.claim(asks)

    def _allowed(self) -> bool:
        engine = self._engine
        return engine.claims.circuit.allows(engine.clock(), self._looked())

    def _asked(self, asks: Sequence[Ask]) -> Sequence[Claim] | None:
        try:
            return self._succeeded(self._store().claim(asks))
        except StoreError as error:
            self._failed(error)
            return None

    async def _awaited(self, asks: Sequence[Ask]) -> Sequence[Claim] | None:
        try:
            return self._succeeded(await self._batched().claim(asks))
        except StoreError as error:
            self._failed(error)
            return None

    def _succeeded(self, winners: Sequence[Claim]) -> Sequence[Claim]:
        self._engine.claims.circuit.succeeded()
        if self._told:
            self._told = False
            logger.warning("shared affinity: recovered")
        return winners

    def _failed(self, error: StoreError) -> None:
        engine = self._engine
        engine.recorder.count("claim_failed")
        if engine.claims.circuit.failed(engine.clock()):
            engine.recorder.count("claim_circuit_opened")
            if not self._told:
                self._told = True
                logger.warning("shared affinity: degraded, buckets decide: %s", error)

    def _store(self) -> Claimer:
        pid = os.getpid()
        store = self._stores.get(pid)
        # No lock that a fork could have left locked; the one of two threads that loses has not
        # connected to anything yet.
        return store if store is not None else self._stores.setdefault(pid, self._open())

    def _batched(self) -> Batched:
        from asyncio import get_running_loop  # a WSGI process has no use for it

        loop = get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            from canary_middleware.stores.batched import Batched

            opened = self._open_async()
            found = self._loops[loop] = opened, Batched(opened.claim, self._budget)
        return found[1]

    async def leave(self) -> None:
        """This event loop ends: close what it holds open."""
        from asyncio import get_running_loop

        found = self._loops.pop(get_running_loop(), None)
        if found is not None:
            opened, batched = found
            await batched.stop()
            await opened.close()

    def stop(self) -> None:
        """The process ends; the next question opens anew."""
        store = self._stores.pop(os.getpid(), None)
        self._stores.clear()
        if store is not None:
            store.close()


def asker(engine: Engine, store: StateStore, budget: float) -> Asker:
    """The asker for a store; one that has no claims always fails, so that buckets decide."""
    local = store if isinstance(store, MemoryStore) else None

    def looked() -> float:
        return engine.confirmed_at if engine.confirmed_in <= QUICK * budget else -math.inf

    return Asker(
        engine,
        blocking=lambda: quick(store, budget),
        asynchronous=lambda: quick_async(store, budget),
        budget=budget,
        looked=(lambda: math.inf) if local is not None else looked,
        local=local,
    )
