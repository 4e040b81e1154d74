"""What operators do with claims, where a store does not do its part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from canary_middleware import claims
from canary_middleware.agent.affinity import BUDGET
from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document
from canary_middleware.errors import (
    ConfigurationError,
    StoreUnavailableError,
    VerbRefusedError,
)
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.protocol import Forgotten, StateStore
from tests.core.control import document, entry, lane

HELD = Ask("checkout", "k", None, "lineage", 3, 4, SPACE // 2, 5, raises=False, life=60_000)
LATER = Audit(1.0, "me", "start", "checkout", "", "", "", 5)


def at_once(seconds: float) -> None:
    """Nobody asks meanwhile."""


def started(store: MemoryStore, found: Document | None = None) -> MemoryStore:
    assert MemoryStore.swap(store, None, found or document(entry()), LATER)
    store.claim([HELD])
    return store


class Forgetful(MemoryStore):
    """Takes nothing new into its history."""

    def swap(self, *_: Any, **__: Any) -> bool:
        raise StoreUnavailableError("out of memory")


class Busy(MemoryStore):
    """Somebody else changes the state before the first attempt to write it."""

    attempts = 0

    def swap(self, expected: Any, new: Document, audit: Audit, **more: Any) -> bool:
        self.attempts += 1
        if self.attempts == 1:
            found = self.load().document
            assert found is not None
            later = replace(found, revision=found.revision + 1)
            assert super().swap(found.key, later, LATER)
        return super().swap(expected, new, audit, **more)


class Hopeless(MemoryStore):
    """Somebody else is always faster."""

    def swap(self, *_: Any, **__: Any) -> bool:
        return False


def test_a_revocation_is_a_revision_of_the_same_state() -> None:
    store = started(MemoryStore())
    before = store.load().document
    assert before is not None
    assert (
        claims.revoke(store, "checkout", ["k", "none"], by="bob\n", pause=at_once, why="why\x00")
        == 1
    )
    assert store.load().document == replace(before, revision=before.revision + 1)
    (booked, _) = store.history("checkout", 10)
    assert (booked.action, booked.new, booked.revision) == ("revoke", "1 claim", 6)
    assert (booked.by + booked.why).isprintable()


def test_who_changes_the_state_meanwhile_loses_nothing() -> None:
    store = Busy()
    started(store)
    assert claims.revoke(store, "checkout", None, by="bob", pause=at_once) == 1
    found = store.load().document
    assert found is not None
    assert (found.revision, store.attempts) == (7, 2)


@pytest.mark.parametrize("kind", [Forgetful, Hopeless])
def test_a_revocation_without_its_history_says_so(kind: type[MemoryStore]) -> None:
    store = started(kind())
    with pytest.raises(StoreUnavailableError, match="1 claim revoked, but history does not"):
        claims.revoke(store, "checkout", ["k"], by="bob", pause=at_once)
    assert [one.claim.epoch for one in store.claims("checkout")] == [claims.REVOKED]


@pytest.mark.parametrize("found", [None, document(entry(), rollout="search")])
def test_what_was_never_started_is_refused(found: Document | None) -> None:
    store = MemoryStore() if found is None else started(MemoryStore(), found)
    with pytest.raises(VerbRefusedError, match="was never started"):
        claims.revoke(store, "checkout", None, by="bob", pause=at_once)


def test_a_store_without_claims_says_so() -> None:
    store = cast(StateStore, object())
    for ask in (
        lambda: claims.count(store, lane(document(entry()))),
        lambda: claims.revoke(store, "checkout", None, by="bob", pause=at_once),
        lambda: claims.found(store, lane(document(entry())), "k"),
    ):
        with pytest.raises(ConfigurationError, match="keeps no claims"):
            ask()


def test_a_claim_of_another_lineage_or_epoch_serves_nobody() -> None:
    store = started(MemoryStore())
    store.claim([replace(HELD, key="old", epoch=2), replace(HELD, key="other", lineage="ab")])
    counted = claims.count(store, lane(document(entry())))
    assert (counted.total, counted.older, sum(counted.served.values())) == (3, 2, 1)


def test_what_a_request_under_way_brings_back_goes_too() -> None:
    store = started(MemoryStore())
    pushes: list[Forgotten] = []
    store.watch(pushes.append)
    (held,) = [found.claim for found in store.claims("checkout")]

    def asking(seconds: float) -> None:
        assert seconds == claims.UNDER_WAY > BUDGET
        store.claim([replace(HELD, remembered=held)])
        assert [found.claim for found in store.claims("checkout")] == [held]

    assert claims.revoke(store, "checkout", ["k"], by="bob", pause=asking) == 1
    (left,) = store.claims("checkout")
    assert (left.claim.epoch, left.claim.bucket) == (claims.REVOKED, held.bucket)
    assert claims.found(store, lane(document(entry())), "k") is None
    assert pushes == [Forgotten("checkout", ("k",))] * 2


def test_a_user_does_not_take_over_the_browsers_claim_once_more() -> None:
    store = started(MemoryStore())
    browser = replace(HELD, key="browser")
    (pinned,) = store.claim([browser])
    user = replace(HELD, key="user", origin="browser", limit=0)
    assert store.claim([user]) == [pinned]
    assert claims.revoke(store, "checkout", ["user"], by="bob", pause=at_once) == 1
    (anew,) = store.claim([user])
    assert (anew.bucket, anew.cohort) == (pinned.bucket, Cohort.STABLE), "by the present weight"
