"""A drill from its beginning to its end, as the store shows it."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, replace
from typing import Final, Self

from canary_middleware import verbs
from canary_middleware.cli.show import say
from canary_middleware.core.controller import AFTERMATH
from canary_middleware.core.drill import DRILLED, Drill
from canary_middleware.core.effects import BREACH
from canary_middleware.core.evidence import read
from canary_middleware.core.gauge import gate_of
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Entry, Phase, Verb
from canary_middleware.core.totals import Seen
from canary_middleware.errors import StoreCorruptError, StoreError, VerbRefusedError
from canary_middleware.measures import NO_TOTALS, Measured, MeasuredStore, Reader
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore

EVERY: Final = 0.2
"""Seconds between two looks at the store."""
ALOUD: Final = 1.0
"""Seconds between two lines about how it goes."""
LATER: Final = AFTERMATH + 5.0
"""Seconds after its last outcomes are booked in which whoever leads should have settled it."""
TAIL: Final = 8.0
"""Seconds after an end in which the last counts arrive: nobody hurries with what has ended."""
BEHIND: Final = 1.0
"""Seconds after an end in which answers that were under way are counted."""
_LINES: Final = 50


class Way(enum.StrEnum):
    """How a drill ended."""

    ROLLED_BACK = "rolled_back"
    PAUSED = "paused"
    PRECAUTION = "precaution"
    KILLED = "killed"
    BY_HAND = "by_hand"
    STOPPED = "stopped"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a drill.

    Attributes:
        drill: see there.
        release: canary label.
        way: how it ended.
        after: seconds until that was seen here; ``None`` where nothing was found.
        guard: that found it.
        why: what was said of it.
        requests: canary requests that were hit.
        visitors: visitors who were hit; ``None`` where nobody is followed (policy ``request``).
        canary_requests: since its beginning.
        canary_visitors: of the whole run, those who count.
        last: seconds until the totals of the last canary answer arrived.
        strongest: the guard that held most, in words.
        ended: nothing is injected any more.
    """

    drill: Drill
    release: str
    way: Way = Way.EXPIRED
    after: float | None = None
    guard: str | None = None
    why: str = ""
    requests: int = 0
    visitors: int | None = 0
    canary_requests: int = 0
    canary_visitors: int = 0
    last: float | None = None
    strongest: str = ""
    ended: bool = False

    @property
    def detected(self) -> bool:
        """Whether a guard found it, and what its ramp says was done."""
        return self.way in (Way.ROLLED_BACK, Way.PAUSED) and self.guard is not None


