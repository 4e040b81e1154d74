"""Where the control state lives: :func:`open_store` and what a store can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.protocol import Loaded, StateStore, Subscription

if TYPE_CHECKING:
    from canary_middleware.stores.redis import RedisStore

__all__ = [
    "Audit",
    "Loaded",
    "MemoryStore",
    "ProcessReport",
    "StateStore",
    "Subscription",
    "open_store",
]

_REDIS = ("redis://", "rediss://", "unix://")


def open_store(
    store: Any, namespace: str, *, connect_timeout: float = 0.25, timeout: float = 0.5
) -> MemoryStore | RedisStore:
    """The store behind a URL or a ready client; nothing is connected yet.

    Args:
        store: ``memory://``, ``redis://``, ``rediss://``, ``unix://``, or a redis-py client, which
            is used as it is and never closed.
        namespace: names every key.
        connect_timeout: seconds; not for a ready client, which brings its own.
        timeout: seconds for one round trip; not for a ready client.

    Raises:
        ConfigurationError: no such kind of store.
        MissingExtraError: the extra ``redis`` is not installed.
    """
    if store == "memory://":
        return MemoryStore()
    if not isinstance(store, str):
        from canary_middleware.stores.redis import RedisStore

        return RedisStore.from_client(store, namespace)
    if store.startswith(_REDIS):
        from canary_middleware.stores.redis import RedisStore

        return RedisStore.from_url(
            store, namespace, connect_timeout=connect_timeout, timeout=timeout
        )
    # Never the whole URL: it may carry a password.
    scheme = store.partition(":")[0]
    hint = "use memory://, redis://, rediss:// or unix://"
    raise ConfigurationError([Problem("store", f"there is no store of kind {scheme!r}", hint)])
