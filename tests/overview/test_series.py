from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_middleware.core.codec_series import encode
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.series import Counts, Head, Point, Value, Version, total
from canary_middleware.core.totals import quantile
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.overview.remembering import LOOK_BACK, ROLLOUTS
from canary_middleware.overview.series import Chart, Reader, read, shape
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.series import POINTS

BEGIN: Final = 180_000_000
"""A slot."""
NOW: Final = BEGIN * 10.0


class Store(MemoryStore):
    """One that notes what is asked, and can forget."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.answers = True

    def series(self, rollout: str, since: int = 0) -> list[tuple[int, bytes]]:
        if not self.answers:
            raise StoreUnavailableError("gone")
        self.asked.append(since)
        return super().series(rollout, since)

    def lose(self) -> None:
        self._points.clear()


class Run:
    """Writes points of one run, whose counts only grow."""

    def __init__(self, store: Store, run: int = 7, labels: tuple[str, str] = ("2", "1")) -> None:
        self.store = store
        self.run = run
        self.labels = labels
        self.so_far = {cohort: Counts() for cohort in Cohort}

    def count(self, cohort: Cohort, counts: Counts) -> None:
        self.so_far[cohort] = total(self.so_far[cohort], counts)

    def write(self, slot: int, weight: int = 5_000, phase: str = "ramping") -> None:
        """A point; ``slot`` is counted from the beginning."""
        labels = dict(zip((Cohort.CANARY, Cohort.STABLE), self.labels, strict=True))
        versions = [Version(one, label, self.so_far[one]) for one, label in labels.items()]
        number = BEGIN + slot
        head = Head(number, number * 10 + 0.25, self.run, weight, phase)
        self.store.append("checkout", number, encode(Point(head, tuple(versions))))


@pytest.fixture
def store() -> Store:
    return Store()


def asked(requests: int, bucket: int = 40, failures: int = 0) -> Counts:
    return Counts(requests, failures, 0, {bucket: requests} if requests else {})


def steady(store: Store, slots: Sequence[int], run: Run | None = None) -> Run:
    """Ten requests to the canary between two slots."""
    run = run or Run(store)
    before = slots[0]
    for slot in slots:
        run.count(Cohort.CANARY, asked(10 * (slot - before)))
        run.write(slot)
        before = slot
    return run


def chart(store: Store, slots: int, points: int = 300) -> Chart:
    """Of so many slots from the beginning."""
    return read(store, "checkout", NOW, NOW + slots * 10 - 1, points)


def rates(found: Chart, version: str = "2") -> list[float | None]:
    (line,) = [one for one in found.lines if one.version == version]
    return [one if one is None else round(one, 6) for one in line.rate]


# --- values -------------------------------------------------------------------------------------


def test_a_rollout_without_points_has_an_empty_chart(store: Store) -> None:
    found = chart(store, 6)
    assert (found.lines, found.stretches, found.refused) == ((), (), 0)
    assert found.times == tuple(NOW + 10 * n for n in range(1, 7))


def test_each_step_has_what_happened_in_it(store: Store) -> None:
    run = Run(store)
    run.write(0)
    observed, values = {"paid": (5, 0), "charges": (4, 1)}, {Value("paid", 160.0): {1: 2}}
    run.count(Cohort.CANARY, Counts(20, 4, 2, {10: 10, 50: 10}, observed, values))
    run.count(Cohort.STABLE, Counts(100, 0, 0, {20: 100}))
    run.write(1)
    run.write(2)
    canary, stable = chart(store, 3).lines
    assert (canary.version, canary.cohort) == ("2", Cohort.CANARY)
    assert (stable.version, stable.cohort) == ("1", Cohort.STABLE)
    assert canary.rate == (None, 2.0, 0.0)
    assert canary.errors == (None, 0.2, None)
    assert canary.client_errors == (None, 0.1, None)
    assert stable.rate == (None, 10.0, 0.0)
    histogram = [10 * (bucket in (10, 50)) for bucket in range(BUCKETS)]
    assert canary.latency["p95"] == (None, quantile(histogram, 0.95), None)
    paid, charges = canary.observed["paid"], canary.observed["charges"]
    assert paid.share == (None, 0.25, None)
    assert paid.value == (None, 15.0, None)
    assert charges.above == (None, 0.25, None)
    assert charges.value == (None, None, None)
    assert stable.observed == {}


def test_quantiles_of_a_long_step_are_those_of_all_its_answers(store: Store) -> None:
    run = Run(store)
    run.write(0)
    for slot, counts in enumerate((asked(98, 5), asked(1, 60), asked(1, 60)), start=1):
        run.count(Cohort.CANARY, counts)
        run.write(slot)
    (line, _) = chart(store, 4, points=1).lines
    histogram = [0] * BUCKETS
    histogram[5], histogram[60] = 98, 2
    assert line.latency["p99"][0] == quantile(histogram, 0.99)
    assert line.latency["p50"][0] == quantile(histogram, 0.5)


def test_a_gap_is_a_gap(store: Store) -> None:
    steady(store, [0, 1, 2, 10, 11])
    assert rates(chart(store, 12)) == [None, 1.0, 1.0, *[None] * 8, 1.0]


def test_what_two_points_span_is_the_same_in_all_their_steps(store: Store) -> None:
    steady(store, [0, 1, 4, 5])
    assert rates(chart(store, 7)) == [None, 1.0, 1.0, 1.0, 1.0, 1.0, None]


def test_a_new_run_and_a_decrease_begin_anew(store: Store) -> None:
    steady(store, [0, 1, 2])
    steady(store, [3, 4], Run(store, run=8))
    assert rates(chart(store, 5)) == [None, 1.0, 1.0, None, 1.0]
    steady(store, [5, 6], Run(store, run=8))
    assert rates(chart(store, 7)) == [None, 1.0, 1.0, None, 1.0, None, 1.0]


def test_a_step_with_two_runs_has_what_both_counted(store: Store) -> None:
    steady(store, [0, 1, 2])
    steady(store, [3, 4, 5], Run(store, run=8))
    assert rates(chart(store, 6, points=1)) == [1.0]


def test_a_version_is_one_line_on_whichever_side_it_is(store: Store) -> None:
    steady(store, [0, 1, 2])
    later = Run(store, run=8, labels=("3", "2"))
    later.write(3)
    later.count(Cohort.STABLE, asked(30))
    later.write(4)
    found = chart(store, 5)
    assert [(one.version, one.cohort) for one in found.lines] == [
        ("3", Cohort.CANARY), ("2", Cohort.STABLE), ("1", None),
    ]  # fmt: skip
    assert rates(found) == [None, 1.0, 1.0, None, 3.0]


def test_weights_and_phases_change_over_time(store: Store) -> None:
    run = Run(store)
    for slot, (weight, phase) in enumerate(
        [(5_000, "ramping"), (5_000, "ramping"), (50_000, "ramping"), (0, "rolled_back")]
    ):
        run.write(slot, weight, phase)
    run.write(20, 0, "rolled_back")
    told = [
        (round(one.since - NOW), round(one.until - NOW), one.weight, one.phase)
        for one in chart(store, 30).stretches
    ]
    assert told == [
        (0, 20, 5_000, "ramping"), (20, 30, 50_000, "ramping"), (30, 30, 0, "rolled_back"),
        (200, 200, 0, "rolled_back"),
    ]  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.integers(0, 60), min_size=2, unique=True), st.integers(1, 40))
def test_rates_add_up_to_what_was_counted(slots: list[int], points: int) -> None:
    store = Store()
    written = sorted(slots)
    steady(store, written)
    known = any(after - before <= 6 for before, after in pairwise(written))
    found = chart(store, 61, points)
    assert bool(found.lines) == known
    told = {one for line in found.lines for one in rates(found, line.version)}
    assert told <= {None, 0.0, 1.0}
    assert (1.0 in told) == known


# --- what is remembered -------------------------------------------------------------------------


def test_a_reader_asks_only_for_what_is_new(store: Store) -> None:
    run = steady(store, range(100))
    reader = Reader(store)

    def look(slots: int) -> Chart:
        return reader.read("checkout", NOW, NOW + slots * 10 - 1)

    assert look(100) == chart(store, 100)
    steady(store, [99, 100, 101], run)
    store.asked.clear()
    found = look(102)
    assert store.asked == [BEGIN + 99 - LOOK_BACK]
    assert found == chart(store, 102)


def test_the_newest_point_may_be_written_again(store: Store) -> None:
    run = steady(store, [0, 1, 2])
    reader = Reader(store)
    assert rates(reader.read("checkout", NOW, NOW + 29)) == [None, 1.0, 1.0]
    run.count(Cohort.CANARY, asked(5))
    run.write(2)
    assert rates(reader.read("checkout", NOW, NOW + 29)) == [None, 1.0, 1.5]


def test_a_store_that_lost_everything_is_read_anew(store: Store) -> None:
    steady(store, range(50))
    reader = Reader(store)
    reader.read("checkout", NOW, NOW + 499)
    store.lose()
    assert reader.read("checkout", NOW, NOW + 499).lines == ()
    steady(store, [50, 51])
    assert reader.read("checkout", NOW, NOW + 519) == chart(store, 52)


def test_a_clock_that_is_ahead_hides_nothing_that_comes(store: Store) -> None:
    run = steady(store, [0, 1, 2])
    run.write(500)
    reader = Reader(store)
    reader.read("checkout", NOW, NOW + 29)
    steady(store, [2, 3, 4], run)
    assert rates(reader.read("checkout", NOW, NOW + 49)) == [None, 1.0, 1.0, 1.0, 1.0]


def test_a_day_is_remembered_and_no_more(store: Store) -> None:
    reader = Reader(store)
    run = Run(store)
    for slot in range(POINTS + 20):
        run.write(slot)
        if slot % 4_000 == 0:
            reader.read("checkout", NOW, NOW + slot * 10)
    last = NOW + 10 * (POINTS + 20)
    found = reader.read("checkout", NOW, last, 100)
    assert found == read(store, "checkout", NOW, last, 100)
    assert found.stretches[0].since == pytest.approx(NOW + 200.25)


def test_few_rollouts_are_remembered(store: Store) -> None:
    reader = Reader(store)
    steady(store, [0, 1])
    for number in range(ROLLOUTS):
        reader.read("checkout", NOW, NOW + 19)
        reader.read(f"r{number}", NOW, NOW + 19)
    store.asked.clear()
    reader.read("checkout", NOW, NOW + 19)
    assert store.asked == [BEGIN + 1 - LOOK_BACK], "it was used all the time"
    for number in range(ROLLOUTS):
        reader.read(f"r{number}", NOW, NOW + 19)
    store.asked.clear()
    reader.read("checkout", NOW, NOW + 19)
    assert store.asked == [0]


def test_a_store_that_is_away_is_told_and_read_again(store: Store) -> None:
    steady(store, [0, 1])
    reader = Reader(store)
    store.answers = False
    with pytest.raises(StoreUnavailableError):
        reader.read("checkout", NOW, NOW + 19)
    store.answers = True
    assert rates(reader.read("checkout", NOW, NOW + 19)) == [None, 1.0]


# --- what nobody should write -------------------------------------------------------------------


def test_points_that_cannot_be_read_are_left_out_and_counted(store: Store) -> None:
    steady(store, [0, 1, 2, 4])
    store.append("checkout", BEGIN + 3, b"\x02what is this")
    found = chart(store, 5)
    assert rates(found) == [None, 1.0, 1.0, 1.0, 1.0]
    assert found.refused == 1
    data = dict(store.series("checkout"))[BEGIN + 4]
    store.append("checkout", BEGIN + 4, data[:-1])
    found = chart(store, 5)
    assert found.refused == 2, "one of them begins well"
    assert rates(found)[:3] == [None, 1.0, 1.0]


@pytest.mark.parametrize(
    ("since", "until", "points"),
    [
        (NOW + 50, NOW, 300), (math.nan, math.inf, 300), (-1e300, 1e300, 10), (NOW, NOW + 50, 0),
        (NOW, NOW + 50, -5), (0.0, NOW + 50, 10**9),
    ],
)  # fmt: skip
def test_any_times_make_a_chart_of_bounded_size(
    store: Store, since: float, until: float, points: int
) -> None:
    steady(store, [0, 1, 2])
    found = read(store, "checkout", since, until, points)
    assert len(found.times) <= POINTS + 1
    assert all(len(one.rate) == len(found.times) for one in found.lines)
    json.dumps(shape(found), allow_nan=False)


# --- JSON ---------------------------------------------------------------------------------------


def test_its_shape_is_plain_json(store: Store) -> None:
    run = Run(store)
    run.write(0)
    run.count(Cohort.CANARY, Counts(3, 1, 0, {BUCKETS - 1: 3}, {"paid": (1, 0)}))
    run.write(1)
    told = json.loads(json.dumps(shape(chart(store, 2)), allow_nan=False))
    assert told["versions"][0] == {
        "version": "2",
        "cohort": "canary",
        "rate": [None, 0.3],
        "errors": [None, 0.333333],
        "client_errors": [None, 0.0],
        "p50": [None, 160.0],
        "p95": [None, 160.0],
        "p99": [None, 160.0],
        "observed": {
            "paid": {"share": [None, 0.333333], "above": [None, 0.0], "value": [None, None]}
        },
    }
    (weight,) = told["weights"]
    assert (weight["weight"], weight["phase"], weight["run"]) == ("5%", "ramping", 7)
    assert told["times"] == [NOW + 10, NOW + 20]
    assert (told["step"], told["refused"], told["rollout"]) == (10, 0, "checkout")
