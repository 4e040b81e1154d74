"""Clients that reach a Redis: one server, the master behind Sentinels, a Cluster.

redis-py's own defaults wait for seconds and try again by themselves, those of the connections to
the Sentinels too. Here each time-out is explicit and nothing is tried twice: who asks decides.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from canary_middleware.errors import MissingExtraError
from canary_middleware.stores.protocol import Credentials
from canary_middleware.stores.redis_url import TLS_OPTIONS, Kind, misspelt, read, refusal

try:
    import redis
    import redis.asyncio as aioredis
    from redis import sentinel
    from redis.asyncio import cluster as aiocluster
    from redis.asyncio import sentinel as aiosentinel
    from redis.asyncio.retry import Retry as AsyncRetry
    from redis.backoff import NoBackoff
    from redis.cluster import ClusterNode, RedisCluster, cleanup_kwargs
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

_WHO: Final = ("username", "password", "credential_provider")
_TAKEN: Final = (*TLS_OPTIONS, *_WHO, "db", "client_name", "path")
_OCSP: Final = ("ssl_validate_ocsp", "ssl_validate_ocsp_stapled")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A value: it holds no connection and may be kept for good.

    Attributes:
        kind: what is there.
        hosts: of the server, of the Sentinels, or of some nodes of the cluster; none for a socket.
        tls: whether to encrypt; certificate and name of the host are verified.
        service: name of the master, for Sentinels.
        options: further arguments of a connection, secrets among them.
        sentinel_options: user and password of the Sentinels themselves.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    service: str = ""
    options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    sentinel_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, url: str, credentials: Credentials | None = None) -> Self:
        """The address that a URL means; docs/redis.md has the forms.

        Args:
            url: of a server, of Sentinels or of a cluster.
            credentials: asked for user and password instead of the URL.

        Raises:
            ConfigurationError: it means none; what was written is not repeated, it may be a secret.
        """
        parts = read(url)
        options = dict(parts.options)
        if credentials is not None:
            if not {*_WHO}.isdisjoint(options):
                hint = "leave user and password out of the URL"
                raise refusal("has a password besides credentials=", hint)
            options["credential_provider"] = _Asked(credentials)
        address = cls(
            parts.kind, parts.hosts, parts.tls, parts.service,
            tuple(options.items()), tuple(parts.sentinel_options.items()),
        )  # fmt: skip
        try:
            _probe(address)
        # redis-py's own errors, and Python's for an argument that nobody knows.
        except (redis.RedisError, RedisClusterException, TypeError, ValueError, AttributeError):
            raise misspelt(url) from None
        return address

    @classmethod
    def of(cls, client: redis.Redis | RedisCluster) -> Self:
        """The address of a ready client, with what it says who it is, but not its time-outs.

        Raises:
            ConfigurationError: it goes to replicas, or checks certificates in a way that
                redis.asyncio does not know.
        """
        given: Mapping[str, Any] = client.get_connection_kwargs()
        if any(given.get(name) for name in _OCSP):
            raise refusal("has a client with OCSP, which redis.asyncio lacks", "pass a URL instead")
        options = tuple((name, given[name]) for name in _TAKEN if given.get(name) is not None)
        if isinstance(client, RedisCluster):
            nodes = tuple((str(node.host), int(node.port)) for node in client.get_nodes())
            return cls(Kind.CLUSTER, nodes, bool(given.get("ssl")), options=options)
        pool = client.connection_pool
        tls = issubclass(pool.connection_class, redis.SSLConnection)
        if not isinstance(pool, sentinel.SentinelConnectionPool):
            hosts = () if "path" in given else (_place(given),)
            return cls(Kind.SERVER, hosts, tls, options=options)
        if not pool.is_master:
            raise refusal("is a client of replicas, which cannot write", "use Sentinel.master_for")
        asked = [one.get_connection_kwargs() for one in pool.sentinel_manager.sentinels]
        theirs = tuple((name, asked[0][name]) for name in _WHO if asked[0].get(name))
        places = tuple(map(_place, asked))
        return cls(Kind.SENTINEL, places, tls, pool.service_name, options, theirs)

    def connect(self, *, connect_timeout: float, timeout: float) -> redis.Redis | RedisCluster:
        """A blocking client; a cluster is asked for its nodes at once, all others when used.

        Args:
            connect_timeout: seconds for one connection, unless the URL says otherwise.
            timeout: seconds for one answer, likewise.

        Raises:
            redis.RedisError: no node of the cluster answers.
            redis.exceptions.RedisClusterException: likewise.
        """
        settings = self._settings(Retry(NoBackoff(), 0), connect_timeout, timeout)
        if self.kind is Kind.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in self.hosts]
            # A lost part of a cluster is no reason to give up the others.
            return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **settings)
        if self.kind is Kind.SENTINEL:
            manager = sentinel.Sentinel(
                self.hosts, sentinel_kwargs=self._to_sentinels(settings), **settings
            )
            master: redis.Redis = manager.master_for(self.service, connection_pool_class=_Pool)
            return master
        return redis.Redis.from_pool(redis.ConnectionPool(**self._to_server(settings, redis)))

    def connect_async(
        self, *, connect_timeout: float, timeout: float
    ) -> aioredis.Redis | aioredis.RedisCluster:
        """A client of the same kind for asyncio and one event loop; nothing is connected yet."""
        settings = self._settings(AsyncRetry(NoBackoff(), 0), connect_timeout, timeout)
        if self.kind is Kind.CLUSTER:
            nodes = [aiocluster.ClusterNode(host, port) for host, port in self.hosts]
            return aioredis.RedisCluster(
                startup_nodes=nodes, require_full_coverage=False, **settings
            )
        if self.kind is Kind.SENTINEL:
            manager = aiosentinel.Sentinel(
                self.hosts, sentinel_kwargs=self._to_sentinels(settings), **settings
            )
            pool = _AsyncPool
            master: aioredis.Redis = manager.master_for(self.service, connection_pool_class=pool)
            return master
        pool_of_one = aioredis.ConnectionPool(**self._to_server(settings, aioredis))
        return aioredis.Redis.from_pool(pool_of_one)

    def within(self, seconds: float) -> Self:
        """The same for somebody who waits no longer, whatever the URL says."""
        waits = ("socket_timeout", "socket_connect_timeout")
        options = ((n, min(v, seconds) if n in waits else v) for n, v in self.options)
        return replace(self, options=tuple(options))

    # --- private --------------------------------------------------------------------------------

    def _settings(self, retry: object, connect_timeout: float, timeout: float) -> dict[str, Any]:
        waits = {"socket_connect_timeout": connect_timeout, "socket_timeout": timeout}
        tls = {"ssl": True} if self.tls else {}
        # Answers of protocol 3 have other shapes than those that the store reads.
        return {**waits, **tls, **dict(self.options), "retry": retry, "protocol": 2}

    def _to_sentinels(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        # The same ways, but another user: a Sentinel has its own.
        ways = ("ssl", "socket_", "retry", "protocol")
        shared = {name: settings[name] for name in settings if name.startswith(ways)}
        return {**shared, **dict(self.sentinel_options)}

    def _to_server(self, settings: dict[str, Any], library: Any) -> dict[str, Any]:
        settings.pop("ssl", None)
        if not self.hosts:
            return {"connection_class": library.UnixDomainSocketConnection, **settings}
        ((host, port),) = self.hosts
        kind = library.SSLConnection if self.tls else library.Connection
        return {"connection_class": kind, "host": host, "port": port, **settings}


class _Pool(sentinel.SentinelConnectionPool):
    """Connections to the master; when all are closed, so are those to the Sentinels."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        """All of them; or the idle ones, because another server is the master now."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            for one in self.sentinel_manager.sentinels:
                one.close()


