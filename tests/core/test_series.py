from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.series import (
    KILLED,
    NOTHING,
    Counts,
    Head,
    Interval,
    Point,
    Value,
    Version,
    between,
    difference,
    intervals,
    mean,
    merged,
    point,
    total,
)
from canary_middleware.core.state import Cap, Document, Entry, Plan, Verb
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Ledgers, Matured, Seen, Slot
from canary_middleware.core.transitions import Command, apply
from tests.core.points import counts, runs

ROLLOUT = Rollout(
    "checkout", "1.0", "2.0", owner="me",
    guards=[Guard.errors(), Guard.mean("revenue"), Guard.rate("paid"), Guard.never("charges")],
)  # fmt: skip


def entry() -> Entry:
    plan = Plan.from_rollout(ROLLOUT)
    document = apply(Document("ab12"), Command(Verb.START, "checkout", plan=plan, weight=5_000), 1)
    found = document.entry("checkout", "2.0")
    assert found is not None
    return found


def at(slot: int, requests: int, run: int = 7) -> Point:
    """One in which the canary alone was asked."""
    versions = (Version(Cohort.CANARY, "2.0", Counts(requests)),)
    return Point(Head(slot, slot * 10.0, run, 5_000, "ramping"), versions)


# --- what a point has -------------------------------------------------------------------------


def test_a_point_has_what_was_seen_of_each_version() -> None:
    seen = Seen(observed={"paid": [3, 0], "charges": [3, 1]})
    seen.kinds[OutcomeClass.SUCCESS] = 7
    seen.kinds[OutcomeClass.CLIENT_ERROR] = 2
    seen.kinds[OutcomeClass.TIMEOUT] = seen.kinds[OutcomeClass.RESCUED] = 1
    seen.starts[40] = 9
    found = point(entry(), Ledgers(seen={Cohort.STABLE: seen}), 1_234_567.896)
    assert found.head == Head(123_456, 1_234_567.89, entry().run, 5_000, "paused")
    (stable,) = found.versions
    assert (stable.cohort, stable.label) == (Cohort.STABLE, "1.0")
    observed = {"paid": (3, 0), "charges": (3, 1)}
    assert stable.counts == Counts(11, 2, 2, {40: 9}, observed)


def test_under_a_kill_nobody_is_on_the_canary() -> None:
    found = point(entry(), Ledgers(), 50.0, killed=True)
    assert (found.head.weight, found.head.phase, found.versions) == (0, KILLED, ())


def test_values_count_in_parts_of_the_cap_that_holds() -> None:
    begun = entry()
    slots = {
        Slot(Cell(period), Cohort.CANARY, number): Matured(5, {"revenue": hits, "paid": [3]})
        for period, number, hits in ((1, 1, [1, 2]), (1, 2, [0, 1]), (9, 3, [4]))
    }
    powers = point(begun, Ledgers(slots=slots), 50.0).versions[0].counts.values
    assert powers == {Value("revenue", 0.0): {0: 5, 1: 3}}
    capped = replace(begun, caps=(Cap("revenue", 64.0, 9),))
    (canary,) = point(capped, Ledgers(slots=slots), 50.0).versions
    assert canary.counts.values == {Value("revenue", 64.0): {0: 4}}


@pytest.mark.parametrize(
    ("cap", "buckets", "value"),
    [
        (160.0, {0: 1}, 5.0),
        (160.0, {0: 1, 15: 3}, 117.5),
        (0.0, {0: 1, 4: 1}, 6.25),
        (9.0, {}, None),
    ],
)
def test_a_mean_is_that_of_the_middles(
    cap: float, buckets: dict[int, int], value: float | None
) -> None:
    assert mean(Value("revenue", cap), buckets) == value


def test_no_cap_makes_a_mean_infinite() -> None:
    found = mean(Value("revenue", 1.7e308), {15: 2**53 - 1})
    assert found is not None
    assert 1e308 < found < 1.7e308


# --- differences ------------------------------------------------------------------------------


def test_a_difference_is_what_happened_in_between() -> None:
    before = Counts(10, 1, 2, {3: 4}, {"paid": (5, 0)}, {Value("r", 9.0): {1: 2}})
    after = Counts(
        16, 1, 4, {3: 6, 9: 1}, {"paid": (5, 0), "new": (2, 1)}, {Value("r", 9.0): {1: 2}}
    )
    assert difference(before, after) == Counts(
        6, 0, 2, {3: 2, 9: 1}, {"paid": (0, 0), "new": (2, 1)}, {Value("r", 9.0): {}}
    )


def test_a_new_run_begins_anew() -> None:
    found = list(intervals([at(1, 5), at(2, 9), at(3, 2, run=8), at(4, 6, run=8)]))
    assert [(one.run, one.versions["2.0"].requests) for one in found] == [(7, 4), (8, 4)]


def test_after_a_decrease_it_begins_anew() -> None:
    found = list(intervals([at(1, 5), at(2, 9), at(3, 2), at(4, 6)]))
    told = [one.versions["2.0"].requests if one.versions else None for one in found]
    assert told == [4, None, 4]
    assert difference(Counts(5, 3), Counts(9, 2)) is None
    assert difference(Counts(5, latency={3: 4}), Counts(9, latency={3: 3, 4: 9})) is None


def test_a_metric_that_decreases_takes_nothing_else_along() -> None:
    before = Counts(5, observed={"a": (2, 1), "b": (1, 1)}, values={Value("r", 9.0): {1: 2}})
    after = Counts(8, observed={"a": (3, 0), "b": (2, 1)}, values={Value("r", 9.0): {1: 1}})
    assert difference(before, after) == Counts(3, observed={"b": (1, 0)})


def test_a_version_that_was_not_there_began_at_nothing() -> None:
    empty = replace(at(1, 0), versions=())
    found = between(empty, at(2, 4))
    assert found == Interval(7, 10.0, 20.0, {"2.0": Counts(4)})
    gone = between(at(1, 4), replace(at(2, 0), versions=()))
    assert gone is not None
    assert gone.versions == {}


def test_points_out_of_order_have_nothing_between_them() -> None:
    assert between(at(2, 4), at(1, 5)) is None
    assert between(at(2, 4), at(2, 4)) is None


def together(points: list[Point]) -> Interval:
    return reduce(merged, intervals(points))


@settings(max_examples=40)
@given(runs(), st.data())
def test_sums_do_not_depend_on_which_points_were_written_or_how_often(
    written: list[Point], data: st.DataObject
) -> None:
    ends = written[0], written[-1]
    kept = [one for one in written[1:-1] if data.draw(st.booleans())]
    again = [one for one in (ends[0], *kept, ends[1]) for _ in range(data.draw(st.integers(1, 3)))]
    assert together(again) == together(written)


@settings(max_examples=40)
@given(runs())
def test_adjacent_intervals_together_are_that_of_their_ends(written: list[Point]) -> None:
    assert together(written) == between(written[0], written[-1])
    for first, second in pairwise(intervals(written)):
        assert first.until == second.since


@settings(max_examples=60)
@given(counts(), counts(), counts())
def test_counts_add_up_in_any_order(one: Counts, other: Counts, third: Counts) -> None:
    assert total(one, NOTHING) == total(NOTHING, one) == one
    assert total(one, other) == total(other, one)
    assert total(total(one, other), third) == total(one, total(other, third))
    assert difference(one, total(one, other)) == replace(
        other,
        observed=dict.fromkeys(one.observed, (0, 0)) | dict(other.observed),
        values={value: {} for value in one.values} | dict(other.values),
    )
