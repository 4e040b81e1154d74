"""A shop in the middle of an ordinary afternoon, written through a store as processes would."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from canary_middleware import measures
from canary_middleware.core.codec_series import encode as encode_point
from canary_middleware.core.codec_totals import encode
from canary_middleware.core.command import Command
from canary_middleware.core.evidence import evidence_of, sentence
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.series import point, slot_of
from canary_middleware.core.state import Document, Entry, Plan, Verb
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Seen, Slot, bucket_of
from canary_middleware.core.transitions import apply
from canary_middleware.core.weight import FULL
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import First, SeriesStore

EVERY: Final = 10.0
AGENT: Final = "agent web-1"
RAMP: Final = ("1%", "5%", "25%", "50%", "100%")
MINUTE: Final = 60.0


@dataclass(frozen=True)
class Way:
    """How a version behaves: share of failures, median seconds, share of visitors who buy."""

    failures: float = 0.004
    median: float = 0.085
    buys: float = 0.062


@dataclass
class Shop:
    """What is written, at moments of one's own choosing."""

    store: StateStore
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def document(self) -> Document | None:
        return self.store.load().document

    def do(
        self,
        command: Command,
        now: float,
        by: str = AGENT,
        evidence: Mapping[str, object] | None = None,
    ) -> None:
        """One verb, at a moment."""
        before = self.document()
        after = apply(before or Document("a11ce"), command, now)
        old = before.entry(command.rollout, _release(before, command)) if before else None
        entry = after.entry(command.rollout, _release(after, command))
        audit = Audit(
            now, by, command.verb.value, command.rollout, _told(old), _told(entry), command.why,
            after.revision, evidence or {},
        )  # fmt: skip
        assert self.store.swap(before.key if before else None, after, audit)

    def entry(self, name: str) -> Entry:
        document = self.document()
        assert document is not None
        found = document.entry(name, document.rollouts[name].current or "")
        assert found is not None
        return found


def _release(document: Document | None, command: Command) -> str:
    state = document.rollouts.get(command.rollout) if document else None
    return command.plan.canary if command.plan else (state.current or "" if state else "")


def _told(entry: Entry | None) -> str:
    return f"{entry.release} {entry.phase.value} {entry.weight / 1000:g}%" if entry else ""