class _AsyncPool(aiosentinel.SentinelConnectionPool):
    """As :class:`_Pool`, for asyncio."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """As there."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for one in self.sentinel_manager.sentinels:
                await one.aclose()


class _Asked(redis.CredentialProvider):
    """Asks for user and password whenever a connection is made."""

    def __init__(self, ask: Credentials) -> None:
        self._ask = ask

    def get_credentials(self) -> tuple[str, str]:
        """User and password."""
        try:
            return self._ask()
        # Whatever the client of a secret manager raises, and its text may hold the secret.
        except Exception as error:  # noqa: BLE001  # it is the host's own function
            why = f"credentials= raised {type(error).__name__}"
            raise redis.ConnectionError(why) from None

    async def get_credentials_async(self) -> tuple[str, str]:
        """Likewise; it may read a file or call a service, so the event loop does not wait."""
        return await asyncio.to_thread(self.get_credentials)


def _probe(address: RedisAddress) -> None:
    """Make everything that needs no connection: whoever does not like an option, says so."""
    waits = {"connect_timeout": 1.0, "timeout": 1.0}
    clients: list[Any] = [address.connect_async(**waits)]
    if address.kind is not Kind.CLUSTER:
        clients.append(address.connect(**waits))
        for client in clients:
            client.connection_pool.make_connection()
    elif len(cleanup_kwargs(**dict(address.options))) < len(address.options):
        # The blocking client leaves out what it does not know, such as a minimal version of TLS.
        raise TypeError


def is_read_only(refused: object) -> bool:
    """Whether a refusal is the word of a master that is none any more.

    Of ``-READONLY`` redis-py keeps the text, "You can't write against a read only replica", and
    scripts may put it behind a text of their own.
    """
    return re.search("(?i)read.?only", str(refused)) is not None


def _place(arguments: Mapping[str, Any]) -> tuple[str, int]:
    return str(arguments.get("host") or "localhost"), int(arguments.get("port") or 6379)
