"""Asks the store for claims on behalf of requests: within a budget, and not while it is away."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from canary_middleware.agent.claiming import BATCH
from canary_middleware.core.claims import Ask, Claim
from canary_middleware.engine.engine import Engine
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import StoreError, StoreUnavailableError
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.protocol import Affinity, StateStore
from canary_middleware.stores.quick import AsyncClaimer, Claimer, quick, quick_async

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from canary_middleware.stores.batched import Batched

logger = logging.getLogger("canary_middleware")

BUDGET: Final = 0.02
"""Seconds; the default of ``claim_budget``."""
PATIENCE: Final = 0.5
"""Seconds for one wait of a helper's thread, which no request waits for."""
HELPERS: Final = 4
"""Threads that ask the store for those of a WSGI server."""
QUICK: Final = 2
"""Budgets within which the agent's look must have succeeded for requests to ask again. More than
one, for a thread has to wait for the interpreter; a store that takes longer answers none in time.
"""


class Asker:
    """Claims for the requests of one process, in threads and in event loops.

    Args:
        engine: whose requests.
        blocking: opens a store whose every wait ends; called once per process, because a fork must
            not share connections.
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
        self._threads: dict[int, Executor] = {}
        self._loops: dict[AbstractEventLoop, tuple[AsyncClaimer, Batched]] = {}
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
            return self._succeeded(asks, self._within_budget(asks))
        except Exception as error:  # noqa: BLE001  # of a store of others, of credentials, of a name that is looked up
            self._failed(error)
            return None

    async def _awaited(self, asks: Sequence[Ask]) -> Sequence[Claim] | None:
        try:
            return self._succeeded(asks, await self._batched().claim(asks))
        except Exception as error:  # noqa: BLE001  # likewise
            self._failed(error)
            return None

    def _within_budget(self, asks: Sequence[Ask]) -> Sequence[Claim]:
        if self._local is not None:
            return self._local.claim(asks)
        # In a thread of its own: no time-out of a socket bounds connecting, a file, or a name that
        # is looked up, and what takes too long for this request is there for the next one.
        waited = self._helpers().submit(self._store_claims, asks)
        try:
            return waited.result(self._budget)
        except TimeoutError:
            waited.cancel()
            late = f"no answer within {self._budget:g} s"
            raise StoreUnavailableError(late) from None

    def _store_claims(self, asks: Sequence[Ask]) -> Sequence[Claim]:
        return self._store().claim(asks)

    def _succeeded(self, asks: Sequence[Ask], winners: Sequence[Claim]) -> Sequence[Claim]:
        if len(winners) != len(asks):
            raise StoreUnavailableError("the store does not answer each question")
        self._engine.claims.circuit.succeeded()
        if self._told:
            self._told = False
            logger.warning("shared affinity: recovered")
        return winners

    def _failed(self, error: Exception) -> None:
        engine = self._engine
        engine.recorder.count("claim_failed")
        if engine.claims.circuit.failed(engine.clock()):
            engine.recorder.count("claim_circuit_opened")
            if not self._told:
                self._told = True
                # Of what is no error of a store only the kind: its text is somebody else's.
                why = error if isinstance(error, StoreError) else type(error).__name__
                logger.warning("shared affinity: degraded, buckets decide: %s", why)

    def _store(self) -> Claimer:
        pid = os.getpid()
        store = self._stores.get(pid)
        # No lock that a fork could have left locked; the one of two threads that loses has not
        # connected to anything yet.
        return store if store is not None else self._stores.setdefault(pid, self._open())

    def _helpers(self) -> Executor:
        pid = os.getpid()
        helpers = self._threads.get(pid)
        if helpers is None:
            made = ThreadPoolExecutor(HELPERS, thread_name_prefix="canary-claims")
            helpers = self._threads.setdefault(pid, made)
        return helpers

    def _batched(self) -> Batched:
        from asyncio import get_running_loop  # a WSGI process has no use for it

        loop = get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            from canary_middleware.stores.batched import Batched

            # Loops that ended without a lifespan, as those of tests do, take their sockets along.
            for other in [one for one in self._loops if one.is_closed()]:
                self._loops.pop(other, None)
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

    def forked(self) -> None:
        """Leave the parent's connections to the parent, in a loop that goes on in both."""
        self._loops = {}

    def stop(self) -> None:
        """The process ends; the next question opens anew."""
        pid = os.getpid()
        helpers, store = self._threads.pop(pid, None), self._stores.pop(pid, None)
        self._threads.clear()
        self._stores.clear()
        if helpers is not None:
            helpers.shutdown(wait=False, cancel_futures=True)
        if store is not None:
            store.close()


def asker(engine: Engine, store: StateStore, budget: float) -> Asker:
    """The asker for a store; one that has no claims always fails, so that buckets decide."""
    local = store if isinstance(store, MemoryStore) else None

    def looked() -> float:
        return engine.confirmed_at if engine.confirmed_in <= QUICK * budget else -math.inf

    return Asker(
        engine,
        blocking=lambda: quick(store, PATIENCE),
        asynchronous=lambda: quick_async(store, budget),
        budget=budget,
        looked=(lambda: math.inf) if local is not None else looked,
        local=local,
    )