@dataclass
class Traffic:
    """Requests of one rollout, counted as its processes count them.

    Args:
        shop: where.
        name: of the rollout.
        canary: how it behaves.
        stable: likewise.
        rate: requests a second.
    """

    shop: Shop
    name: str
    canary: Way = field(default_factory=Way)
    stable: Way = field(default_factory=Way)
    rate: float = 110.0

    def __post_init__(self) -> None:
        self.ledgers = Ledgers(run=self.shop.entry(self.name).run)
        self.firsts: list[First] = []
        self.left: dict[Cohort, float] = dict.fromkeys(Cohort, 0.0)

    def flow(self, since: float, until: float) -> None:
        """Traffic of a time in which nothing is done, with a point every ten seconds."""
        entry, chance = self.shop.entry(self.name), self.shop.chance
        at = since
        while at < until:
            at = min(at + EVERY, until)
            tide = 1 + 0.18 * math.sin(at / 700) + chance.uniform(-0.06, 0.06)
            for cohort, way in ((Cohort.CANARY, self.canary), (Cohort.STABLE, self.stable)):
                weight = entry.weight if cohort is Cohort.CANARY else FULL - entry.weight
                self._requests(entry, cohort, way, self.rate * EVERY * tide * weight / FULL)
            self.ledgers.upto = at
            store = self.shop.store
            assert isinstance(store, SeriesStore)
            store.append(self.name, slot_of(at), encode_point(point(entry, self.ledgers, at)))

    def baseline(self, at: float) -> None:
        """How long stable takes is known by now, and nobody waits for latency any more."""
        starts = tuple(self.ledgers.seen[Cohort.STABLE].starts)
        self.shop.do(
            Command(Verb.BASELINE, self.name, "enough of stable was seen", starts=starts), at
        )

    def _requests(self, entry: Entry, cohort: Cohort, way: Way, expected: float) -> None:
        chance, ledgers = self.shop.chance, self.ledgers
        self.left[cohort] += expected
        count, self.left[cohort] = int(self.left[cohort]), self.left[cohort] % 1
        seen = ledgers.seen.setdefault(cohort, Seen())
        cell = Cell(entry.period)
        entries = ledgers.entries.setdefault(Arm(cell, cohort), Entries())
        for _ in range(count):
            failed = chance.random() < way.failures
            missed = chance.random() < 0.021
            seconds = chance.lognormvariate(math.log(way.median), 0.55)
            kind = OutcomeClass.SERVER_ERROR if failed else OutcomeClass.SUCCESS
            seen.kinds[OutcomeClass.CLIENT_ERROR if missed and not failed else kind] += 1
            seen.starts[bucket_of(seconds)] += 1
            if chance.random() < 0.22:
                self._visitor(entry, cohort, entries, way, seconds, failed=failed)

    def _visitor(
        self,
        entry: Entry,
        cohort: Cohort,
        entries: Entries,
        way: Way,
        seconds: float,
        *,
        failed: bool,
    ) -> None:
        """The first request of a visitor."""
        chance = self.shop.chance
        entries.n += 1
        entries.failures += failed
        entries.latency[bucket_of(seconds)] += 1
        if failed:
            self.firsts.append(First("failures", chance.randrange(2**53), entry.period, cohort))
        matured = self.ledgers.slots.setdefault(Slot(Cell(entry.period), cohort, 0), Matured())
        matured.n += 1
        for guard in entry.plan.matured:
            share = {Metric.SHARE: way.buys, Metric.MEAN: way.buys, Metric.RETURNED: 0.41}.get(
                guard.metric, way.failures if guard.metric is Metric.FAILURES else 0.0
            )
            if chance.random() < share:
                at = chance.randrange(2, 9) if guard.metric is Metric.MEAN else 0
                matured.add(guard.name, at)
        seen = self.ledgers.seen[cohort]
        for guard in entry.plan.guards:
            if guard.of and chance.random() < way.buys:
                seen.observed.setdefault(guard.name, [0, 0])[0] += 1

    def ship(self) -> None:
        """What the processes say by now."""
        store, entry = self.shop.store, self.shop.entry(self.name)
        assert isinstance(store, measures.MeasuredStore)
        assert store.put(self.name, entry.release, "web-1", encode(self.ledgers))
        for at in range(0, len(self.firsts), 500):
            store.first(self.name, entry.release, entry.run, self.firsts[at : at + 500])
        self.firsts.clear()


def plan(stable: str, canary: str, path: str, *more: Guard, ramp: Ramp | None = None) -> Plan:
    return Plan.from_rollout(
        Rollout(
            "any", stable=stable, canary=canary, paths=[path], owner="shop-oncall@example.com",
            guards=(*Guard.defaults(), *more), ramp=ramp or Ramp(*RAMP, bake="15m"),
        )
    )  # fmt: skip


PLANS: Final = {
    "checkout": plan(
        "1.4.2", "1.5.0", "/checkout", Guard.never("charges", name="orders-charged-twice"),
        Guard.rate("conversions"), Guard.mean("revenue", cap=200.0),
    ),
    "search": plan(
        "7.1", "7.2", "/search", ramp=Ramp("5%", Step("50%", approval=True), "100%", bake="10m")
    ),
    "recommendations": plan("3.0.9", "3.1.0", "/recommendations"),
    "accounts": plan("2026.46", "2026.47", "/accounts"),
}  # fmt: skip


def fill(store: StateStore, now: float) -> None:
    """The afternoon up to now (wall-clock seconds)."""
    shop = Shop(store)
    report(store)
    _recommendations(shop, now)
    _search(shop, now)
    _checkout(shop, now)
    report(store)


