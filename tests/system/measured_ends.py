"""W1, W2, W3 and W12: a ramp that goes on while workers die and stop and the store is away.

What clients saw is compared with what was counted: never more, and less by one flush at most.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import statistics
import time
from dataclasses import dataclass, field

from canary_middleware.core.gauge import GATE
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit
from canary_middleware.measures import MeasuredStore
from tests.support.fault_proxy import FaultProxy
from tests.system.measured_rows import Fleet, until
from tests.system.people import People, Told

FLUSH = 0.5
"""Seconds: the interval of a quarter, and what a turn takes on a busy machine."""
TAKEOVER = 5.0
HEARS = 2.0
"""Seconds within which a process that comes back has heard of what it missed."""


@dataclass
class Ends:
    """One ramp and all that happens to it.

    Attributes:
        name: of the rollout.
        pause: seconds for which a leader is stopped.
        away: seconds for which the store is away, and then slow.
        folded: the pause is so long that the others take it for dead.
    """

    fleet: Fleet
    proxy: FaultProxy
    name: str = "steady"
    pause: float = 6.0
    away: float = 3.0
    folded: bool = False
    report: list[str] = field(default_factory=list)
    lost: list[Told] = field(default_factory=list)
    behind: list[tuple[float, float, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = People(self.fleet.ports, [self.name], rate=50.0, patience=self.pause + 10)

    async def run(self) -> None:
        crowd = asyncio.create_task(self.people.run(300.0))
        try:
            await self._story()
        finally:
            self.people.stopped = True
            await crowd
        await asyncio.sleep(2.5)  # the last outcomes are booked and shipped
        self._nobody_flips()
        self._nothing_is_counted_twice()

    async def _story(self) -> None:
        await asyncio.sleep(3.0)
        await asyncio.to_thread(self.fleet.start, self.name)
        await self._advanced(1)
        await self._kill()
        await self._stop()
        await self._away()
        steps = [line.new.split()[-1] for line in self._advances()]
        assert steps == [f"{15 + 6 * (n + 1)}%" for n in range(len(steps))], steps
        revisions = [line.revision for line in self.fleet.store.history(self.name, 100)]
        assert revisions == sorted(set(revisions), reverse=True)
        assert not self.fleet.history(self.name, "rollback")
        self.report.append(f"W2, W3: {len(steps)} steps, each once, in {len(revisions)} revisions")

    def _advances(self) -> list[Audit]:
        return self.fleet.history(self.name, "advance")

    async def _advanced(self, times: int, within: float = 30.0) -> Audit:
        """Wait until the ramp has advanced so often; returns the last line of history."""
        await until(lambda: len(self._advances()) < times, within)
        return self._advances()[-1]

    def _leader(self) -> int:
        return int(self._advances()[-1].by.split()[1].partition("@")[0])

    async def _kill(self) -> None:
        """W1, W2."""
        people, before = self.people, len(await asyncio.to_thread(self._advances))
        pid = self._leader()
        port, _ = self.fleet.by_pid(pid)
        people.gone.add(port)
        in_flight, at = people.under_way[port], time.time()
        os.kill(pid, signal.SIGKILL)
        bake = self.fleet.entry(self.name).plan.course.bakes[0]
        due = max(at, self._advances()[-1].at + bake)
        line = await self._advanced(before + 1)
        assert line.at - due <= TAKEOVER, "somebody else goes on"
        assert len(people.broken) <= in_flight, people.broken
        self._may_miss(port, at)
        self.report.append(
            f"W1: lost {len(people.broken)} (limit {in_flight}, those in flight); "
            f"W2: goes on {line.at - due:.1f} s after it was due (limit {TAKEOVER:.0f})"
        )

    async def _stop(self) -> None:
        """W3."""
        people, boots = self.people, self._boots()
        pid, broken = self._leader(), len(people.broken)
        port, process = self.fleet.by_pid(pid)
        people.gone.add(port)
        self._may_miss(port, time.time())
        process.signal(signal.SIGSTOP)
        stopped, known = time.time(), self._advances()
        await asyncio.sleep(self.pause)
        meanwhile = self._advances()[len(known) :]
        process.signal(signal.SIGCONT)
        self.behind.append((time.time(), time.time() + HEARS, port))
        self._may_miss(port, time.time() + FLUSH)
        people.gone.discard(port)
        assert meanwhile, "others lead meanwhile"
        assert all(str(pid) not in line.by for line in meanwhile)
        await self._advanced(len(known) + len(meanwhile) + 1)
        await asyncio.sleep(1.0)
        fresh = self._boots() - boots
        assert len(fresh) == self.folded, "who was folded begins anew, under another id"
        assert len(people.broken) == broken
        self.report.append(
            f"W3: stopped for {self.pause:.0f} s, others advanced {len(meanwhile)} times, at first "
            f"after {meanwhile[0].at - stopped:.1f} s; {len(fresh)} new boot ids after SIGCONT"
        )

    async def _away(self) -> None:
        """W12."""
        people, before = self.people, len(self._advances())
        broken, at = len(people.broken), time.time()
        self.proxy.black_hole()
        await asyncio.sleep(self.away)
        back = time.time()
        assert len(self._advances()) - before <= 1, "one that was under way, and no other"
        self.proxy.heal()
        self.proxy.latency = 0.1
        await asyncio.sleep(self.away / 2)
        for _ in range(10):
            self.proxy.cut()  # with latency: what was written is not known to be
            await asyncio.sleep(0.15)
        self.proxy.heal()
        self.behind.append((at, time.time() + HEARS, None))
        line = await self._advanced(len(self._advances()) + 1)
        during = [one.took for one in people.told if at < one.at < back]
        usual = [one.took for one in people.told if one.at < at]
        more = p99(during) - p99(usual)
        assert more <= 0.25
        assert len(people.broken) == broken
        self.report.append(
            f"W12: store away for {self.away:.0f} s: lost 0, p99+ {1000 * more:.0f} ms, no advance,"
            f" no rollback; advanced {line.at - back:.1f} s after its return; OTLP refused"
        )

    def _may_miss(self, port: int, at: float) -> None:
        """What a process counted within one flush before a moment may be lost with it."""
        told = self.people.told
        self.lost += [one for one in told if one.port == port and at - FLUSH < one.at <= at]

    def _boots(self) -> set[str]:
        store = self.fleet.store
        assert isinstance(store, MeasuredStore)
        return {one.boot for one in store.read(self.name, "1.5.0") if one.boot}

    # --- at the end -----------------------------------------------------------------------------

    def _nobody_flips(self) -> None:
        raised = [line.at for line in self._advances()]
        flips = 0
        visits = sorted(self.people.drawn(self.name), key=lambda one: (one.visitor, one.at))
        for earlier, later in itertools.pairwise(visits):
            if earlier.visitor != later.visitor or earlier.cohort == later.cohort:
                continue
            on = earlier.cohort == "stable"
            moved = any(earlier.at - earlier.took - 2 < at < later.at for at in raised)
            flips += not ((on and moved) or self._behind(earlier) or self._behind(later))
        assert flips == 0, flips
        self.report.append(f"W1 to W3, W12: flips 0 of {len(visits)} answers (limit 0)")

    def _behind(self, one: Told) -> bool:
        """Whether its process could not know of the last raise yet: stopped, or without a store."""
        return any(a <= one.at <= b and port in (None, one.port) for a, b, port in self.behind)

    def _nothing_is_counted_twice(self) -> None:
        people, ledgers = self.people, self.fleet.counted(self.name)
        drawn, unknown = people.drawn(self.name), len(people.broken) + people.impatient
        counted = sum(one.n for one in ledgers.seen.values())
        assert len(drawn) - len(self.lost) <= counted <= len(drawn) + unknown
        seen = {one.visitor for one in drawn if one.cohort == "canary"}
        entered = sum(one.n for arm, one in ledgers.entries.items() if arm.cohort is Cohort.CANARY)
        assert 0 < entered <= len(seen) + unknown, (entered, len(seen), unknown)
        # Whoever waited as long as the age gate failed, whatever came then.
        late = 0.9 * GATE
        failed = {(o.visitor, o.cohort) for o in drawn if o.status >= 500 or o.took >= late}
        store, entry = self.fleet.store, self.fleet.entry(self.name)
        assert isinstance(store, MeasuredStore)
        kinds = store.firsts(self.name, "1.5.0", entry.run)
        firsts = sum(count for (kind, *_), count in kinds.items() if kind == "failures")
        assert 0 < firsts <= len(failed) + unknown, (firsts, len(failed), unknown)
        self.report.append(
            f"counted {counted} of {len(drawn)} answers (may miss {len(self.lost)}, may add "
            f"{unknown}), {entered} of {len(seen)} canary visitors, {firsts} of {len(failed)} who "
            "failed: nothing twice"
        )


def p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[-1]
