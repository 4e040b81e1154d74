"""The lease and the totals in Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.protocol import Totals
from canary_middleware.stores.redis_affinity import Call, Scripted
from canary_middleware.stores.totals import bounded


class RedisLease(Scripted):
    """See :class:`~canary_middleware.stores.protocol.Lease`."""

    def hold(self, owner: str, seconds: float, of: str = "") -> bool:
        """One script; the lease ends by the expiry of its key."""
        return self._lease(owner, max(1, round(seconds * 1000)), of)

    def release(self, owner: str, of: str = "") -> None:
        """One script."""
        self._lease(owner, 0, of)

    def _lease(self, owner: str, milliseconds: int, of: str) -> bool:
        key = f"{self._tag}:lease:{of}" if of else f"{self._tag}:lease"
        call = Call(self._texts["lease"], [key], [owner, milliseconds])
        return self._evaluate(call) == 1


class RedisTotals(Scripted):
    """See :class:`~canary_middleware.stores.protocol.TotalsStore`."""

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        """One script."""
        bounded(data)
        return self._totals(rollout, release, "put", boot, data) == 1

    def read(self, rollout: str, release: str) -> list[Totals]:
        """One script; all of them or an error, for a part of a sum is a wrong sum."""
        answer = self._totals(rollout, release, "read")
        try:
            return list(_triples(answer))
        except (TypeError, ValueError, AttributeError) as error:
            why = "the server does not answer as our totals script does"
            raise StoreUnavailableError(why) from error

    def fold(
        self, rollout: str, release: str, folded: bytes, boots: Mapping[str, bytes], old: bytes
    ) -> bool:
        """One script."""
        bounded(folded)
        parts: Iterator[str | bytes] = chain.from_iterable(boots.items())
        return self._totals(rollout, release, "fold", old, folded, *parts) == 1

    def _totals(self, rollout: str, release: str, *arguments: str | bytes) -> object:
        # No name of a rollout has a colon, so no two releases share a key.
        kinds = ("totals", "written", "folded")
        keys = [f"{self._tag}:{kind}:{rollout}:{release}" for kind in kinds]
        return self._evaluate(Call(self._texts["totals"], keys, arguments))


def _triples(answer: Any) -> Iterator[Totals]:
    for boot, data, age in zip(answer[::3], answer[1::3], answer[2::3], strict=True):
        yield Totals(boot.decode(), bytes(data), float(age))
