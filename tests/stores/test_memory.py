"""What only the store of one process has: a bound, and subscribers that are called."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest

from canary_middleware import Canary, Guard, Rollout
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document
from canary_middleware.stores import MemoryStore, memory_affinity
from canary_middleware.stores.protocol import First, Forgotten
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


# That is what it is about: a process of several threads forks.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_keeps_the_state_and_measures_anew_whoever_held_a_lock() -> None:
    store, held, go_on = MemoryStore(), threading.Event(), threading.Event()
    canary = Canary(
        Rollout("checkout", "1", "2", guards=Guard.defaults(), owner="me"),
        store=store, namespace="shop", secret_keys=["k" * 32], secure=False,
    )  # fmt: skip
    store.claim([FIRST])
    store.put("checkout", "2", "parent", b"counts")
    store.first("checkout", "2", 1, [First("failures", 1, 1, Cohort.CANARY)])
    assert store.hold("parent", 60.0)

    def wait(_: Document) -> None:
        held.set()
        go_on.wait(10.0)

    store.subscribe(wait)
    audit = Audit(1.0, "me", "start", "*", "", "", "", 1)
    writer = threading.Thread(target=store.swap, args=(None, Document("lineage", 1), audit))
    writer.start()
    assert held.wait(10.0)
    child = os.fork()
    if child == 0:
        # Whatever is wrong shows as a child that ends otherwise, or is ended by the alarm.
        signal.alarm(5)
        anew = (
            store.load().document == Document("lineage", 1)
            and len(store.history(None, 5)) == 1
            and keys(store) == {"alice"}
            and store.read("checkout", "2") == []
            and store.firsts("checkout", "2", 1) == {}
            and store.hold("child", 60.0)
        )
        os._exit(0 if anew else 1)
    go_on.set()
    writer.join()
    assert os.waitpid(child, 0)[1] == 0
    assert [one.boot for one in store.read("checkout", "2")] == ["parent"]
    canary.stop()
