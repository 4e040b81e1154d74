"""Sums and verdicts on the stores that people have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from canary_middleware import measures
from canary_middleware.core.codec_totals import decode, encode
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.state import Entry, Period
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Pulse, Slot
from canary_middleware.core.verdict import Decision
from canary_middleware.errors import StoreError
from canary_middleware.measures import SILENT, MeasuredStore, Reader, read
from canary_middleware.stores import MemoryStore, open_store
from canary_middleware.stores.protocol import First
from tests.agent.site import NAME, PLAN, RELEASE, Time, start
from tests.support.redis import RedisServer

Opener = Callable[[], MeasuredStore]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, shared_redis: RedisServer, namespace: str
) -> Iterator[MeasuredStore]:
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/s.db",
        "redis": shared_redis.url,
    }
    opened = open_store(urls[request.param], namespace)
    assert isinstance(opened, MeasuredStore)
    yield opened
    opened.close()


@pytest.fixture
def entry(store: MeasuredStore) -> Entry:
    found = start(store, Time()).entry(NAME, RELEASE)
    assert found is not None
    return found


def counted(entry: Entry, canary: int, stable: int, failures: int = 0) -> Ledgers:
    ledgers = Ledgers(run=entry.run, upto=entry.begun + 100.0)
    for cohort, n, failed in ((Cohort.CANARY, canary, failures), (Cohort.STABLE, stable, 0)):
        ledgers.entries[Arm(Cell(entry.period), cohort)] = Entries(n, failed)
        ledgers.slots[Slot(Cell(entry.period), cohort, 1)] = Matured(n, {"errors": [failed]})
    return ledgers


def put(store: MeasuredStore, boot: str, ledgers: Ledgers) -> None:
    assert store.put(NAME, RELEASE, boot, encode(ledgers))


def test_processes_are_summed_and_judged(store: MeasuredStore, entry: Entry) -> None:
    put(store, "a", counted(entry, 10, 190))
    put(store, "b", counted(entry, 5, 95, failures=1))
    store.first(NAME, RELEASE, entry.run, [First("failures", 7, entry.period, Cohort.CANARY)])
    found = read(store, NAME, entry)
    assert found.verdict.visitors == (15, 285)
    assert found.verdict.decision is not Decision.ROLLBACK
    assert found.evidence.firsts == {("failures", entry.period, Cohort.CANARY): 1}
    assert found.evidence.matured[Arm(Cell(entry.period), Cohort.CANARY)].hits == {"errors": [1]}
    assert (found.processes, found.fresh, found.refused) == (2, True, {})
    assert found.age is not None
    assert 0 <= found.age < 5


def test_a_crash_is_a_rollback(store: MeasuredStore, entry: Entry) -> None:
    put(store, "a", counted(entry, 10, 190, failures=10))
    assert read(store, NAME, entry).verdict.decision is Decision.ROLLBACK


def test_nothing_is_nothing(store: MeasuredStore, entry: Entry) -> None:
    found = read(store, NAME, entry)
    assert (found.verdict.visitors, found.processes, found.age) == ((0, 0), 0, None)
    assert not found.fresh


def test_a_laggard_holds_matured_visitors_back_and_nothing_else(
    store: MeasuredStore, entry: Entry
) -> None:
    put(store, "a", counted(entry, 10, 190))
    put(store, "late", Ledgers(run=entry.run, upto=entry.begun))
    found = read(store, NAME, entry)
    assert found.evidence.matured == {}
    assert found.verdict.visitors == (10, 190)


def test_what_cannot_be_read_does_not_count(store: MeasuredStore, entry: Entry) -> None:
    put(store, "a", counted(entry, 10, 190))
    assert store.put(NAME, RELEASE, "spoiled", encode(counted(entry, 1, 1))[:-9])
    found = read(store, NAME, entry)
    assert found.verdict.visitors == (10, 190)
    assert list(found.refused) == ["spoiled"]
    assert not found.fresh


def test_a_fold_keeps_the_sum_and_is_refused_when_it_is_late() -> None:
    time = Time()
    store = MemoryStore(lambda: time.wall)
    entry = start(store, time).entry(NAME, RELEASE)
    assert entry is not None
    put(store, "a", counted(entry, 10, 190))
    put(store, "b", counted(entry, 5, 95))
    time.go(SILENT + 1)
    reader = Reader(store, NAME, RELEASE)
    before = reader.read(entry).verdict
    put(store, "b", counted(entry, 6, 95))
    assert not reader.fold(entry), "b has gone on meanwhile"
    time.go(SILENT + 1)
    reader.read(entry)
    assert reader.fold(entry)
    assert not store.put(NAME, RELEASE, "a", b"late")
    (left,) = store.read(NAME, RELEASE)
    assert left.boot == ""
    assert decode(left.data).pulse == Pulse()
    after = reader.read(entry).verdict
    assert (before.visitors, after.visitors) == ((15, 285), (16, 285))
    assert not reader.fold(entry), "there is nobody left"


def test_an_unchanged_reading_says_the_same(store: MeasuredStore, entry: Entry) -> None:
    reader = Reader(store, NAME, RELEASE)
    put(store, "a", counted(entry, 10, 190, failures=1))
    first = reader.read(entry)
    verdict, evidence = first.verdict, dict(first.evidence.entries)
    again = reader.read(entry)
    assert (again.verdict, again.evidence.entries) == (verdict, evidence)


# --- what counts --------------------------------------------------------------------------------


def lowered(policy: Policy) -> Entry:
    plan = replace(PLAN, policy=policy, guards=(Guard.errors(margin=None),))
    store = MemoryStore()
    found = start(store, Time(), plan).entry(NAME, RELEASE)
    assert found is not None
    periods = (*found.periods, Period(5, 1_000, found.begun + 900.0))
    return replace(found, periods=periods, period=5, weight=1_000)


@pytest.mark.parametrize("policy", [Policy.KEEP, Policy.FOLLOW])
def test_after_a_decrease_keep_has_no_evidence_but_that_of_before(policy: Policy) -> None:
    store, entry = MemoryStore(), lowered(policy)
    ledgers = counted(entry, 10, 190)
    before = Cell(entry.run)
    ledgers.entries[Arm(before, Cohort.CANARY)] = Entries(50)
    ledgers.entries[Arm(before, Cohort.STABLE)] = Entries(950)
    ledgers.entries[Arm(Cell(99), Cohort.STABLE)] = Entries(7)
    put(store, "a", ledgers)
    store.first(NAME, RELEASE, entry.run, [First("failures", 7, 5, Cohort.CANARY)])
    found = read(store, NAME, entry)
    kept = policy is Policy.KEEP
    assert found.verdict.visitors == ((50, 950) if kept else (60, 1_140))
    assert bool(found.evidence.firsts) is not kept
    assert found.verdict.decision is (Decision.INCONCLUSIVE if kept else Decision.PROMOTE)
    assert (measures.LOWERED in found.verdict.missing) is kept


def test_before_a_decrease_keep_is_judged_and_a_crash_stays_one() -> None:
    store, entry = MemoryStore(), lowered(Policy.KEEP)
    ledgers = Ledgers(run=entry.run, upto=entry.begun)
    ledgers.entries[Arm(Cell(entry.run), Cohort.CANARY)] = Entries(10, 10)
    ledgers.entries[Arm(Cell(entry.run), Cohort.STABLE)] = Entries(190)
    put(store, "a", ledgers)
    assert read(store, NAME, entry).verdict.decision is Decision.ROLLBACK


def test_after_a_precaution_keep_is_judged_again() -> None:
    """Nobody is kept across it; without that no guard would watch what is resumed."""
    store, entry = MemoryStore(), lowered(Policy.KEEP)
    gone, back = entry.run + 200, entry.run + 201
    stopped = Period(gone, 0, entry.begun + 20)
    resumed = Period(back, entry.periods[0].weight, entry.begun + 30)
    entry = replace(entry, epoch=gone, period=back, periods=(*entry.periods, stopped, resumed))
    ledgers = Ledgers(run=entry.run, upto=entry.begun)
    ledgers.entries[Arm(Cell(back), Cohort.CANARY)] = Entries(10, 10)
    ledgers.entries[Arm(Cell(back), Cohort.STABLE)] = Entries(190)
    put(store, "a", ledgers)
    found = read(store, NAME, entry)
    assert found.verdict.decision is Decision.ROLLBACK
    assert found.evidence.weights.keys() == {entry.run, gone, back}


def test_a_store_without_totals_says_so() -> None:
    class Plain:
        """Not even a store."""

    with pytest.raises(StoreError, match="keeps no totals"):
        read(Plain(), NAME, lowered(Policy.FOLLOW))  # type: ignore[arg-type]  # that is the point
