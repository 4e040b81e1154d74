"""Which of the processes that declare the same webhooks asks for them: one question for all."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

from canary_middleware.agent.troubles import Attempts
from canary_middleware.core.webhook import Webhook
from canary_middleware.stores.protocol import Lease

LASTS: Final = 10.0
"""Seconds that it lasts."""
RENEW_EVERY: Final = 3.0
"""Seconds between two renewals."""
ASK_EVERY: Final = 10.0
"""Seconds between two questions of a process that is not the one; up to half as many more."""


class Elected:
    """Whether this process may ask for the webhooks that nobody sends to; for any thread.

    A thousand processes with sixteen webhooks each would put sixteen thousand questions to the
    store in a few seconds. Each webhook has a lease of its own all the same, as two services of
    a namespace may have some in common: whoever has that needs no other.

    Args:
        store: has leases.
        owner: random id of this process.
        hooks: that it declares.
        clock: monotonic seconds.
        chance: uniform in [0, 1).
        pace: how many times as fast as usual everything is.
    """

    def __init__(
        self,
        store: Lease,
        owner: str,
        hooks: Sequence[Webhook],
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
        pace: float = 1.0,
    ) -> None:
        self._lasts = LASTS / pace
        self._renew, self._pause = RENEW_EVERY / pace, ASK_EVERY / pace
        self._store = store
        self._owner = owner
        names = "\n".join(sorted(hook.name for hook in hooks))
        self._name = f"alerts-of:{hashlib.sha256(names.encode()).hexdigest()[:16]}"
        self._clock = clock
        self._chance = chance
        self._ask_at = self._until = -math.inf
        self._lock = Lock()

    def __call__(self, attempts: Attempts) -> bool:
        """Ask now and then; of several threads one does, and the others go by what is known."""
        if self._clock() >= self._ask_at and self._lock.acquire(blocking=False):
            try:
                self._ask(self._clock(), attempts)
            finally:
                self._lock.release()
        return self._clock() < self._until

    def leave(self, attempts: Attempts) -> None:
        """This process ends: somebody else may ask as soon as its turn comes."""
        with self._lock:
            if self._clock() < self._until:
                attempts.make(lambda: self._store.release(self._owner, of=self._name))
            self._until, self._ask_at = -math.inf, math.inf

    def _ask(self, now: float, attempts: Attempts) -> None:
        answers: list[bool] = []
        attempts.make(
            lambda: answers.append(self._store.hold(self._owner, self._lasts, of=self._name))
        )
        if True in answers:
            self._until, self._ask_at = now + self._lasts, now + self._renew
        elif False in answers:
            self._until, self._ask_at = -math.inf, now + self._pause * (1.0 + self._chance() / 2)
