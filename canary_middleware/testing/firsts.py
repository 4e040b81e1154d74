"""What every store promises of first events."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

import pytest

from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreError
from canary_middleware.stores.firsts import ENTERED, EVERYBODY, KINDS, WATCHED, Count
from canary_middleware.stores.protocol import Entered, First, Firsts
from canary_middleware.testing.contract import Contract, Opener

STABLE: Final = Cohort.STABLE
CANARY: Final = Cohort.CANARY
ODDS: Final = (-1, EVERYBODY, 2**64)
"""Numbers that no hash and no revision is."""


class FirstsContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.Firsts`."""

    def test_a_visitor_counts_once_whoever_saw_it(self, view: Opener) -> None:
        mine, other = view(), view()
        assert counts(mine) == {}
        count(mine, [failed(7), failed(8, STABLE), failed(7), failed(7, STABLE)])
        count(other, [failed(7, period=18), failed(8), failed(9, period=18)])
        expected = {("errors", 17, CANARY): 1, ("errors", 17, STABLE): 1, ("errors", 18, CANARY): 1}
        assert counts(mine) == counts(other) == expected

    def test_repeating_it_changes_nothing(self, store: Firsts) -> None:
        events = [failed(visitor, period=visitor % 3) for visitor in range(700)]
        count(store, events)
        before = counts(store)
        assert sum(before.values()) == 700
        count(store, events)
        count(store, events[::-1])
        assert counts(store) == before

    def test_no_event_is_no_matter(self, store: Firsts) -> None:
        count(store, [])
        assert counts(store) == {}
        count(store, [failed(1)])
        count(store, [])
        assert sum(counts(store).values()) == 1

    def test_kinds_releases_and_runs_are_apart(self, store: Firsts) -> None:
        places = [("checkout", "2", 5), ("checkout", "2", 6), ("checkout", "3", 5),
                  ("checkout", "2:5", 5), ("checkout", ":", 5), ("search", "2", 5)]  # fmt: skip
        for number, place in enumerate(places):
            store.first(*place, [failed(1, period=number), First("Double-charge", 1, 99, STABLE)])
        for number, place in enumerate(places):
            expected = {("errors", number, CANARY): 1, ("Double-charge", 99, STABLE): 1}
            assert store.firsts(*place) == expected

    def test_neighbours_are_told_apart_up_to_the_last_bit(self, store: Firsts) -> None:
        last = EVERYBODY - 1
        count(store, [First("errors", hashed, last, CANARY) for hashed in (0, 1, last - 1, last)])
        assert counts(store) == {("errors", last, CANARY): 4}

    def test_when_full_half_are_watched_and_counts_stay(self, store: Firsts) -> None:
        half = EVERYBODY // 2
        low, high = range(WATCHED // 2), range(half, half + WATCHED // 2)
        count(store, [failed(hashed) for hashed in (*low, *high)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED}
        count(store, [failed(hashed, period=18) for hashed in (*low, *high)])
        count(store, [failed(hashed, period=18) for hashed in (half, half + WATCHED)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED}, "known, or not watched any more"
        count(store, [failed(half - 1, STABLE, 18), First("slow", EVERYBODY - 1, 18, CANARY)])
        assert counts(store) == {
            ("errors", 17, CANARY): WATCHED,
            ("errors", 18, STABLE): 1,
            ("slow", 18, CANARY): 1,
        }

    def test_it_is_full_with_exactly_so_many(self, store: Firsts) -> None:
        half, quarter = EVERYBODY // 2, EVERYBODY // 4
        count(store, map(failed, (*range(WATCHED // 2), *range(half, half + WATCHED // 2))))
        count(store, map(failed, range(quarter, quarter + WATCHED // 2 - 1)))
        count(store, [failed(half - 1)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED + WATCHED // 2}, "full again"
        count(store, [failed(half - 2), failed(quarter - 1)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED + WATCHED // 2 + 1}

    def test_it_is_halved_until_there_is_room(self, store: Firsts) -> None:
        count(store, [failed(hashed) for hashed in range(WATCHED)])
        count(store, [failed(hashed, STABLE, 18) for hashed in range(WATCHED * 2)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED}
        count(store, [failed(hashed, STABLE, 18) for hashed in range(WATCHED // 2)])
        assert counts(store) == {("errors", 17, CANARY): WATCHED}, "the lower half is known"

    def test_who_is_watched_does_not_depend_on_who_served(self, store: Firsts) -> None:
        step = EVERYBODY // (WATCHED * 3)
        hashes = [number * 7 % (WATCHED * 3) * step for number in range(WATCHED * 3)]
        cohorts = [(CANARY, STABLE)[number % 5 == 0] for number in range(len(hashes))]
        other = {CANARY: STABLE, STABLE: CANARY}
        events = [failed(*pair) for pair in zip(hashes, cohorts, strict=True)]
        store.first("checkout", "2", 1, events)
        store.first("checkout", "2", 2, [e._replace(cohort=other[e.cohort]) for e in events])
        found, swapped = store.firsts("checkout", "2", 1), store.firsts("checkout", "2", 2)
        assert WATCHED < sum(found.values()) < len(events)
        assert swapped == {(k, p, other[cohort]): n for (k, p, cohort), n in found.items()}

    def test_there_is_room_for_so_many_kinds(self, store: Firsts) -> None:
        kinds = [f"kind-{number}" for number in range(KINDS)]
        count(store, [First(kind, 1, 17, CANARY) for kind in [*kinds, "one-more"]])
        count(store, [First("another_one", 2, 17, CANARY), First("kind-0", 2, 17, CANARY)])
        assert {kind for kind, _, _ in counts(store)} == set(kinds)
        assert sum(counts(store).values()) == KINDS + 1

    @pytest.mark.parametrize("kind", ["", "x" * 65, "a b", "a:b", "a\n", "é"])
    def test_a_kind_is_the_name_of_a_guard(self, store: Firsts, kind: str) -> None:
        refuses(store, First(kind, 1, 17, CANARY))

    def test_hashes_and_periods_are_numbers_of_53_bits(self, store: Firsts) -> None:
        for odd in ODDS:
            refuses(store, First("errors", odd, 17, CANARY))
            refuses(store, First("errors", 1, odd, CANARY))

    def test_threads_that_saw_the_same_count_it_once(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        line = threading.Barrier(len(stores))

        def race(number: int) -> None:
            line.wait()
            for start in range(0, 200, 20):
                events = [failed(hashed, period=number) for hashed in range(start, start + 40)]
                count(stores[number], events)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(counts(stores[0]).values()) == 220

    def test_an_entry_is_whose_who_told_of_it_first(self, view: Opener) -> None:
        mine, other = view(), view()
        told = [Entered(visitor, 17) for visitor in range(700)]
        assert enter(mine, "a1", told[:600]) == [True] * 600
        assert enter(other, "b2", told) == [False] * 600 + [True] * 100
        assert enter(mine, "a3", [*told[599:601], Entered(1, 18)]) == [False, False, True]

    def test_asking_again_under_the_same_name_has_the_same_answer(self, view: Opener) -> None:
        mine, other = view(), view()
        told = [Entered(visitor, 17) for visitor in range(10)]
        enter(other, "b2", told[:3])
        once = enter(mine, "a1", told)
        assert once == [False] * 3 + [True] * 7
        assert enter(mine, "a1", told) == once
        assert enter(other, "b3", told) == [False] * 10

    def test_entries_of_runs_and_releases_are_apart(self, store: Firsts) -> None:
        for place in [("checkout", "2", 5), ("checkout", "2", 6), ("checkout", "3", 5),
                      ("search", "2", 5)]:  # fmt: skip
            assert store.enter(*place, "a1", [Entered(1, 17)]) == [True]
            assert store.enter(*place, "b2", [Entered(1, 17)]) == [False]

    def test_the_last_entries_are_remembered(self, store: Firsts) -> None:
        edge = EVERYBODY - ENTERED
        told = [Entered(edge + visitor, EVERYBODY - 1) for visitor in range(ENTERED)]
        assert enter(store, "a1", told) == [True] * ENTERED
        assert enter(store, "b2", told[::-1]) == [False] * ENTERED
        for turn in range(1, 4):  # and those before them go, a half at a time
            more = [Entered(visitor, turn) for visitor in range(ENTERED)]
            assert enter(store, "c3", more) == [True] * ENTERED
            assert enter(store, "d4", more[::-1]) == [False] * ENTERED

    def test_no_entry_is_no_matter(self, store: Firsts) -> None:
        assert enter(store, "a1", []) == []

    @pytest.mark.parametrize("batch", ["", "g", "a b", "f" * 33])
    def test_a_batch_has_a_hexadecimal_name(self, store: Firsts, batch: str) -> None:
        with pytest.raises(StoreError):
            enter(store, batch, [Entered(1, 17)])

    def test_an_entry_that_is_none_tells_of_nobody(self, store: Firsts) -> None:
        for odd in ODDS:
            for bad in (Entered(odd, 17), Entered(1, odd)):
                with pytest.raises(StoreError):
                    enter(store, "a1", [Entered(7, 17), bad])
        assert enter(store, "b2", [Entered(7, 17)]) == [True]

    def test_threads_that_saw_the_same_enter_it_once(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        line = threading.Barrier(len(stores))
        answers: list[list[bool]] = [[] for _ in stores]

        def race(number: int) -> None:
            line.wait()
            for start in range(0, 200, 20):
                told = [Entered(visitor, 17) for visitor in range(start, start + 20)]
                answers[number] += enter(stores[number], f"{number}{start:x}", told)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [sum(once) for once in zip(*answers, strict=True)] == [1] * 200


def enter(store: Firsts, batch: str, entries: Iterable[Entered]) -> list[bool]:
    """In one run of one release."""
    return store.enter("checkout", "2", 5, batch, list(entries))


def failed(visitor: int, cohort: Cohort = CANARY, period: int = 17) -> First:
    """One event."""
    return First("errors", visitor, period, cohort)


def count(store: Firsts, events: Iterable[First]) -> None:
    """In one run of one release."""
    store.first("checkout", "2", 5, list(events))


def counts(store: Firsts) -> Mapping[Count, int]:
    """Those of that run."""
    return store.firsts("checkout", "2", 5)


def refuses(store: Firsts, event: First) -> None:
    """It, and what comes with it."""
    with pytest.raises(StoreError):
        count(store, [*map(failed, range(600)), event])
    assert counts(store) == {}
