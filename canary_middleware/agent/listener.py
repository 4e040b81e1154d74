"""The listener: blocks on the subscription, adopts what is pushed, does nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from threading import Event
from typing import Final

from canary_middleware.errors import StoreCorruptError, StoreError
from canary_middleware.stores.protocol import Forgotten, StateStore, Subscription

WAIT: Final = 0.4
"""Seconds of one wait, and so how late a listener notices that it shall stop."""
BACK_OFF: Final = 1.0
"""Least seconds between two attempts to subscribe."""


class Listener:
    """Body of the listener thread.

    Args:
        store: where to subscribe.
        pushed: adopts a document; answers whether the chores have something to do.
        forgotten: drops claims that were revoked.
        look: asks the chores to look at the store soon.
        count: counts a rare event; see docs/telemetry.md.
        online: set while the chores reach the store, so that only they knock on a closed door.
        stopping: set when the thread shall end.
    """

    def __init__(
        self,
        store: StateStore,
        pushed: Callable[..., bool],
        forgotten: Callable[[Forgotten], object],
        look: Callable[[], None],
        count: Callable[[str], None],
        online: Event,
        stopping: Event,
    ) -> None:
        self._store = store
        self._pushed = pushed
        self._forgotten = forgotten
        self._look = look
        self._count = count
        self._online = online
        self._stopping = stopping

    def run(self) -> None:
        """Until it shall stop."""
        while not self._stopping.is_set():
            if not self._online.wait(WAIT):
                continue
            try:
                with self._store.listen() as subscription:
                    # What was pushed before the subscription stood is caught by a look after it.
                    self._look()
                    self._follow(subscription)
            except StoreError:
                self._count("resubscribe")
                self._look()
                self._stopping.wait(BACK_OFF * random.uniform(1.0, 1.3))

    def _follow(self, subscription: Subscription) -> None:
        while not self._stopping.is_set():
            try:
                push = subscription.receive(WAIT)
            except StoreCorruptError:
                self._look()
                continue
            if isinstance(push, Forgotten):
                self._forgotten(push)
            elif push is not None and self._pushed(push):
                self._look()
