"""What all routes of a panel share: the store, and the threads in which it is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from canary_middleware.overview.series import Reader
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import SeriesStore

P = ParamSpec("P")
T = TypeVar("T")

ASKED_AT_ONCE: Final = 8
"""Questions to the store at one time; the others wait, so that no flood of visitors of the panel
takes the threads of an application that it is mounted in."""


class Site:
    """One namespace, as a panel sees it.

    Args:
        store: holds the control state. Blocking; asked in threads only.
        namespace: its name, for people.

    Attributes:
        charts: reads the points of charts, for all routes; ``None`` where the store keeps none.
    """

    def __init__(self, store: StateStore, namespace: str) -> None:
        self.store = store
        self.namespace = namespace
        self.charts = Reader(store) if isinstance(store, SeriesStore) else None
        self._limiter: anyio.CapacityLimiter | None = None
        self._urgent: anyio.CapacityLimiter | None = None

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something that blocks on the store in a thread; what it raises comes through."""
        if self._limiter is None:  # a limiter belongs to the event loop that made it
            self._limiter = anyio.CapacityLimiter(ASKED_AT_ONCE)
        call = partial(question, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)

    async def urgently(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a kill, which waits for no page that is being asked for."""
        if self._urgent is None:
            self._urgent = anyio.CapacityLimiter(ASKED_AT_ONCE)
        call = partial(question, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._urgent)
