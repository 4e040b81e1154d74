"""What measuring costs: an outcome, an entry, a verdict, their memory; against OpenTelemetry's SDK.

The peer is one record of an SDK histogram with the attributes that an outcome has.
"""

from __future__ import annotations

import random
import sys
import time
from array import array
from collections.abc import Callable
from itertools import count
from statistics import median
from time import thread_time

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benchmarks.measure import interleaved, ratio_line
from canary_middleware.core.codec_totals import encode
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS, OutcomeClass, add_counts
from canary_middleware.core.throw import Cell, Sight
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Seen, Slot, bucket_of
from canary_middleware.core.verdict import Evidence, Settings
from canary_middleware.core.weight import FULL
from canary_middleware.engine.sighting import Arrival
from canary_middleware.measures import Reader
from canary_middleware.stores.memory import MemoryStore
from tests.engine.measured import QUICK, RUN, measured

PEER = "histogram record"
SUCCESS = OutcomeClass.SUCCESS
BATCH = 250
"""Entries that are booked together, as a busy process does each quarter of a second."""


def main() -> list[str]:
    """The lines of this part."""
    found = interleaved(
        {
            "peer": histogram(),
            "outcome": outcome(),
            "entry": entry(),
            "verdict": verdict(cells=1),
            "ramp": verdict(cells=4),
        },
        calls=BATCH,
    )
    peer = found["peer"]
    return [
        ratio_line("one outcome recorded", found["outcome"], peer, 0.15, PEER),
        ratio_line("a visitor's entry, once a period", found["entry"], peer, None, PEER),
        ratio_line("a verdict over three guards", found["verdict"], peer, 25, PEER),
        ratio_line("the same at the third step of a ramp", found["ramp"], peer, 25, PEER),
        *memory(),
        *leader(),
    ]


def histogram() -> Callable[[], object]:
    """The peer."""
    provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    record = provider.get_meter("shop").create_histogram("duration").record
    attributes = {"rollout": "checkout", "version": "1.5.0", "cohort": "canary"}
    return lambda: record(0.02, attributes)


