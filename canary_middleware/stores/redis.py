"""The control state in Redis or Valkey 6.2 and newer.

Every change is one Lua script, so that it is atomic with its audit entry and its push. How to reach
the server is a matter of :mod:`.redis_address`; who calls us tries again at its own pace.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.resources import files
from typing import Any

from canary_middleware.core.codec import (
    Decoder,
    decode_audit,
    decode_report,
    encode,
    encode_audit,
    encode_body,
    encode_kill,
    encode_report,
)
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Kill
from canary_middleware.core.transitions import strike
from canary_middleware.errors import (
    MissingExtraError,
    NotPersistedError,
    StoreCorruptError,
    StoreUnavailableError,
)
from canary_middleware.stores.advice import of_redis
from canary_middleware.stores.forgotten import MOST
from canary_middleware.stores.protocol import REPORT_LIFE, SILENT_LIFE, Credentials, Key, Loaded
from canary_middleware.stores.redis_address import RedisAddress, is_read_only
from canary_middleware.stores.redis_affinity import FORGET, Call, RedisAffinity
from canary_middleware.stores.redis_answers import (
    as_bytes,
    as_list,
    as_seconds,
    as_three,
    store_errors,
    strange,
)
from canary_middleware.stores.redis_async import AsyncRedisClaims
from canary_middleware.stores.redis_async_cluster import AsyncClusterClaims
from canary_middleware.stores.redis_firsts import RedisFirsts
from canary_middleware.stores.redis_series import RedisOutbox, RedisSeries
from canary_middleware.stores.redis_subscription import RedisSubscription
from canary_middleware.stores.redis_totals import RedisLease, RedisTotals
from canary_middleware.stores.redis_url import Kind, refusal

try:
    import redis
    from redis.client import NEVER_DECODE
    from redis.cluster import RedisCluster
    from redis.exceptions import RedisClusterException
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error


class RedisStore(RedisAffinity, RedisLease, RedisTotals, RedisFirsts, RedisSeries, RedisOutbox):
    """One namespace in one Redis; made by :meth:`from_url` or :meth:`from_client`.

    Args:
        connect: makes a client; called once per process, because a fork must not share sockets.
        namespace: names every key.
        owned: whether :meth:`close` closes the client.
        address: where the client goes to; ``None`` for a ready one.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        namespace: str,
        *,
        owned: bool,
        address: RedisAddress | None = None,
    ) -> None:
        super().__init__(namespace)
        self._namespace = namespace
        self._connect = connect
        self._address = address
        self._owned = owned
        self._clients: dict[int, Any] = {}
        tag = self._tag
        self._channel = f"{tag}:push"
        self._keys = [f"{tag}:state", f"{tag}:audit", f"{tag}:kill"]
        self._process_keys = [f"{tag}:processes", f"{tag}:heard"]
        self._bare_kill_key = f"canary:{namespace}:kill"
        self._scripts = _read_scripts()
        self._decode = Decoder().decode

    @classmethod
    def from_url(
        cls,
        url: str,
        namespace: str,
        *,
        connect_timeout: float,
        timeout: float,
        credentials: Credentials | None = None,
    ) -> RedisStore:
        """A store with its own connections; time-outs in seconds, those in the URL come first.

        Raises:
            ConfigurationError: the URL means no Redis.
        """
        address = RedisAddress.parse(url, credentials)

        def connect() -> redis.Redis | RedisCluster:
            return address.connect(connect_timeout=connect_timeout, timeout=timeout)

        return cls(connect, namespace, owned=True, address=address)

    @classmethod
    def from_client(cls, client: Any, namespace: str) -> RedisStore:
        """A store on a client that somebody else closes.

        Raises:
            ConfigurationError: it is no blocking redis-py client.
        """
        if not isinstance(client, redis.Redis | RedisCluster):
            hint = "pass a URL, a redis.Redis or a redis.cluster.RedisCluster (not redis.asyncio)"
            raise refusal(f"{type(client)!r} is no store", hint)
        return cls(lambda: client, namespace, owned=False)

    @property
    def address(self) -> RedisAddress:
        """Where the store is, for clients of another kind.

        Raises:
            ConfigurationError: nobody else can reach what a ready client reaches.
        """
        return self._address or RedisAddress.of(self._connected())

    def quick(self, budget: float) -> RedisStore:
        """The same namespace through connections whose every wait ends within the budget."""
        address = self.address.within(budget)

        def connect() -> redis.Redis | RedisCluster:
            return address.connect(connect_timeout=budget, timeout=budget)

        return RedisStore(connect, self._namespace, owned=True, address=address)

    def quick_async(self) -> AsyncRedisClaims:
        """Likewise for the running event loop, whose tasks keep the time."""
        clustered = self.address.kind is Kind.CLUSTER
        made = AsyncClusterClaims if clustered else AsyncRedisClaims
        return made(self.address, self._namespace)

    # --- questions ------------------------------------------------------------------------------

    def load(self) -> Loaded:
        """State and plain kill key in one round trip."""
        kill_key = None
        try:
            text, reason, corrupt = as_three(self._run("load", self._state_keys()))
            # Whatever bytes somebody typed: they must come back as they were to be cleared.
            kill_key = None if reason is None else as_bytes(reason).decode(errors="surrogateescape")
            if corrupt is not None:
                raise StoreCorruptError(f"state {as_bytes(corrupt).decode(errors='replace')}")
            return Loaded(None if text is None else self._decode(as_bytes(text)), kill_key)
        except StoreCorruptError as error:
            return Loaded(None, kill_key, error)

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        """One script: compare, write, remember, push."""
        encode(new)  # refuses what nobody could read again
        lineage, revision = expected or ("", 0)
        kills: list[str | bytes] = []
        for scope, kill in new.kills.items():
            kills += [f"kill:{scope}", encode_kill(kill)]
        arguments = [
            lineage, revision, new.lineage, new.revision, encode_body(new), encode_audit(audit),
            self._channel, "-" if clears is None else f"+{clears}".encode(errors="surrogateescape"),
            *kills,
        ]  # fmt: skip
        written: object = self._run("swap", self._state_keys(), arguments)
        if written not in (0, 1):
            strange(written)
        return written == 1

    def kill(self, scope: str, *, by: str, why: str, now: float) -> Document:
        """One script, which is never refused; see :class:`~canary_middleware.stores.StateStore`."""
        fresh = Document(secrets.token_hex(8))
        audit = Audit(now, by, "kill", scope, "", "killed", why, 0)
        arguments = [
            scope, _open(encode_kill(Kill(by, why, now, 0))), _open(encode_audit(audit)),
            fresh.lineage, encode_body(fresh), self._channel,
        ]  # fmt: skip
        try:
            text, refused, corrupt = as_three(self._run("kill", self._state_keys(), arguments))
            if corrupt is not None:
                raise StoreCorruptError(f"state {as_bytes(corrupt)!r}")
            struck = self._decode(as_bytes(text))
        except StoreCorruptError:
            struck = strike(fresh, EVERYTHING, by=by, why=why, now=now)
            refused = self._mark(scope, why, struck)
        if refused is not None:
            reason = as_bytes(refused).decode(errors="replace")
            self._heed(reason)
            raise NotPersistedError(f"the kill was pushed, but not written: {reason}")
        return struck

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        """Newest first; lines that are not ours are left out."""
        found = []
        for line in as_list(self._run("history", self._state_keys())):
            with suppress(StoreCorruptError):
                found.append(decode_audit(as_bytes(line)))
        return [audit for audit in found if scope in (None, audit.scope)][:limit]

    def listen(self) -> RedisSubscription:
        """A subscription on its own connection."""
        channels = (self._channel, f"{self._tag}:{FORGET}")
        return RedisSubscription(self._pubsub, channels, self._decode)

    def report(self, report: ProcessReport) -> None:
        """Write under the process id, with the clock of the store."""
        arguments = [SILENT_LIFE, report.id, encode_report(report)]
        self._run("processes", self._process_keys, arguments)

    def processes(self) -> list[ProcessReport]:
        """Who lives; reports that are not ours are left out."""
        return self._reports(REPORT_LIFE)

    def lately(self) -> list[ProcessReport]:
        """Who lived lately; see :class:`~canary_middleware.stores.protocol.Remembering`."""
        return self._reports(SILENT_LIFE)

    def _reports(self, life: float) -> list[ProcessReport]:
        flat = as_list(self._run("processes", self._process_keys, [life]))
        found = []
        for heard, text in zip(flat[::2], flat[1::2], strict=False):
            with suppress(StoreCorruptError):
                found.append(replace(decode_report(as_bytes(text)), at=as_seconds(heard)))
        return found

    def withdraw(self, process_id: str) -> None:
        """Forget a process at once."""
        with store_errors():
            self._connected().hdel(self._process_keys[0], process_id)

    def warnings(self) -> tuple[str, ...]:
        """See :class:`~canary_middleware.stores.advice.Advised`."""
        return of_redis(as_bytes(self._run("server", self._keys[:1])).decode(errors="replace"))

    def close(self) -> None:
        """Close the client, if it is ours."""
        client = self._clients.pop(os.getpid(), None)
        self._clients.clear()
        if self._owned and client is not None:
            client.close()

    # --- private --------------------------------------------------------------------------------

    def _connected(self) -> Any:
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            # No lock that a fork could have left locked: of two threads one client is used, and
            # the other has not connected to anything yet.
            with store_errors():
                client = self._clients.setdefault(pid, self._connect())
        return client

    def _heed(self, refused: str) -> None:
        """After word of a master that is none any more, the next question looks for the new one."""
        client = self._clients.get(os.getpid())
        if is_read_only(refused) and isinstance(client, redis.Redis):
            # What is idle, as the connection that got this word: others may be in use by the host.
            # Only the blocking pools of redis-py 6 cannot be told so.
            with suppress(TypeError):
                client.connection_pool.disconnect(inuse_connections=False)

    def _pubsub(self) -> Any:
        return self._connected().pubsub()

    def _state_keys(self) -> list[str]:
        # On a cluster a script reaches one slot only, and without braces a key is in another one.
        if self._is_cluster():
            return self._keys
        return [*self._keys, self._bare_kill_key]

    def _is_cluster(self) -> bool:
        if self._address is not None:
            return self._address.kind is Kind.CLUSTER
        return isinstance(self._connected(), RedisCluster)

    def _mark(self, scope: str, why: str, struck: Document) -> Any:
        reason = why if scope == EVERYTHING else f"kill of {scope}, state unreadable: {why}"
        arguments = [reason, self._channel, encode(struck)]
        return self._run("mark", self._state_keys(), arguments)

    def _run(self, script: str, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
        return self._evaluate(Call(self._scripts[script], keys, arguments))

    def _evaluate(self, call: Call) -> Any:
        # EVAL with the text, not EVALSHA: a kill must not depend on a script cache.
        with self._heeding(), store_errors():
            # Never decoded, whatever a ready client does: a kill key may hold any bytes.
            return self._connected().execute_command(*call.words, **{NEVER_DECODE: True})

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailableError as error:
            self._heed(str(error))
            if isinstance(error.__cause__, RedisClusterException):
                # None of the nodes that are known answers; begin anew with those in the URL.
                self.close()
            raise

    def _scan(self, pattern: str) -> Iterator[str]:
        client = self._connected()
        node_of: Any = getattr(client, "get_node_from_key", None)  # a cluster's
        where = {"target_nodes": node_of(pattern)} if node_of else {}
        with store_errors():
            for key in client.scan_iter(pattern, count=MOST, **where):
                yield key if isinstance(key, str) else key.decode(errors="replace")


def _read_scripts() -> dict[str, str]:
    folder = files("canary_middleware.stores") / "lua"
    common = (folder / "common.lua").read_text()
    names = ("load", "swap", "kill", "mark", "history")
    scripts = {name: common + (folder / f"{name}.lua").read_text() for name in names}
    alone = ("processes", "server")
    return {**scripts, **{name: (folder / f"{name}.lua").read_text() for name in alone}}


def _open(data: bytes) -> bytes:
    # {"by":..,"revision":0,..} → {"by":..,.. without its end: the script knows the revision.
    return data.replace(b'"revision":0,', b"", 1).removesuffix(b"}")
