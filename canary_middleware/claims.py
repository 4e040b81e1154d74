"""What operators do with the claims of shared affinity: list, count and revoke them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.codec import printable
from canary_middleware.core.model import Assignment, Cohort
from canary_middleware.core.pins import Pin
from canary_middleware.core.records import Audit
from canary_middleware.core.routing import Place, route
from canary_middleware.core.snapshot import Lane
from canary_middleware.errors import (
    ConfigurationError,
    Problem,
    StoreError,
    StoreUnavailableError,
    VerbRefusedError,
)
from canary_middleware.stores.protocol import Affinity, Listed, StateStore
from canary_middleware.verbs import ATTEMPTS

UNDER_WAY: Final = 0.1
"""Seconds after which no request still asks about what it remembered; several claim budgets."""


REVOKED: Final = 0
"""The epoch of a claim that was revoked: before all others, so that it pins nobody."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A claim as it stands in the store, and what it is worth.

    Attributes:
        listed: key, claim and the rest of its life.
        serves: what its subject gets now, if neither tester nor denied; ``None`` of another epoch,
            where the subject is placed anew at its next request.
    """

    listed: Listed
    serves: Assignment | None


@dataclass(frozen=True, slots=True)
class Count:
    """All claims of a rollout.

    Attributes:
        pinned: of the present epoch, by the cohort that they say.
        served: the same ones by what their subjects get under the present weight and policy.
        older: of another epoch or release.
    """

    pinned: Mapping[Cohort, int]
    served: Mapping[Cohort, int]
    older: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.pinned.values()) + self.older


def listed(store: StateStore, lane: Lane) -> Iterator[Placed]:
    """The claims of a rollout, in no order; one that comes or goes meanwhile may be missing."""
    affinity = keeper(store)
    return (_held(lane, one) for one in affinity.claims(lane.name) if one.claim.epoch != REVOKED)


def first(held: Iterable[Placed], limit: int) -> tuple[list[Placed], bool]:
    """At most so many of them, and whether there are more."""
    some: list[Placed] = []
    for one in held:
        if len(some) == limit:
            return some, True
        some.append(one)
    return some, False


def found(store: StateStore, lane: Lane, key: str) -> Placed | None:
    """One claim."""
    there = keeper(store).look(lane.name, [key])
    return next((_held(lane, one) for one in there if one.claim.epoch != REVOKED), None)


def count(store: StateStore, lane: Lane) -> Count:
    """How many there are."""
    pinned: Counter[Cohort] = Counter()
    served: Counter[Cohort] = Counter()
    older = 0
    for held in listed(store, lane):
        if held.serves is None:
            older += 1
        else:
            pinned[held.listed.claim.cohort] += 1
            served[held.serves.cohort] += 1
    return Count(pinned, served, older)


def place(lane: Lane, claim: Claim) -> Place:
    """Where a claim puts its subject now."""
    current = (claim.lineage, claim.epoch) == (lane.lineage, lane.epoch)
    pin = Pin(claim.cohort, claim.period) if current else None
    return Place(claim.bucket, pin, now=time.time())


def revoke(
    store: StateStore,
    rollout: str,
    keys: Sequence[str] | None,
    *,
    by: str,
    why: str = "",
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """Forget these claims (``None``: all of the rollout) in the store and in every process.

    Whoever had one is placed anew at the next request, by the bucket that it held, under the
    present weight. Of single ones the bucket stays in the store, in a claim of no epoch: else a
    user who had signed in would take over the browser's claim once more, with all that it pins.

    Args:
        store: keeps them.
        rollout: whose.
        keys: which.
        by: who does it.
        why: the reason, kept in history.
        pause: waits for so many seconds.

    Returns:
        How many there were in the store.

    Raises:
        VerbRefusedError: nobody has ever started this rollout.
        StoreUnavailableError: the message says if claims are gone all the same.
    """
    affinity = keeper(store)
    document = store.load().document
    if document is None or rollout not in document.rollouts:
        raise VerbRefusedError(
            f"{rollout}: was never started, so there are no claims", rollout=rollout
        )
    held = _standing(affinity, rollout, keys)
    gone = affinity.forget(rollout, keys)
    # A request that was asking meanwhile may have brought one back, from its process's memory.
    pause(UNDER_WAY)
    back = _standing(affinity, rollout, keys)
    gone = max(gone, affinity.forget(rollout, keys))
    if keys is not None:
        held = {**back, **held}
        gone = len(held)
        _void(affinity, rollout, document.lineage, held.values())
    try:
        _book(store, rollout, gone, by, why)
    except StoreError as error:
        raise StoreUnavailableError(
            f"{error}; {claims(gone)} revoked, but history does not say so"
        ) from error
    return gone


def _standing(affinity: Affinity, rollout: str, keys: Sequence[str] | None) -> dict[str, Listed]:
    found = affinity.look(rollout, keys) if keys is not None else ()
    return {one.key: one for one in found if one.claim.epoch != REVOKED}


def _void(affinity: Affinity, rollout: str, lineage: str, held: Iterable[Listed]) -> None:
    for key, claim, left in held:
        ask = Ask(
            rollout, key, None, lineage, epoch=REVOKED, period=0, limit=0, bucket=claim.bucket,
            raises=False, life=max(1000, int(left * 1000)),
        )  # fmt: skip
        for _ in range(ATTEMPTS):
            (winner,) = affinity.claim([ask])
            if winner.epoch == REVOKED:
                break
            affinity.forget(rollout, [key])  # a request was faster


def claims(number: int) -> str:
    """As people say it."""
    return f"{number} claim{'' if number == 1 else 's'}"


def keeper(store: StateStore) -> Affinity:
    """The part of a store that keeps claims.

    Raises:
        ConfigurationError: it has none.
    """
    if isinstance(store, Affinity):
        return store
    hint = "shared affinity needs a store that does, such as sqlite:///path or redis://"
    raise ConfigurationError([Problem("store", "keeps no claims", hint)])


def _held(lane: Lane, found: Listed) -> Placed:
    stands = place(lane, found.claim)
    return Placed(found, None if stands.pin is None else route(lane, None, stands))


def _book(store: StateStore, rollout: str, gone: int, by: str, why: str) -> None:
    # History is only written together with a change of the state: here of its revision alone.
    for _ in range(ATTEMPTS):
        loaded = store.load()
        if loaded.corrupt is not None:
            raise loaded.corrupt
        before = loaded.document
        if before is None:
            raise StoreUnavailableError("the state is gone")
        after = replace(before, revision=before.revision + 1)
        audit = Audit(
            at=time.time(),
            by=printable(by, 200),
            action="revoke",
            scope=rollout,
            old="",
            new=claims(gone),
            why=printable(why),
            revision=after.revision,
        )
        if store.swap(before.key, after, audit):
            return
    raise StoreUnavailableError(f"lost {ATTEMPTS} races against other changes")
