"""What only the store of one process has: a bound, and subscribers that are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canary_middleware.stores import MemoryStore, memory_affinity
from canary_middleware.stores.protocol import Forgotten
from canary_middleware.testing.affinity import FIRST, keys


def test_claims_are_bounded_and_those_unseen_for_longest_go() -> None:
    store = MemoryStore()
    most = memory_affinity.MOST
    store.claim([replace(FIRST, key=str(number)) for number in range(most)])
    store.claim([replace(FIRST, key="0"), replace(FIRST, key="one"), replace(FIRST, key="two")])
    left = keys(store)
    assert len(left) == most
    assert {"0", "one", "two", "3"} <= left
    assert not {"1", "2"} & left


def test_who_watches_hears_of_revocations_and_the_state_goes_elsewhere() -> None:
    store, heard = MemoryStore(), list[Forgotten]()
    states: list[object] = []
    store.subscribe(states.append)
    store.watch(heard.append)
    store.forget("checkout", ["alice"])
    store.unwatch(heard.append)
    store.forget("checkout", None)
    assert (heard, states) == ([Forgotten("checkout", ("alice",))], [])


@pytest.mark.parametrize("life", [1, 1_000])
def test_claims_end_by_the_clock_of_the_process(life: int) -> None:
    now = [100.0]
    store = MemoryStore(wall=lambda: now[0])
    store.claim([replace(FIRST, life=life)])
    now[0] += life / 1_000 - 0.0005
    assert keys(store) == {"alice"}
    now[0] += 0.001
    assert keys(store) == set()
