"""Processes that measure one rollout on one store, with clocks to turn and nobody asleep."""

from __future__ import annotations

from dataclasses import dataclass, field

from canary_middleware import verbs
from canary_middleware.agent.gating import Gating
from canary_middleware.agent.leading import TICK
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.measuring import Measuring
from canary_middleware.core.guards import Guard, Precaution
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Entry, Plan, Verb
from canary_middleware.core.throw import Cell, Sight
from canary_middleware.core.totals import Arm, Entries, Ledgers, Seen
from canary_middleware.core.transitions import Command, apply
from canary_middleware.engine.tally import Entrance, Question
from canary_middleware.measures import MeasuredStore
from canary_middleware.stores.protocol import Entered, First
from tests.agent.held import Counted, Held

NAME, RELEASE = "checkout", "2"
BAKE = 40
ROLLOUT = Rollout(
    NAME, stable="1", canary=RELEASE, owner="me", guards=[Guard.errors(margin=None)],
    precaution=Precaution(), ramp=Ramp("5%", "50%", "100%", bake=f"{BAKE}s", samples=5),
)  # fmt: skip
PLAN = Plan.from_rollout(ROLLOUT)


@dataclass
class Time:
    """Both clocks of a machine, in seconds."""

    monotonic: float = 1_000.0
    wall: float = 1_800_000_000.0

    def go(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


@dataclass
class Worker:
    """One process: what it counted, and its turns."""

    name: str
    store: MeasuredStore
    time: Time
    skew: float = 0.0
    chance: float = 0.0
    held: Held = field(default_factory=Held)
    deaf: bool = False
    gates: Gating | None = None

    def __post_init__(self) -> None:
        self.loops = Loops(self._clock)
        self.measuring = Measuring(
            self.store,
            lambda: self.held.measuring,
            followed=lambda: self.held.document,
            adopt=self.held.adopt,
            owner=self.name,
            name=self.name,
            loops=self.loops,
            count=self.held.recorder.count,
            clock=self._clock,
            wall=lambda: self.time.wall + self.skew,
            chance=lambda: self.chance,
            gates=self.gates,
        )

    def _clock(self) -> float:
        return self.time.monotonic

    @property
    def counted(self) -> Counted:
        return self.held.measuring

    @property
    def entry(self) -> Entry:
        found = self.held.document.entry(NAME, RELEASE) if self.held.document else None
        assert found is not None
        return found

    def hear(self) -> None:
        self.held.adopt(self.store.load().document)

    def turn(self) -> None:
        if not self.deaf:
            self.hear()
        if self.held.document is not None and self.held.document.rollouts:
            self.ledgers()
        for ledgers in self.counted.totals.values():
            ledgers.upto = self.time.wall + self.skew - 1.0
        self.measuring.turn(online=True)

    # --- what visitors do -----------------------------------------------------------------------

    def ledgers(self) -> Ledgers:
        mine = self.counted.totals.setdefault((NAME, RELEASE), Ledgers(run=self.entry.run))
        if mine.run != self.entry.run:
            mine = self.counted.totals[NAME, RELEASE] = Ledgers(run=self.entry.run)
        return mine

    def visitors(self, cohort: Cohort, count: int, failures: int = 0, bucket: int = 40) -> None:
        """First requests of so many new visitors, all of whom are fine but for ``failures``."""
        arm = Arm(Cell(self.entry.period), cohort)
        entries = self.ledgers().entries.setdefault(arm, Entries())
        entries.n += count
        entries.failures += failures
        entries.latency[bucket] += count
        seen = self.ledgers().seen.setdefault(cohort, Seen())
        seen.kinds[2] += count - failures
        seen.kinds[5] += failures
        seen.starts[bucket] += count

    def coming_back(self, cohort: Cohort, batch: str, *visitors: int) -> None:
        """First requests in this period, by coins that other processes may have booked as well."""
        period = self.entry.period
        arm, sight = Arm(Cell(period), cohort), Sight(0, 0)
        came = [
            Entrance(Entered(one, period), arm, sight, self.time.monotonic, False, False, 40)
            for one in visitors
        ]
        self.ledgers()
        run = self.entry.run
        self.counted.asked.append(Question(NAME, RELEASE, run, batch, tuple(came)))

    def failing(self, cohort: Cohort, *visitors: int) -> None:
        events = [First("failures", one, self.entry.period, cohort) for one in visitors]
        self.counted.firsts.append((NAME, RELEASE, self.entry.run, events))


def start(
    store: MeasuredStore, time: Time, plan: Plan = PLAN, before: Document | None = None
) -> Document:
    command = Command(Verb.START, NAME, plan=plan)
    document = apply(before or Document("ab12"), command, time.wall)
    line = Audit(time.wall, "me", "start", NAME, "", "", "", document.revision)
    assert store.swap(before.key if before else None, document, line)
    return document


def run(time: Time, seconds: float, *workers: Worker, every: float = TICK) -> None:
    """Everybody's turns, one after the other, for so long."""
    until = time.monotonic + seconds
    while time.monotonic < until:
        time.go(every)
        for worker in workers:
            worker.turn()


def moves(store: MeasuredStore) -> list[tuple[str, str]]:
    """What was done and by whom, oldest first, without the start and baselines."""
    lines = verbs.history(store, NAME, 99)[::-1]
    return [(line.action, line.by) for line in lines if line.action not in ("start", "baseline")]