class Rehearsal:
    """A drill that is under way.

    Args:
        store: where the state is.
        rollout: its name.
        begun: the state that the drill made.
        release: canary label.
        drill: see there.
        before: canary requests of the run before the drill.
        aloud: say how it goes.

    Raises:
        StoreError: the store keeps no totals.
    """

    def __init__(
        self,
        store: StateStore,
        rollout: str,
        begun: Document,
        release: str,
        drill: Drill,
        *,
        before: int,
        aloud: bool,
    ) -> None:
        self._store = _measured(store)
        self._before = before
        self._rollout = rollout
        self._release = release
        self._revision = begun.revision
        self._entry = self._of(begun)
        self._reader = Reader(self._store, rollout, release)
        self._at = time.monotonic()
        self._result = Result(drill, release)
        self._aloud = aloud
        self._said = ""
        self._say_at = self._at + ALOUD

    @classmethod
    def begin(
        cls,
        store: StateStore,
        rollout: str,
        entry: Entry,
        drill: Drill,
        *,
        why: str = "",
        aloud: bool = False,
    ) -> Self:
        """Begin a drill; its clock starts now, however long somebody was asked before."""
        before = _seen(Reader(_measured(store), rollout, entry.release).read(entry)).n
        drill = replace(drill, begun=time.time())
        what = f"drill: {drill} for {drill.seconds} s" + (f"; {why}" if why else "")
        begun = verbs.drill(store, rollout, drill, by=drill.by, why=what, release=entry.release)
        return cls(store, rollout, begun, entry.release, drill, before=before, aloud=aloud)

    def watch(self) -> Result:
        """Until it was found, it was ended, or its time is over; then it is settled.

        Raises:
            StoreError: the store was away when it should have ended.
        """
        until = self._at + self._result.drill.seconds + gate_of(self._entry) + LATER
        lost: StoreError | None = None
        while (now := time.monotonic()) < until:
            try:
                if self._look():
                    return self._ended()
                lost = None
            except StoreCorruptError:
                raise
            except StoreError as error:
                lost = error  # the drill goes on without us; so does waiting
            time.sleep(max(0.0, EVERY - (time.monotonic() - now)))
        if lost is not None:
            raise lost
        self.settle("its time is over and nothing was found")
        return self._result

    def settle(self, why: str) -> None:
        """End it; nothing happens where somebody else did."""
        try:
            verbs.settle(
                self._store, self._rollout, by=self._result.drill.by, why=f"drill: {why}",
                release=self._release,
            )  # fmt: skip
        except VerbRefusedError:
            return

    # --- private --------------------------------------------------------------------------------

    def _of(self, document: Document) -> Entry:
        found = document.entry(self._rollout, self._release)
        if found is None:
            raise VerbRefusedError(f"{self._rollout}: {self._release} is gone")
        return found

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._at

    def _look(self) -> bool:
        """Whether it has ended."""
        loaded = self._store.load()
        if loaded.corrupt is not None:
            raise loaded.corrupt
        if loaded.document is None:
            return False  # lost; a process brings it back
        entry, drill = self._of(loaded.document), self._result.drill
        if entry.run != self._entry.run:
            late = self._passed >= drill.seconds
            self._result = replace(self._result, way=Way.EXPIRED if late else Way.STOPPED)
            return True
        self._entry = entry
        self._count(self._reader.read(entry))
        if loaded.document.killed(self._rollout) or loaded.kill_key is not None:
            self._result = replace(self._result, way=Way.KILLED)
            return True
        if entry.phase is Phase.ROLLED_BACK or entry.stopped == BREACH:
            self._found(entry)
            return True
        if not entry.weight:
            by_hand = not self._did(Verb.PRECAUTION)
            self._result = replace(self._result, way=Way.BY_HAND if by_hand else Way.PRECAUTION)
            return True
        return False

    def _found(self, entry: Entry) -> None:
        back = entry.phase is Phase.ROLLED_BACK
        line = self._did(Verb.ROLLBACK if back else Verb.PAUSE)
        if line is None or not line.evidence:
            self._result = replace(self._result, way=Way.BY_HAND, why=entry.why)
            return
        told = read(line.evidence)
        breaches = told.verdict.breaches
        self._result = replace(
            self._result,
            way=Way.ROLLED_BACK if back else Way.PAUSED,
            after=self._passed,
            guard=breaches[0].guard if breaches else None,
            why=line.why or told.sentence(),
        )

    def _did(self, verb: Verb) -> Audit | None:
        lines = self._store.history(self._rollout, _LINES)
        return next(
            (one for one in lines if one.action == verb.value and one.revision > self._revision),
            None,
        )

    def _ended(self) -> Result:
        """With the counts of what was still under way."""
        self._result = replace(self._result, ended=True)
        if self._result.way in (Way.ROLLED_BACK, Way.BY_HAND, Way.PRECAUTION):
            end, told = time.monotonic() + TAIL, 0.0
            while time.monotonic() < end and told < self._entry.since + BEHIND:
                time.sleep(EVERY)
                measured = self._reader.read(self._entry)
                told = measured.ledgers.upto
                self._count(measured)
        elif self._result.way is Way.PAUSED:
            self.settle("it was found")
        return self._result

    def _count(self, measured: Measured) -> None:
        """What the processes tell; sums never shrink, but one of them may be unreadable."""
        before, seen = self._result, _seen(measured)
        per_request = self._entry.plan.policy is Policy.REQUEST
        answers = seen.n - self._before
        self._result = replace(
            before,
            requests=max(before.requests, seen.observed.get(DRILLED, [0])[0]),
            visitors=None if per_request else _visitors(measured),
            canary_requests=max(before.canary_requests, answers),
            canary_visitors=measured.verdict.visitors[0],
            last=self._passed if answers > before.canary_requests else before.last,
            strongest=_strongest(measured),
        )
        self._tell()

    def _tell(self) -> None:
        found, now = self._result, time.monotonic()
        if not self._aloud or found.ended or now < self._say_at:
            return
        self._say_at = now + ALOUD
        line = f"{_some(found.requests, 'request')} hit"
        if found.visitors is not None:
            line += f", {_some(found.visitors, 'visitor')}"
        line += f"; {found.strongest}" if found.strongest else ""
        if line != self._said:
            self._said = line
            say(shown(f"  {self._passed:4.0f} s  {line}"))


def _some(count: int, unit: str) -> str:
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def _measured(store: StateStore) -> MeasuredStore:
    if not isinstance(store, MeasuredStore):
        raise StoreError(NO_TOTALS)
    return store


def _seen(measured: Measured) -> Seen:
    """All that went to the canary in this run."""
    return measured.ledgers.seen.get(Cohort.CANARY) or Seen()


def _visitors(measured: Measured) -> int:
    """Whom it hit, each counted once by the store, whichever process met them."""
    firsts = measured.evidence.firsts.items()
    return sum(count for (kind, _, _), count in firsts if kind == DRILLED)


def _strongest(measured: Measured) -> str:
    """The guard that holds most of what a rollback needs."""
    findings = [one for one in measured.verdict.findings if one.threshold > 0]
    best = max(findings, key=lambda one: one.log_e / one.threshold, default=None)
    if best is None or best.log_e <= 0:
        return ""
    return (
        f"{best.guard} {min(99, int(100 * best.log_e / best.threshold))}% of what a rollback needs"
    )