def report(store: StateStore) -> None:
    """Four processes of two hosts, alive now, that say again what they have counted."""
    document = store.load().document
    revision = document.revision if document else -1
    for at, (host, pid) in enumerate(
        (("web-1", 411), ("web-1", 412), ("web-2", 388), ("web-2", 389))
    ):
        store.report(
            ProcessReport(f"p{at}", host, pid, "asgi", revision, 0.3 + 0.1 * at, PLANS, 2 + at)
        )
    assert isinstance(store, measures.MeasuredStore)
    for name, declared in PLANS.items():
        for boot, data, _ in store.read(name, declared.canary):
            store.put(name, declared.canary, boot, data)


def _checkout(shop: Shop, now: float) -> None:
    began = now - 50 * MINUTE
    shop.do(Command(Verb.START, "checkout", "payment form in one page", plan=PLANS["checkout"]),
            began, "ann@laptop")  # fmt: skip
    traffic = Traffic(shop, "checkout", Way(0.0042, 0.079, 0.066), Way(0.0044, 0.085, 0.061))
    traffic.flow(began, began + 3 * MINUTE)
    traffic.baseline(began + 3 * MINUTE)
    traffic.flow(began + 3 * MINUTE, began + 6 * MINUTE)
    at = began + 6 * MINUTE
    for words in ("1% held for 22 min; on to 5%", "5% held for 16 min; on to 25%"):
        traffic.flow(at, at + 16 * MINUTE)
        at += 16 * MINUTE
        traffic.ship()
        shop.do(Command(Verb.ADVANCE, "checkout", words), at)
    traffic.flow(at, now)
    traffic.ship()


def _search(shop: Shop, now: float) -> None:
    began = now - 27 * MINUTE
    shop.do(Command(Verb.START, "search", plan=PLANS["search"]), began, "deploy@ci")
    traffic = Traffic(shop, "search", Way(0.002, 0.046), Way(0.0021, 0.052), rate=60)
    traffic.flow(began, began + 3 * MINUTE)
    traffic.baseline(began + 3 * MINUTE)
    traffic.flow(began + 3 * MINUTE, began + 12 * MINUTE)
    traffic.ship()
    why = "5% held for 12 min; 50% needs an approval"
    shop.do(Command(Verb.AWAIT, "search", why), began + 12 * MINUTE)
    traffic.flow(began + 12 * MINUTE, now)
    traffic.ship()


def _recommendations(shop: Shop, now: float) -> None:
    began = now - 55 * MINUTE
    name = "recommendations"
    shop.do(Command(Verb.START, name, plan=PLANS[name]), began, "bob@laptop")
    traffic = Traffic(shop, name, Way(0.0035, 0.09), Way(0.0035, 0.09), rate=45)
    traffic.flow(began, began + 3 * MINUTE)
    traffic.baseline(began + 3 * MINUTE)
    traffic.flow(began + 3 * MINUTE, began + 16 * MINUTE)
    traffic.ship()
    shop.do(Command(Verb.ADVANCE, name, "1% held for 16 min; on to 5%"), began + 16 * MINUTE)
    traffic.canary = replace(traffic.canary, failures=0.14, median=0.2)
    traffic.flow(began + 16 * MINUTE, began + 20 * MINUTE)
    traffic.ship()
    entry, at = shop.entry(name), began + 20 * MINUTE
    found = measures.read(shop.store, name, entry)
    evidence = evidence_of(found.verdict, entry, 240.0, seen=found.ledgers.seen)
    shop.do(Command(Verb.ROLLBACK, name, _sentence(found, entry)), at, evidence=evidence)
    traffic.flow(at, now)
    traffic.ship()


def _sentence(found: measures.Measured, entry: Entry) -> str:
    return sentence(found.verdict, entry, did="rolled back")
