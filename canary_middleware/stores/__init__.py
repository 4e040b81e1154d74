"""Where the control state lives: :func:`open_store` and what a store can be asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.protocol import Credentials, Loaded, StateStore, Subscription

if TYPE_CHECKING:
    from canary_middleware.stores.redis import RedisStore
    from canary_middleware.stores.sqlite import SqliteStore

__all__ = [
    "Audit",
    "Credentials",
    "Loaded",
    "MemoryStore",
    "ProcessReport",
    "StateStore",
    "Subscription",
    "open_store",
]

_REDIS = re.compile(r"(rediss?(\+sentinel|\+cluster)?|unix)://")


def open_store(
    store: Any,
    namespace: str,
    *,
    connect_timeout: float = 0.25,
    timeout: float = 0.5,
    credentials: Credentials | None = None,
) -> MemoryStore | RedisStore | SqliteStore:
    """The store behind a URL or a ready client; nothing is connected yet.

    Args:
        store: ``memory://``, ``sqlite:///path`` (docs/stores.md), ``redis://``, ``rediss://``,
            ``unix://`` (docs/redis.md has those of Sentinels and clusters), or a redis-py client,
            which is used as it is and never closed.
        namespace: names every key.
        connect_timeout: seconds; not for a ready client, which brings its own.
        timeout: seconds for one round trip, or for the changes of others to a file; not for a
            ready client.
        credentials: asked for user and password of a Redis whenever a connection is made.

    Raises:
        ConfigurationError: no such kind of store, or none that has ``credentials``.
        MissingExtraError: the extra ``redis`` is not installed.
    """
    is_redis = isinstance(store, str) and _REDIS.match(store)
    if credentials is not None and not is_redis:
        hint = "a ready client brings a redis.CredentialProvider, other stores need none"
        raise ConfigurationError([Problem("credentials", "are for the URL of a Redis", hint)])
    if store == "memory://":
        return MemoryStore()
    if not isinstance(store, str):
        from canary_middleware.stores.redis import RedisStore

        return RedisStore.from_client(store, namespace)
    if is_redis:
        from canary_middleware.stores.redis import RedisStore

        return RedisStore.from_url(
            store,
            namespace,
            connect_timeout=connect_timeout,
            timeout=timeout,
            credentials=credentials,
        )
    if store.startswith("sqlite:"):
        from canary_middleware.stores.sqlite import SqliteStore

        return SqliteStore.from_url(store, namespace, timeout=timeout)
    # Never the whole URL: it may carry a password.
    scheme = store.partition(":")[0]
    hint = "use memory://, sqlite:///path, redis://, rediss:// or unix://"
    raise ConfigurationError([Problem("store", f"there is no store of kind {scheme!r}", hint)])
