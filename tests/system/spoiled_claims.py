"""Parts of shared affinity that lack one property each; :mod:`.variants` names them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import redis

from canary_middleware.core.circuit import Circuit
from canary_middleware.core.claims import Ask, Claim, decode_claim
from canary_middleware.core.model import Cohort
from canary_middleware.engine.claims import Claims, Entry
from canary_middleware.stores.quick import InThread
from canary_middleware.stores.redis_affinity import pin_key, tag_of


class Amnesic(Claims):
    """Nothing that the store said is remembered."""

    def _put(self, ask: Ask, claim: Claim, now: float) -> Entry:
        return Entry(ask, claim, now)


class Bare(Claims):
    """Who stands under which key can be tried out without any secret."""

    def key(self, *of: Any) -> str:
        return hashlib.sha256(of[-1].encode()).hexdigest()[:22]


class Careless:
    """Whatever stands under a key is a claim, and of the canary if there is a c in it."""

    def __init__(self, store: Any, url: str, namespace: str) -> None:
        self.store = store
        self._client: Any = redis.Redis.from_url(url)
        self._tag = tag_of(namespace)

    def quick(self, _budget: float) -> Careless:
        return self

    def quick_async(self) -> InThread:
        return InThread(self)

    def close(self) -> None:
        self._client.close()

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        return [self.guess(ask) or self.store.claim([ask])[0] for ask in asks]

    def guess(self, ask: Ask) -> Claim | None:
        if b"c" not in (self.read(ask) or b""):
            return None
        return Claim(ask.lineage, ask.epoch, ask.period, Cohort.CANARY, ask.bucket)

    def read(self, ask: Ask) -> bytes | None:
        found: bytes | None = self._client.get(pin_key(self._tag, ask.rollout, ask.key))
        return found


class Ageless(Careless):
    """A claim of any epoch and lineage is taken for one of now."""

    def guess(self, ask: Ask) -> Claim | None:
        found = decode_claim(self.read(ask) or b"")
        return found and found._replace(lineage=ask.lineage, epoch=ask.epoch)


class Hoarding(Claims):
    """Everything that the store said is remembered for good."""

    def _put(self, ask: Ask, claim: Claim, now: float) -> Entry:
        entry = self._entries[ask.key] = Entry(ask, claim, now)
        return entry


class Fuseless(Circuit):
    """It stays closed, however often the store does not answer."""

    def failed(self, now: float) -> bool:
        self.succeeded()
        return super().failed(now)
