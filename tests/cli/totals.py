"""What processes would have shipped, written through the store."""

from __future__ import annotations

import time
from typing import Final

from canary_middleware.core.codec_totals import encode
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Course, Ramp
from canary_middleware.core.state import Entry, Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers, Seen
from canary_middleware.measures import MeasuredStore
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import First

BUCKET: Final = 50
"""Of every latency here: 117 ms."""


def plan(*guards: Guard, ramp: Ramp | None = None) -> Plan:
    """Of a rollout that moves by itself, as a process declares it."""
    ramp = ramp or Ramp("5%", "50%", "100%", bake="10m")
    return Plan(
        "1.4.2", "1.5.0", ("/checkout",), steps=ramp.weights, owner="pay@example.com",
        guards=guards or (Guard.errors(), Guard.never("charges", name="orders-charged-twice")),
        course=Course.of(ramp, alpha="1%", horizon="15m", timeout="30s"),
    )  # fmt: skip


def present(store: StateStore) -> Entry:
    """Where `checkout` 1.5.0 stands."""
    document = store.load().document
    assert document is not None
    entry = document.entry("checkout", "1.5.0")
    assert entry is not None
    return entry


def ship(store: StateStore, boot: str, canary: tuple[int, int], stable: tuple[int, int]) -> None:
    """Requests of as many visitors on both versions, and those of them that failed."""
    entry = present(store)
    assert isinstance(store, MeasuredStore)
    ledgers = Ledgers(run=entry.run, upto=time.time())
    for cohort, (n, failures) in ((Cohort.CANARY, canary), (Cohort.STABLE, stable)):
        counted = Entries(n, failures)
        counted.latency[BUCKET] = n
        seen = Seen()
        seen.kinds[OutcomeClass.SUCCESS], seen.kinds[OutcomeClass.SERVER_ERROR] = (
            n - failures,
            failures,
        )
        seen.starts[BUCKET] = n
        seen.observed["orders-charged-twice"] = [n, 0]
        ledgers.entries[Arm(Cell(entry.period), cohort)] = counted
        ledgers.seen[cohort] = seen
        events = [First("failures", hash((boot, cohort, i)) % 2**53, entry.period, cohort)
                  for i in range(failures)]  # fmt: skip
        store.first("checkout", "1.5.0", entry.run, events)
    assert store.put("checkout", "1.5.0", boot, encode(ledgers))
