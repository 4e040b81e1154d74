"""Claims in Redis, asked from an event loop; the only module that uses ``redis.asyncio``'s clients.

redis-py's client costs as much per command as everything else that a first sight needs, and its
time-outs cannot be told from one another; the caller's budget is the only one here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import redis
from redis.client import NEVER_DECODE

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.codec import SHOWN, printable
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.redis_address import RedisAddress
from canary_middleware.stores.redis_affinity import ClaimScript

LONG: Final = 1.0
"""Seconds after which redis-py gives up by itself, should nobody have told it to before."""


class AsyncRedisClaims:
    """The questions of one event loop.

    Args:
        address: where the store is.
        namespace: names every key.
    """

    def __init__(self, address: RedisAddress, namespace: str) -> None:
        self._client: Any = address.connect_async(connect_timeout=LONG, timeout=LONG)
        self._script = ClaimScript(namespace)

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """One script for all of them.

        Raises:
            StoreUnavailableError: the server does not do what it is asked.
        """
        call = self._script.call(asks)
        try:
            answer = await self._client.execute_command(*call.words, **{NEVER_DECODE: True})
        except (redis.RedisError, OSError) as error:
            why = printable(str(error), SHOWN) or type(error).__name__
            raise StoreUnavailableError(why) from error
        return self._script.winners(answer, len(asks))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
