from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from canary_middleware import measures, verbs
from canary_middleware.agent.leading import pace
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.measuring import Measuring
from canary_middleware.core.codec_totals import encode
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Phase, Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Ledgers, Matured, Pulse, Slot
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore
from canary_middleware.stores.protocol import Key, Totals
from tests.agent.held import Held
from tests.agent.site import BAKE, NAME, PLAN, RELEASE, ROLLOUT, Time, Worker, moves, run, start


class Store(MemoryStore):
    """One in which something can happen between a question and its answer, or that fails."""

    def __init__(self, time: Time) -> None:
        super().__init__(lambda: time.wall)
        self.before_swap: Callable[[], object] = lambda: None
        self.after_read: Callable[[], object] = lambda: None
        self.takes_totals = True

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        hook, self.before_swap = self.before_swap, lambda: None
        hook()
        return super().swap(expected, new, audit, clears=clears)

    def read(self, rollout: str, release: str) -> list[Totals]:
        found = super().read(rollout, release)
        hook, self.after_read = self.after_read, lambda: None
        hook()
        return found

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        if not self.takes_totals:
            raise StoreUnavailableError("OOM")
        return super().put(rollout, release, boot, data)


class Site:
    def __init__(self) -> None:
        self.time = Time()
        self.store = Store(self.time)

    def worker(self, name: str, *, skew: float = 0.0, chance: float = 0.0) -> Worker:
        return Worker(name, self.store, self.time, skew, chance)

    def pair(self, plan: Plan = PLAN) -> tuple[Worker, Worker]:
        """Two processes that hear of the start; the first one leads. No chance looks at totals."""
        start(self.store, self.time, plan)
        first, second = self.worker("a"), self.worker("b", chance=1.0)
        run(self.time, 0.5, first, second)
        return first, second


@pytest.fixture
def site() -> Site:
    return Site()


def busy(worker: Worker) -> None:
    worker.visitors(Cohort.CANARY, 10)
    worker.visitors(Cohort.STABLE, 190)


def test_a_baked_step_is_entered_once_in_the_audit(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, BAKE - 2, first, second)
    assert moves(site.store) == []
    run(site.time, 4, first, second)
    assert moves(site.store) == [("advance", "a")]
    assert {first.entry.weight, second.entry.weight} == {50_000}
    line = verbs.history(site.store, NAME, 1)[0]
    assert line.evidence["visitors"] == [10, 190]


def test_two_that_race_over_one_step_enter_it_once(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, BAKE - 2, first, second)

    def faster() -> None:
        site.time.go(4.1)  # so long that the lease is somebody else's
        second.turn()

    site.store.before_swap = faster
    run(site.time, 4, first)
    assert moves(site.store) == [("advance", "b")]


def test_a_leader_that_was_stopped_while_it_looked_writes_nothing(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, BAKE - 2, first, second)

    def stopped() -> None:
        first.deaf = True
        run(site.time, 60, second)

    site.store.after_read = stopped
    site.time.go(4)
    first.turn()
    assert moves(site.store) == [("advance", "b")]
    run(site.time, 5, first)
    assert moves(site.store) == [("advance", "b")], "it is deaf still, and has no lease"


def test_somebody_else_leads_within_five_seconds_of_the_leaders_death(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, BAKE - 6, first, second)
    died = site.time.monotonic
    run(site.time, 5, second)
    assert moves(site.store) == []
    assert not site.store.hold("a", 1.0), "it is b's by now"
    assert site.store.hold("b", 1.0)
    run(site.time, 2, second)
    assert moves(site.store) == [("advance", "b")]
    assert site.time.monotonic - died < 10


def test_the_lease_is_given_back_by_whoever_ends(site: Site) -> None:
    first, _ = site.pair()
    assert not site.store.hold("x", 1.0)
    first.measuring.leave(online=True)
    assert site.store.hold("x", 1.0)