def outcome() -> Callable[[], object]:
    """What every measured request leaves."""
    made = measured(FULL // 2)
    given = (made.engine.snapshot.by_name["checkout"].below,)
    end = made.engine.recorder.end
    return lambda: end(given, SUCCESS, 0.02, 0.02)


def entry() -> Callable[[], object]:
    """What a visitor's first request in a period leaves beside that, from arrival to the ledger."""
    made = measured(FULL // 2)
    given = made.engine.snapshot.by_name["checkout"].below
    numbers = count(1)

    def arrive() -> None:
        number = next(numbers)
        arrival = Arrival(given, given.gauge, number, Sight(0, 1), 0.0)
        arrival.start, arrival.kind = 0.02, SUCCESS
        made.engine.measuring.arrived(arrival)
        if number % BATCH == 0:
            made.engine.measuring.book(1e9)

    return arrive


def verdict(cells: int) -> Callable[[], object]:
    """Errors, latency and a conversion rate, of visitors with so many histories."""
    made = measured(1_000, 5_000, 25_000)
    guards = made.engine.snapshot.by_name["checkout"].entry
    assert guards is not None
    chosen = tuple(g for g in guards.plan.guards if g.name in ("errors", "latency", "orders"))
    settings = Settings(chosen, baseline=array("q", QUICK.starts))
    evidence, chance = sample(cells), random.Random(2)
    cell = HISTORIES[cells - 1]

    def look() -> object:
        """Somebody has come since the last one; the cells of earlier steps are as they were."""
        visit(evidence, cell, chance)
        return judge(settings, evidence)

    return look


HISTORIES = [Cell(RUN), Cell(RUN + 1), Cell(RUN + 1, 1_000), Cell(RUN + 2, 5_000)]


def sample(cells: int = 4) -> Evidence:
    """Healthy traffic, spread over as many buckets as real latencies are."""
    chance = random.Random(1)
    weights = {RUN: 1_000, RUN + 1: 5_000, RUN + 2: 25_000}
    arms = [Arm(cell, cohort) for cell in HISTORIES[:cells] for cohort in Cohort]
    entries = {arm: Entries() for arm in arms}
    matured = {arm: Matured(0, {"orders": [0]}) for arm in arms}
    evidence = Evidence(weights, RUN + 2, entries, {}, matured)
    for cell in HISTORIES[:cells]:
        for _ in range(2_000):
            visit(evidence, cell, chance)
    return evidence


def visit(evidence: Evidence, cell: Cell, chance: random.Random) -> None:
    """One visitor, who has matured at once."""
    odds = cell.interval.odds(evidence.weights[cell.period])
    arm = Arm(cell, Cohort.CANARY if chance.random() < odds else Cohort.STABLE)
    one, ripe = evidence.entries[arm], evidence.matured[arm]
    one.n += 1
    one.failures += chance.random() < 0.01
    one.latency[bucket_of(0.04 * chance.lognormvariate(0, 0.5))] += 1
    ripe.n += 1
    ripe.hits["orders"][0] += chance.random() < 0.05


def memory() -> list[str]:
    """Of both versions: a counter and a histogram of a period, and the hits of one of its slots."""
    arm, ripe = Entries(), Matured()
    ripe.add("orders", 0)
    hit = sys.getsizeof(ripe.hits) + sys.getsizeof(ripe.hits["orders"]) + sys.getsizeof(10**5)
    every = sys.getsizeof(arm) + sys.getsizeof(arm.counts)
    counter = arm.counts.itemsize
    counters = len(arm.counts) - BUCKETS
    return [
        _size("a binary metric of a period", 2 * counter, 64),
        _size("a latency metric of a period", 2 * (every - counters * counter), 2500),
        _size("a conversion of a slot, alone", 2 * hit, 64),
    ]


PROCESSES = 1_000
LOOKS = 7


def leader() -> list[str]:
    """One look at the totals of many processes, all of which have counted since the last one."""
    made = measured(1_000, 5_000, 25_000)
    entry = made.engine.snapshot.by_name["checkout"].entry
    assert entry is not None
    store, last = MemoryStore(), [0.0]
    slices: list[float] = []

    def breathe() -> None:
        now = thread_time()
        slices.append(now - last[0])
        time.sleep(0)
        last[0] = thread_time()

    reader = Reader(store, "checkout", "2", breathe)
    ticks, longest = [], []
    ledgers = shipped(entry.run)
    for _ in range(LOOKS):
        ledgers.seen[Cohort.STABLE].kinds[SUCCESS] += 1
        data = encode(ledgers)
        for number in range(PROCESSES):
            store.put("checkout", "2", f"process-{number}", data)
        slices.clear()
        begun = last[0] = thread_time()
        reader.read(entry)
        ticks.append(thread_time() - begun)
        longest.append(max(*slices, thread_time() - last[0]))
    return [
        _limit(f"a look at {PROCESSES} processes", median(ticks[1:]) * 1e3, 100, "ms"),
        _limit("its longest piece", max(longest[1:]) * 1e3, 1, "ms"),
        # It knows nobody yet, and the bets on this baseline and these weights are made ready.
        _limit("that of the very first look", longest[0] * 1e3, 1, "ms"),
    ]


def shipped(run: int) -> Ledgers:
    """What one process tells of :func:`sample`'s traffic."""
    found = sample()
    seen = {}
    for cohort in Cohort:
        seen[cohort] = Seen()
        for arm, one in found.entries.items():
            if arm.cohort is cohort:
                add_counts(seen[cohort].starts, one.latency)
                seen[cohort].kinds[SUCCESS] += one.n
    slots = {Slot(*arm, 0): one for arm, one in found.matured.items()}
    return Ledgers(run, 1e9, dict(found.entries), slots, seen)


def _limit(title: str, value: float, target: float, unit: str) -> str:
    mark = "ok  " if value <= target else "OVER"
    return f"{mark} {title:<34} {value:8.2f} {unit}  (target {target:g})"


def _size(title: str, size: int, target: int) -> str:
    mark = "ok  " if size <= target else "OVER"
    return f"{mark} {title:<34} {size} bytes  (target {target})"
