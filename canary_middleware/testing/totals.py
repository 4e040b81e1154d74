"""What every store promises of the lease and of totals."""

from __future__ import annotations

import threading
import time

import pytest

from canary_middleware.errors import StoreError
from canary_middleware.stores.protocol import Lease, TotalsStore
from canary_middleware.stores.totals import MAX_TOTALS
from canary_middleware.testing.contract import Contract, Opener


class LeaseContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.Lease`."""

    def test_one_holds_it(self, view: Opener) -> None:
        mine, other = view(), view()
        assert mine.hold("me", 60)
        assert not other.hold("you", 60)
        assert mine.hold("me", 60)
        other.release("you")
        assert not other.hold("you", 60)
        mine.release("me")
        mine.release("me")
        assert other.hold("you", 60)

    def test_it_ends_by_itself(self, store: Lease) -> None:
        assert store.hold("me", 0.1)
        until = time.monotonic() + 5
        while not store.hold("you", 60) and time.monotonic() < until:
            time.sleep(0.05)
        assert not store.hold("me", 60)

    def test_a_renewal_counts_from_now_on(self, store: Lease) -> None:
        assert store.hold("me", 0.05)
        assert store.hold("me", 60)
        time.sleep(0.1)
        assert not store.hold("you", 60)

    def test_one_of_many_gets_it(self, view: Opener) -> None:
        stores = [view() for _ in range(6)]
        line, held = threading.Barrier(len(stores)), []

        def race(number: int) -> None:
            line.wait()
            if stores[number].hold(str(number), 60):
                held.append(number)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1


class TotalsContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.TotalsStore`."""

    def test_the_last_word_of_each_process_counts(self, view: Opener) -> None:
        store = view()
        assert store.read("checkout", "2") == []
        assert store.put("checkout", "2", "b1", b"one")
        assert store.put("checkout", "2", "b2", b"\x00\xff")
        assert view().put("checkout", "2", "b1", b"two")
        assert present(store) == {"b1": b"two", "b2": b"\x00\xff"}
        assert all(0 <= total.age < 60 for total in store.read("checkout", "2"))

    def test_releases_are_apart(self, store: TotalsStore) -> None:
        labels = ["2", "2:written", "2:", ":2", "2/1", "*"]
        for label in labels:
            assert store.put("checkout", label, "b1", label.encode())
        assert store.put("search", "2", "b1", b"search")
        for label in labels:
            assert present(store, label) == {"b1": label.encode()}

    def test_age_is_the_time_since_it_was_written(self, store: TotalsStore) -> None:
        store.put("checkout", "2", "b1", b"one")
        time.sleep(0.06)
        store.put("checkout", "2", "b2", b"one")
        age = {total.boot: total.age for total in store.read("checkout", "2")}
        assert age["b1"] - age["b2"] > 0.04

    def test_who_was_folded_goes_on_under_a_new_name(self, store: TotalsStore) -> None:
        for boot in ("b1", "b2", "b3"):
            store.put("checkout", "2", boot, boot.encode())
        assert store.fold("checkout", "2", b"12", {"b1": b"b1", "b2": b"b2"}, b"")
        assert present(store) == {"": b"12", "b3": b"b3"}
        assert not store.put("checkout", "2", "b1", b"late")
        assert store.put("checkout", "2", "b1-anew", b"on")
        assert store.put("checkout", "3", "b1", b"another release")
        assert store.fold("checkout", "2", b"123", {"b3": b"b3"}, b"12")
        assert present(store) == {"": b"123", "b1-anew": b"on"}

    def test_a_fold_of_what_has_changed_does_nothing(self, store: TotalsStore) -> None:
        store.put("checkout", "2", "b1", b"one")
        store.put("checkout", "2", "b2", b"two")
        before = present(store)
        wrong = (({"b1": b"one", "b2": b"old"}, b""), ({"b1": b"one"}, b"folded"),
                 ({"b1": b"one", "b9": b""}, b""))  # fmt: skip
        for boots, old in wrong:
            assert not store.fold("checkout", "2", b"sum", boots, old)
            assert present(store) == before
        assert store.put("checkout", "2", "b1", b"still its own")

    def test_one_of_many_folds_wins(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        stores[0].put("checkout", "2", "b1", b"one")
        line, won = threading.Barrier(len(stores)), []

        def race(number: int) -> None:
            line.wait()
            folded = str(number).encode()
            if stores[number].fold("checkout", "2", folded, {"b1": b"one"}, b""):
                won.append(folded)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [present(stores[0])] == [{"": folded} for folded in won]

    def test_what_is_too_large_is_refused(self, store: TotalsStore) -> None:
        assert store.put("checkout", "2", "b1", b"x" * MAX_TOTALS)
        with pytest.raises(StoreError):
            store.put("checkout", "2", "b2", b"x" * (MAX_TOTALS + 1))
        with pytest.raises(StoreError):
            store.fold("checkout", "2", b"x" * (MAX_TOTALS + 1), {}, b"")


def present(store: TotalsStore, release: str = "2") -> dict[str, bytes]:
    """What stands there."""
    return {total.boot: total.data for total in store.read("checkout", release)}