def test_rolling_back_needs_no_lease(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    second.chance = 0.0
    first.failing(Cohort.CANARY, *range(10))
    first.turn()  # its look is over when the events arrive: it led, and died
    site.store.release("a")
    assert site.store.hold("dead", 60.0)
    second.failing(Cohort.CANARY, *range(10, 20))
    run(site.time, 1.0, second)
    assert [action for action, _ in moves(site.store)] == ["rollback"]
    line = verbs.history(site.store, NAME, 1)[0]
    assert line.why.startswith("rolled back")
    assert line.evidence["decision"] == "rollback"


def test_without_the_lease_nothing_else_is_done(site: Site) -> None:
    start(site.store, site.time)
    assert site.store.hold("dead", 10_000.0)
    worker = site.worker("b")
    worker.turn()
    busy(worker)
    run(site.time, BAKE + 200, worker)
    assert moves(site.store) == []
    assert worker.entry.baseline is None


@pytest.mark.parametrize(("chance", "rolls_back"), [(0.3, True), (0.5, False)])
def test_in_a_fleet_about_eight_look_beside_the_leader(
    site: Site, chance: float, *, rolls_back: bool
) -> None:
    start(site.store, site.time)
    assert site.store.hold("dead", 60.0)
    worker = site.worker("b", chance=0.0)
    worker.hear()
    for number in range(20):
        totals = Ledgers(run=worker.entry.run, upto=site.time.wall)
        assert site.store.put(NAME, RELEASE, f"p{number}", encode(totals))
    run(site.time, 1.0, worker)
    worker.chance = chance
    worker.failing(Cohort.CANARY, *range(20))
    run(site.time, 3.0, worker)
    assert bool(moves(site.store)) is rolls_back


def test_the_more_there_is_to_read_the_more_rarely_it_is_read() -> None:
    assert [pace(n, leads=True) for n in (4, 1_000, 4_000)] == [0.25, 0.25, 1.0]
    assert [pace(n, leads=False) for n in (4, 1_000, 9_000)] == [0.25, 5.0, 5.0]


# --- clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-3_600.0, -600.0, 600.0, 3_600.0])
def test_a_clock_that_is_wrong_moves_nothing_early(site: Site, skew: float) -> None:
    leader = site.worker("a", skew=skew)
    empty = Document("ab12", revision=1)
    site.store.swap(None, empty, Audit(0.0, "me", "restore", "*", "", "", "", 1))
    leader.turn()
    start(site.store, site.time, before=empty)
    leader.turn()
    busy(leader)
    run(site.time, BAKE - 2, leader)
    assert moves(site.store) == []
    run(site.time, 4, leader)
    assert moves(site.store) == [("advance", "a")]


def test_whoever_was_born_later_goes_by_the_wall_and_never_below_zero(site: Site) -> None:
    first, _ = site.pair()
    busy(first)
    run(site.time, BAKE - 10, first)
    first.measuring.leave(online=True)
    late = site.worker("late", skew=-BAKE * 2)
    right = site.worker("right")
    run(site.time, 12, late)
    assert moves(site.store) == [], "to it the step has just begun"
    late.measuring.leave(online=True)
    run(site.time, 1, right)
    assert moves(site.store) == [("advance", "right")]


# --- folding ------------------------------------------------------------------------------------


def test_who_was_silent_is_folded_and_begins_anew(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    busy(second)
    run(site.time, 1, first, second)
    before = measures.read(site.store, NAME, first.entry)
    run(site.time, 30, first)
    assert {one.boot for one in site.store.read(NAME, RELEASE)} == {"", "a"}
    after = measures.read(site.store, NAME, first.entry)
    assert after.evidence.entries == before.evidence.entries
    assert (before.processes, after.processes) == (2, 1)
    second.turn()
    assert second.counted.restarts == 1
    busy(second)
    run(site.time, 1, first, second)
    visitors = measures.read(site.store, NAME, first.entry).verdict.visitors
    assert visitors == (30, 570), "nothing twice, and what came after"
    assert second.held.recorder.events["totals_folded"] == 1


def test_after_an_outage_nobody_is_taken_for_dead(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    busy(second)
    run(site.time, 20, first, second)
    site.time.go(60)  # the store was away, or this machine slept
    first.turn()
    run(site.time, 3, first, second)
    assert {one.boot for one in site.store.read(NAME, RELEASE)} == {"a", "b"}
    assert (first.counted.restarts, second.counted.restarts) == (0, 0)


# --- what there is to go on by ------------------------------------------------------------------


def test_without_totals_nothing_advances_and_it_says_so(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, BAKE - 30, first, second)
    site.store.takes_totals = False
    run(site.time, 70, first, second)
    assert moves(site.store) == []
    run(site.time, 60, first, second)
    assert moves(site.store) == [("hold", "a")]
    assert "totals" in first.entry.why
    site.store.takes_totals = True
    run(site.time, 5, first, second)
    assert moves(site.store)[1:] == [("advance", "a")]


def test_below_the_sample_nothing_is_decided(site: Site) -> None:
    first, _ = site.pair()
    for visitors in (1, 2, 3, 4):
        first.visitors(Cohort.CANARY, 1)
        first.visitors(Cohort.STABLE, 19)
        run(site.time, 60, first, every=1.0)
        assert moves(site.store) == [], f"after {visitors} of 5"
    first.visitors(Cohort.CANARY, 1)
    run(site.time, 2, first)
    assert moves(site.store) == [("advance", "a")]


def test_a_corrupt_total_does_not_count_and_is_named(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    first, _ = site.pair()
    busy(first)
    assert site.store.put(NAME, RELEASE, "spoiled", b"[]")
    run(site.time, 5, first)
    named = [line for line in caplog.messages if "spoiled" in line]
    assert len(named) == 1
    assert first.held.recorder.events["totals_corrupt"] > 1
    assert measures.read(site.store, NAME, first.entry).verdict.visitors == (10, 190)
    run(site.time, 30, first)
    assert {one.boot for one in site.store.read(NAME, RELEASE)} == {"", "a"}
    assert caplog.messages[-1] == "totals of checkout: recovered"


def test_the_latency_of_stable_is_frozen_from_before_the_start(site: Site) -> None:
    worker = site.worker("a")
    start(site.store, site.time)
    worker.hear()
    worker.ledgers().before[40] = 200
    run(site.time, 0.5, worker)
    assert worker.entry.baseline is not None
    assert worker.entry.baseline.starts[40] == 200
    run(site.time, 5, worker)
    actions = [line.action for line in verbs.history(site.store, NAME, 9)]
    assert actions == ["baseline", "start"]


def test_else_from_two_hundred_visitors_of_stable(site: Site) -> None:
    worker = site.worker("a")
    start(site.store, site.time)
    worker.hear()
    worker.visitors(Cohort.CANARY, 10)
    worker.visitors(Cohort.STABLE, 199)
    run(site.time, 1, worker)
    assert worker.entry.baseline is None
    worker.visitors(Cohort.STABLE, 1)
    run(site.time, 1, worker)
    assert worker.entry.baseline is not None


def test_the_cap_of_a_mean_is_frozen_from_two_hundred_values_of_stable(site: Site) -> None:
    revenue = Guard.mean("revenue", margin="5%")
    worker = site.worker("a")
    start(site.store, site.time, replace(PLAN, guards=(*PLAN.guards, revenue)))
    worker.hear()
    values = [0] * 7 + [199]  # of 64 to 128
    slot = Slot(Cell(worker.entry.period), Cohort.STABLE, 0)
    worker.ledgers().slots[slot] = Matured(1_000, {"revenue": values})
    run(site.time, 1, worker)
    assert not worker.entry.caps
    values[7] += 1
    run(site.time, 1, worker)
    (cap,) = worker.entry.caps
    assert (cap.guard, cap.value, cap.since) == ("revenue", 128.0, worker.entry.period)
    run(site.time, 5, worker)
    (line,) = [one for one in verbs.history(site.store, NAME, 9) if one.action == "baseline"]
    assert line.why == "a visitor counts for at most 128 revenue, p99.5 of 200 values of 1"


# --- precaution ---------------------------------------------------------------------------------


def test_above_the_ceiling_nobody_gets_the_canary_without_blame(site: Site) -> None:
    first, second = site.pair()
    run(site.time, 2, first, second)
    second.visitors(Cohort.CANARY, 10, failures=9)
    second.visitors(Cohort.STABLE, 190, failures=171)
    run(site.time, 1, first, second)
    assert [action for action, _ in moves(site.store)] == ["precaution"]
    assert (first.entry.weight, first.entry.phase) == (0, Phase.PAUSED)
    assert "180 of 200 answers of both versions failed" in first.entry.why


def test_when_both_are_bad_below_the_ceiling_nobody_is_blamed(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    for number in range(60):
        first.visitors(Cohort.STABLE, 95, failures=28)
        first.visitors(Cohort.CANARY, 5, failures=2)
        first.failing(Cohort.STABLE, *range(100 * number, 100 * number + 28))
        first.failing(Cohort.CANARY, *range(100 * number + 30, 100 * number + 31))
        run(site.time, 0.5, first, second)
    assert moves(site.store) == []


def test_a_stall_of_the_application_is_no_finding_against_the_canary(site: Site) -> None:
    plan = Plan.from_rollout(replace(ROLLOUT, guards=Guard.defaults()))
    first, _ = site.pair(plan)
    first.ledgers().before[40] = 1_000
    run(site.time, 1, first)
    for _ in range(20):
        first.visitors(Cohort.STABLE, 95)
        first.visitors(Cohort.CANARY, 5)
        run(site.time, 1, first)
    # For two seconds nobody is answered, whoever they were drawn for.
    first.visitors(Cohort.STABLE, 38, bucket=79)
    first.visitors(Cohort.CANARY, 2, bucket=79)
    run(site.time, 10, first)
    assert moves(site.store) == []


def test_a_loop_that_does_not_turn_ends_in_precaution(site: Site) -> None:
    first, second = site.pair()
    busy(first)
    run(site.time, 2, first, second)
    stalled = Ledgers(run=first.entry.run, upto=site.time.wall, pulse=Pulse(stall=2.0))
    site.store.put(NAME, RELEASE, "c", encode(stalled))
    run(site.time, 1, first, second)
    assert [action for action, _ in moves(site.store)] == ["precaution"]
    assert "did not turn for 2.0 s" in first.entry.why


# --- stores that keep no totals -----------------------------------------------------------------


class Plain:
    """A store of others: control state only."""

    def __init__(self, store: MemoryStore) -> None:
        self.load = store.load
        self.swap = store.swap
        self.kill = store.kill
        self.history = store.history
        self.listen = store.listen
        self.report = store.report
        self.processes = store.processes
        self.withdraw = store.withdraw
        self.close = store.close


def test_a_store_without_totals_measures_nothing_and_says_so_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    held = Held(start(site.store, site.time))
    measuring = Measuring(
        Plain(site.store),
        lambda: held.measuring,
        followed=lambda: held.document,
        adopt=held.adopt,
        owner="a",
        name="a",
        loops=Loops(lambda: 0.0),
        count=held.recorder.count,
        clock=lambda: site.time.monotonic,
        wall=lambda: site.time.wall,
    )
    for _ in range(9):
        measuring.turn(online=True)
    measuring.leave(online=True)
    assert len(held.measuring.booked) == 9, "what waits to be booked must not pile up"
    assert [line for line in caplog.messages if "keeps no totals" in line] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_release_that_cannot_be_judged_says_so_once_and_is_judged_when_it_can(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    worker = site.worker("a")
    start(site.store, site.time)
    worker.turn()

    def fail() -> None:
        raise ZeroDivisionError("a mistake of ours")

    caplog.clear()
    for _ in range(3):
        site.store.after_read = fail
        site.time.go(2.0)
        worker.turn()
    told = [message for message in caplog.messages if message.startswith("judging checkout")]
    assert told == ["judging checkout: degraded: ZeroDivisionError('a mistake of ours')"]
    assert worker.held.recorder.events["error_judge"] == 3
    site.time.go(2.0)
    worker.turn()
    assert caplog.messages[-1] == "judging checkout: recovered"
