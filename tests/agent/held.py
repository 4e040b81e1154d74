"""The smallest thing that an agent can keep in step."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import Document, Kill, Plan, Verb
from canary_middleware.core.totals import Entries, Ledgers
from canary_middleware.core.transitions import Command, apply
from canary_middleware.core.verdict import Verdict
from canary_middleware.engine.claims import Claims
from canary_middleware.engine.recorder import Recorder
from canary_middleware.engine.tally import Question
from canary_middleware.stores.protocol import First

ROLLOUT = Rollout("checkout", stable="1", canary="2", ramp=Ramp("20%", "50%"))


def started(lineage: str = "ab12") -> Document:
    plan = Plan.from_rollout(ROLLOUT)
    return apply(Document(lineage), Command(Verb.START, "checkout", plan=plan), 5.5)


Batch = tuple[str, str, int, list[First]]


@dataclass
class Counted:
    """What a process counted, as a test says."""

    totals: dict[tuple[str, str], Ledgers] = field(default_factory=dict)
    firsts: list[Batch] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    settled: list[Sequence[bool]] = field(default_factory=list)
    booked: list[float] = field(default_factory=list)
    restarts: int = 0
    waiting: int = 0
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    def book(self, now: float) -> None:
        self.booked.append(now)

    def ledgers(self) -> dict[tuple[str, str], Ledgers]:
        copies = {release: Ledgers(one.run, one.upto) for release, one in self.totals.items()}
        for release, one in self.totals.items():
            copies[release].merge(one)
        return copies

    def questions(self) -> list[Question]:
        return list(self.asked)

    def settle(self, question: Question, firsts: Sequence[bool]) -> None:
        self.asked.remove(question)
        self.settled.append(firsts)
        for entrance, first in zip(question.entrances, firsts, strict=True):
            if first:
                entries = self.totals[question.rollout, question.release].entries
                entries.setdefault(entrance.arm, Entries()).n += 1

    def overdue(self, rollout: str, seconds: float) -> int:
        return self.waiting if seconds > 0 and rollout else 0

    def take_firsts(self) -> list[Batch]:
        taken, self.firsts = self.firsts, []
        return taken

    def put_back(self, batch: Batch) -> None:
        self.firsts.append(batch)

    def judged(self, rollout: str, release: str, verdict: Verdict) -> None:
        self.verdicts[rollout, release] = verdict

    def restart(self, rollout: str, release: str) -> None:
        self.restarts += 1
        self.totals[rollout, release] = Ledgers(run=self.totals[rollout, release].run)


@dataclass
class Held:
    """Remembers all that it was told."""

    document: Document | None = None
    confirmed_at: float = -math.inf
    rollouts: tuple[Rollout, ...] = (ROLLOUT,)
    local_kill: Kill | None = None
    adopted: list[Document | None] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)
    measuring: Counted = field(default_factory=Counted)
    claims: Claims = field(default_factory=lambda: Claims(time.monotonic, lambda _: None))

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        self.document, self.local_kill = document, local_kill
        self.adopted.append(document)

    def confirm(self, now: float) -> None:
        self.confirmed_at = now

    @property
    def killed(self) -> bool:
        return self.local_kill is not None or bool(
            self.document and self.document.killed("checkout")
        )

    @property
    def weight(self) -> int | None:
        entry = self.document.entry("checkout", "2") if self.document else None
        return entry.weight if entry else None
