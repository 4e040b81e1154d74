"""Claims in Redis, asked from an event loop; :mod:`.redis_async_cluster` has those in a Cluster.

One connection of redis-py is held for as long as the loop lives. Through its client a question
costs three times as much: a pool, a lock, a time-out and a retry for each, none of which is needed
where one task asks one question after the other and somebody else keeps the time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.stores.redis_address import RedisAddress, is_read_only
from canary_middleware.stores.redis_affinity import Call, ClaimScript
from canary_middleware.stores.redis_answers import store_errors

PATIENCE: Final = 1.0
"""Seconds for connecting, which goes on in the background when no request waits any more."""


class AsyncRedisClaims:
    """The questions of one event loop, one at a time.

    Args:
        address: where the store is.
        namespace: names every key.
    """

    def __init__(self, address: RedisAddress, namespace: str) -> None:
        self._client: Any = address.connect_async(connect_timeout=PATIENCE, timeout=PATIENCE)
        self._script = ClaimScript(namespace)
        self._closed = False
        self._connection: Any = None
        self._connecting: asyncio.Task[Any] | None = None

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """One script for all of them.

        Raises:
            StoreUnavailableError: the server does not do what it is asked.
        """
        with store_errors():
            answer = await self._evaluate(self._script.call(asks))
        return self._script.winners(answer, len(asks))

    async def _evaluate(self, call: Call) -> object:
        kept = self._connection
        try:
            return await self._tried_on(kept or await self._connected(), call)
        except (redis.ConnectionError, OSError):
            # One that was kept may have been closed by the server or on the way while nobody asked.
            # The same question may be asked twice: its answer is the same.
            if kept is None:
                raise
            return await self._tried_on(await self._connected(), call)

    async def _tried_on(self, connection: Any, call: Call) -> object:
        # Whatever goes wrong from here on: an answer that is still to come must not be taken for
        # that of the next question.
        self._connection = None
        try:
            answer = await self._asked(connection, call)
        except redis.ResponseError as error:
            if connection.is_connected and not is_read_only(error):
                self._connection = connection
            else:  # the next connection finds the master of then
                await connection.disconnect(nowait=True)
            raise
        except BaseException:  # a cancellation, too: nobody may read what is still to come
            await connection.disconnect(nowait=True)
            raise
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._connection = connection
        return answer

    async def _asked(self, connection: Any, call: Call) -> object:
        try:
            return await self._answer(connection, call.by_digest)
        except NoScriptError:
            return await self._answer(connection, call.words)

    async def _answer(self, connection: Any, words: Sequence[Any]) -> object:
        packed = connection.pack_command(*words)
        await connection.send_packed_command(packed, check_health=False)
        return await connection.read_response(disable_decoding=True, timeout=math.inf)

    async def _connected(self) -> Any:
        connecting = self._connecting
        if connecting is None:
            connecting = self._connecting = asyncio.create_task(self._connect())
            connecting.add_done_callback(self._tried)
        # A way to the server that takes longer than a request waits is still found: the task goes
        # on, and who asks next takes what it found.
        connection = await asyncio.shield(connecting)
        self._connecting = None
        return connection

    def _tried(self, connecting: asyncio.Task[Any]) -> None:
        if connecting.cancelled() or connecting.exception() is not None:
            self._connecting = None

    async def _connect(self) -> Any:
        connection = self._client.connection_pool.make_connection()
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await connection.connect()
                # With no question it does nothing, and the server knows it by its digest then.
                await self._answer(connection, self._script.call(()).words)
        except TimeoutError as error:
            await connection.disconnect(nowait=True)
            raise redis.TimeoutError("no connection within the time for it") from error
        except BaseException:  # a cancellation, too, leaves no open socket behind
            await connection.disconnect(nowait=True)
            raise
        # Each question would be a task of its own; the budget of those who wait is shorter.
        connection.socket_timeout = None
        return connection

    async def close(self) -> None:
        """Close the connections; what is under way closes its own."""
        self._closed = True
        connecting, self._connecting = self._connecting, None
        connection, self._connection = self._connection, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled() and connecting.exception() is None:
                connection = connecting.result()
        if connection is not None:
            await connection.disconnect()
        await self._client.aclose()
