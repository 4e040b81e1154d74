"""What every store promises of points of charts, of cursors, and of leases by name."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from canary_middleware.errors import StoreError
from canary_middleware.stores.protocol import Lease, Outbox, SeriesStore
from canary_middleware.stores.series import (
    MAX_ANSWER,
    MAX_CURSOR,
    MAX_HOOK,
    MAX_POINT,
    MAX_SLOT,
    POINTS,
)
from canary_middleware.testing.contract import Contract, Opener


class SeriesContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.SeriesStore`."""

    def test_points_come_back_in_the_order_of_time(self, view: Opener) -> None:
        mine, other = view(), view()
        assert mine.series("checkout") == []
        mine.append("checkout", 20, b"later")
        other.append("checkout", 9, b"\x00\xff")
        other.append("checkout", 100, b"")
        assert mine.series("checkout") == [(9, b"\x00\xff"), (20, b"later"), (100, b"")]
        assert other.series("checkout", 20) == [(100, b"")]
        assert other.series("checkout", 19) == [(20, b"later"), (100, b"")]
        assert mine.series("checkout", 100) == []

    def test_of_two_points_in_a_slot_the_last_one_stays(self, view: Opener) -> None:
        for store, data in ((view(), b"one"), (view(), b"two"), (view(), b"two")):
            store.append("checkout", 7, data)
            assert store.series("checkout") == [(7, data)]

    def test_rollouts_have_series_of_their_own(self, store: SeriesStore) -> None:
        for name in ("checkout", "search", "checkout-2"):
            store.append(name, 7, name.encode())
        assert store.series("search") == [(7, b"search")]

    def test_the_newest_points_are_kept(self, store: SeriesStore) -> None:
        for slot in range(POINTS + 3, 0, -1):
            store.append("checkout", slot, b"%d" % slot)
        store.append("checkout", POINTS + 4, b"newest")
        points = store.series("checkout")
        assert len(points) == POINTS
        assert points[0] == (5, b"5")
        assert points[-1] == (POINTS + 4, b"newest")
        assert [slot for slot, _ in points] == list(range(5, POINTS + 5))

    def test_an_answer_leaves_out_the_oldest_points_that_do_not_fit(
        self, store: SeriesStore
    ) -> None:
        fit = MAX_ANSWER // MAX_POINT
        for slot in range(1, fit + 3):
            store.append("checkout", slot, b"x" * MAX_POINT)
        assert [slot for slot, _ in store.series("checkout")] == list(range(3, fit + 3))
        assert len(store.series("checkout", fit)) == 2

    @pytest.mark.parametrize(
        ("slot", "size"), [(0, 1), (-1, 1), (MAX_SLOT + 1, 1), (1, MAX_POINT + 1)]
    )
    def test_what_is_no_point_is_refused(self, store: SeriesStore, slot: int, size: int) -> None:
        store.append("checkout", MAX_SLOT, b"x" * MAX_POINT)
        with pytest.raises(StoreError):
            store.append("checkout", slot, b"x" * size)
        assert [slot for slot, _ in store.series("checkout")] == [MAX_SLOT]


class OutboxContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.Outbox`."""

    def test_a_cursor_is_advanced_from_where_it_was(self, view: Opener) -> None:
        mine, other = view(), view()
        assert mine.cursor("hook") is None
        assert not mine.advance("hook", "a", "b")
        assert mine.advance("hook", None, "a")
        assert not other.advance("hook", None, "b")
        assert other.cursor("hook") == "a"
        assert other.advance("hook", "a", "b")
        assert not mine.advance("hook", "a", "c")
        assert mine.cursor("hook") == "b"
        assert mine.cursor("another") is None

    def test_texts_come_back_as_they_were(self, store: Outbox) -> None:
        for hook in ("https://a.example/x?y=1", "é:*{}", "x" * MAX_HOOK):
            assert store.advance(hook, None, "x" * MAX_CURSOR)
            assert store.advance(hook, "x" * MAX_CURSOR, 'é\n\x00"')
            assert store.cursor(hook) == 'é\n\x00"'

    @pytest.mark.parametrize(
        ("hook", "after"),
        [("", "a"), ("x" * (MAX_HOOK + 1), "a"), ("h", ""), ("h", "é" * 501), ("h", "\ud800")],
    )
    def test_what_is_no_cursor_is_refused(self, store: Outbox, hook: str, after: str) -> None:
        with pytest.raises(StoreError):
            store.advance(hook, None, after)
        assert store.cursor("h") is None

    def test_one_of_many_advances_it(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        assert raced(stores, lambda store, me: store.advance("hook", None, me)) == [
            stores[0].cursor("hook")
        ]


class NamedLeaseContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.Lease`: those with a name."""

    def test_each_name_is_a_lease_of_its_own(self, view: Opener) -> None:
        mine, other = view(), view()
        assert mine.hold("me", 60, of="alerts")
        assert other.hold("you", 60)
        assert not other.hold("you", 60, of="alerts")
        assert not mine.hold("me", 60)
        other.release("you", of="alerts")
        mine.release("me")
        assert not other.hold("you", 60, of="alerts")
        mine.release("me", of="alerts")
        assert other.hold("you", 60, of="alerts")

    def test_one_of_many_gets_a_named_one(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        assert len(raced(stores, lambda store, me: store.hold(me, 60, of="alerts"))) == 1

    def test_a_named_one_may_be_released_by_who_never_had_it(self, store: Lease) -> None:
        store.release("me", of="alerts")
        assert store.hold("you", 60, of="alerts")


def raced(stores: list[Any], what: Any) -> list[str]:
    """Who succeeded of those that did it at the same moment."""
    line, won = threading.Barrier(len(stores)), []

    def race(number: int) -> None:
        line.wait()
        if what(stores[number], str(number)):
            won.append(str(number))

    threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won
