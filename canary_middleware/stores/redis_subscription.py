"""Pushes of a Redis, and the certainty that a lost or silent server is noticed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from canary_middleware.core.state import Document
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.forgotten import decode_forgotten
from canary_middleware.stores.leaving import Leaving
from canary_middleware.stores.protocol import Forgotten
from canary_middleware.stores.redis_answers import as_bytes, store_errors, strange

PING_AFTER: Final = 1.0
"""Seconds of silence after which a subscription asks whether its server is still there."""


class RedisSubscription(Leaving):
    """Pushes, and the certainty that a silent server is noticed."""

    def __init__(
        self,
        open_pubsub: Callable[[], Any],
        channels: tuple[str, str],
        decode: Callable[[bytes], Document],
    ) -> None:
        self._open = open_pubsub
        self._channels = channels
        self._decode = decode
        self._pubsub: Any = None
        self._retry: Any = None
        self._silent = 0.0
        self._asked = False

    def __enter__(self) -> Self:
        with store_errors():
            self._pubsub = self._open()
            try:
                self._pubsub.subscribe(*self._channels)
            except BaseException:  # whatever it was: `__exit__` is not called then
                self._pubsub.close()
                raise
            self._retry = self._pubsub.connection.retry
            self._pubsub.connection.retry = _Never(NoBackoff(), 0)
        return self

    def _leave(self) -> None:
        # It goes back to its pool, which may be the host's.
        self._pubsub.connection.retry = self._retry
        with suppress(redis.RedisError, OSError):
            self._pubsub.close()

    def receive(self, timeout: float) -> Document | Forgotten | None:
        """The next push; see :class:`~canary_middleware.stores.Subscription`."""
        with store_errors():
            message = self._pubsub.get_message(timeout=timeout)
            while message is not None and message["type"] == "subscribe":  # one for each channel
                message = self._pubsub.get_message(timeout=timeout)
            if message is None:
                self._ask(timeout)
                return None
        self._silent, self._asked = 0.0, False
        if message["type"] == "message":
            forgets = as_bytes(message["channel"]).decode(errors="replace") == self._channels[1]
            return (decode_forgotten if forgets else self._decode)(as_bytes(message["data"]))
        return None if message["type"] == "pong" else strange(message["type"])

    def _ask(self, waited: float) -> None:
        self._silent += waited
        if self._asked and self._silent >= 2 * PING_AFTER:
            raise StoreUnavailableError("the subscription gets no answer")
        if not self._asked and self._silent >= PING_AFTER:
            self._asked = True
            self._pubsub.ping()


class _Never(Retry):
    """Not even once.

    Without any retries redis-py still connects anew at once when a subscription is lost, and only
    then says so: all processes would come back in the moment in which a server cuts them off.
    """

    def call_with_retry(self, do: Callable[[], Any], *_: Any, **__: Any) -> Any:
        """Do it."""
        return do()
