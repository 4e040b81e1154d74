"""Claims in a Cluster, asked from an event loop: by whichever node has the slot now."""

from __future__ import annotations

import asyncio

import redis
from redis.client import NEVER_DECODE
from redis.exceptions import RedisClusterException

from canary_middleware.stores.redis_address import RedisAddress
from canary_middleware.stores.redis_affinity import Call
from canary_middleware.stores.redis_async import PATIENCE, AsyncRedisClaims


class AsyncClusterClaims(AsyncRedisClaims):
    """The questions of one event loop; what it holds is a client that knows the nodes."""

    def __init__(self, address: RedisAddress, namespace: str) -> None:
        super().__init__(address, namespace)
        self._address = address
        self._key = f"canary:{{{namespace}}}:pin"

    async def _evaluate(self, call: Call) -> object:
        cluster = self._connection or await self._connected()
        self._connection = None
        try:
            answer: object = await cluster.execute_command(*call.words, **{NEVER_DECODE: True})
        except redis.ResponseError:
            self._connection = cluster
            raise
        self._connection = cluster
        return answer

    async def _connect(self) -> redis.asyncio.RedisCluster:
        cluster: redis.asyncio.RedisCluster = self._client
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await cluster.initialize()
                # So that the next question finds a connection to the node of the slot.
                await cluster.execute_command("EVAL", "return 1", 1, self._key)
        except (RedisClusterException, TimeoutError) as error:
            # None of the nodes that it knows answers; begin anew with those in the URL.
            self._client = self._address.connect_async(connect_timeout=PATIENCE, timeout=PATIENCE)
            await cluster.aclose()
            raise redis.ConnectionError(str(error) or "no node answers in time") from error
        return cluster

    async def close(self) -> None:
        """Close the connections."""
        connecting, self._connecting, self._connection = self._connecting, None, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        await self._client.aclose()
