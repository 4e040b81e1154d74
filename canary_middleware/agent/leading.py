"""Judges the releases of a namespace and moves them: one process leads, any may protect people."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from canary_middleware import verbs
from canary_middleware.agent.elapsed import Stays
from canary_middleware.agent.gating import Gating
from canary_middleware.agent.precaution import broken
from canary_middleware.agent.troubles import Attempts, Troubles
from canary_middleware.core.caps import stable_values, usual_cap
from canary_middleware.core.command import Command
from canary_middleware.core.controller import Move, Situation, asks, decide
from canary_middleware.core.evidence import evidence_of
from canary_middleware.core.model import Cohort
from canary_middleware.core.promotion import BASELINE
from canary_middleware.core.state import ACTIVE, Document, Entry, Verb
from canary_middleware.core.totals import Ledgers
from canary_middleware.core.verdict import Verdict
from canary_middleware.measures import LEASE, SILENT, WATCHERS, Measured, MeasuredStore, Reader

logger = logging.getLogger("canary_middleware")

TICK: Final = 0.25
"""Seconds between two turns while something is measured."""
RENEW_EVERY: Final = 1.0
"""Seconds between two renewals of the lease."""
ASK_EVERY: Final = 0.5
"""Seconds between two questions of one of a few who do not have it."""
AT_EASE: Final = 2.0
"""Seconds between two turns from which on this process was stopped, and all others look silent."""
AT_ONCE: Final = 8
"""Moves in one turn, so that no release waits for the next one because another one moved."""
PROTECTS: Final = frozenset({Verb.ROLLBACK, Verb.PRECAUTION, Verb.PAUSE})
"""What needs no lease."""


class Holding:
    """The lease of this process, or its wish for it."""

    def __init__(
        self, store: MeasuredStore, owner: str, attempts: Attempts, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._owner = owner
        self._attempts = attempts
        self._clock = clock
        self._next = self._until = -math.inf
        self.since = math.inf

    def held(self, processes: int) -> bool:
        """Whether this process leads; asks now and then, the more rarely the more others do."""
        now = self._clock()
        if now >= self._next:
            self._ask(now)
            pause = RENEW_EVERY if self._until > now else ASK_EVERY * max(1.0, processes / WATCHERS)
            self._next = now + min(pause, LEASE)
        return now < self._until

    def _ask(self, now: float) -> None:
        answers: list[bool] = []
        self._attempts.make(lambda: answers.append(self._store.hold(self._owner, LEASE)))
        if True in answers:
            # From before the question: the store counts from when it answered.
            self.since = self.since if now < self._until else now
            self._until = now + LEASE
        elif False in answers:
            self.give_up()

    def give_up(self) -> None:
        """Somebody else has it, or it has run out."""
        self._until, self.since = -math.inf, math.inf

    def give_back(self) -> None:
        """Nothing is left to lead, or this process ends."""
        if self._clock() < self._until:
            self._attempts.make(lambda: self._store.release(self._owner))
        self.give_up()
        self._next = -math.inf


@dataclass
class _Followed:
    """What is remembered of one release between two looks."""

    reader: Reader
    run: int = -1
    processes: int = 1
    looked_at: float = -math.inf
    visitors: int = 0
    visited_at: float = -math.inf

    def note(self, entry: Entry, found: Measured, now: float) -> None:
        visitors = _canary(found.ledgers)
        if (entry.run, visitors) != (self.run, self.visitors):
            self.run, self.visitors, self.visited_at = entry.run, visitors, now
        self.processes = max(1, found.processes)

    def idle(self, now: float) -> float:
        return now - self.visited_at if self.visitors else math.inf


class Leading:
    """Body of a turn: take the lease or do without, look, judge, decide, act.

    Args:
        store: everything that is shared.
        owner: random id of this process.
        name: of this process, for history.
        followed: the document that is followed now.
        adopt: follows what was written, without waiting for its push.
        troubles: tells what fails.
        count: counts a rare event; see docs/telemetry.md.
        judged: is told of every verdict: rollout, release, verdict.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        chance: uniform in [0, 1).
        gates: asks webhooks that must agree.

    Attributes:
        many: how many processes there were when something was measured last.
    """

    def __init__(
        self,
        store: MeasuredStore,
        *,
        owner: str,
        name: str,
        followed: Callable[[], Document | None],
        adopt: Callable[[Document], object],
        troubles: Troubles,
        count: Callable[[str], None],
        judged: Callable[[str, str, Verdict], object],
        clock: Callable[[], float],
        wall: Callable[[], float],
        chance: Callable[[], float],
        gates: Gating,
    ) -> None:
        self._store = store
        self._gates = gates
        self._judged = judged
        self._name = name
        self._followed = followed
        self._adopt = adopt
        self._troubles = troubles
        self._count = count
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._reading = Attempts("evidence", troubles, count, clock)
        self._acting = Attempts("ramp", troubles, count, clock)
        self._folding = Attempts("folding", troubles, count, clock)
        self._lease = Holding(store, owner, Attempts("lease", troubles, count, clock), clock)
        self._stays = Stays(clock, wall)
        self._releases: dict[tuple[str, str], _Followed] = {}
        self._turned_at = self._at_ease_since = -math.inf
        self.many = 1

    def processes(self, name: str, release: str) -> int:
        """How many measured a release when it was last looked at; at least this one."""
        found = self._releases.get((name, release))
        return found.processes if found is not None else 1

    def turn(self) -> None:
        """Look at every measured release that is on its way."""
        now = self._clock()
        if now - self._turned_at > AT_EASE:
            self._at_ease_since = now
        self._turned_at = now
        for _ in range(AT_ONCE):
            if not self._round():
                return

    def _round(self) -> bool:
        """Whether something was done, so that the others have to be decided on what is now."""
        document = self._followed()
        self._stays.hear(document)
        work = list(measured(document))
        keys = {(name, entry.release) for name, entry in work}
        self._releases = {key: one for key, one in self._releases.items() if key in keys}
        if document is None or not work:
            self._lease.give_back()
            return False
        self.many = max(self.processes(*key) for key in keys)
        leads = self._lease.held(self.many)
        return any(
            self._is_due(name, entry, leads=leads) and self._try(document, name, entry, leads)
            for name, entry in work
        )

    def leave(self) -> None:
        """This process ends."""
        self._lease.give_back()

    # --- private --------------------------------------------------------------------------------

    def _is_due(self, name: str, entry: Entry, *, leads: bool) -> bool:
        key, now = (name, entry.release), self._clock()
        one = self._releases.get(key)
        if one is None:
            one = self._releases[key] = _Followed(Reader(self._store, *key))
        due = now - one.looked_at >= pace(one.processes, leads=leads) - TICK / 2
        if not due or not (leads or self._chance() * one.processes < WATCHERS):
            return False
        one.looked_at = now
        return self._reading.allowed

    def _try(self, document: Document, name: str, entry: Entry, leads: bool) -> bool:
        what = f"judging {name}"
        try:
            done = self._look(document, name, entry, leads)
        except Exception as error:  # whatever it is, the other releases have to be judged
            logger.debug("%s", what, exc_info=error)
            self._count("error_judge")
            self._troubles.begin(what, repr(error))
            return False
        self._troubles.end(what)
        return done

    def _look(self, document: Document, name: str, entry: Entry, leads: bool) -> bool:
        """Whether something was done."""
        one = self._releases[name, entry.release]
        found: list[Measured] = []
        if not self._reading.make(lambda: found.append(one.reader.read(entry))):
            return False
        measures = found[0]
        one.note(entry, measures, self._clock())
        self._judged(name, entry.release, measures.verdict)
        if not leads and measures.processes > WATCHERS:
            # Its next look is far away, and what it would keep until then is large.
            one.reader = Reader(self._store, name, entry.release)
        self._tell_refused(name, measures)
        situation = self._situation(name, entry, measures, one)
        if leads:
            situation = self._asked(name, situation, measures)
        move = decide(situation)
        if move is not None and (leads or _protects(move, situation)):
            return self._act(document, name, entry, move, measures, situation.elapsed)
        if not leads:
            return False
        self._fold(one.reader, entry)
        return self._freeze(document, name, entry, measures)

    def _situation(self, name: str, entry: Entry, found: Measured, one: _Followed) -> Situation:
        stay = {period.revision for period in entry.stay} if entry.periods else {entry.period}
        ledgers, precaution = found.ledgers, entry.plan.precaution
        seen = ledgers.seen.get(Cohort.CANARY)
        anything = bool(found.processes or ledgers.entries or ledgers.seen)
        return Situation(
            entry=entry,
            verdict=found.verdict if anything else None,
            now=self._wall(),
            elapsed=self._stays.elapsed(name, entry.release),
            sampled=_canary(ledgers, stay),
            visitors=_canary(ledgers),
            requests=seen.n if seen is not None else 0,
            idle=one.idle(self._clock()),
            fresh=found.fresh,
            ceiling=None if precaution is None else broken(precaution, ledgers.pulse),
        )

    def _asked(self, name: str, at: Situation, found: Measured) -> Situation:
        """With what the webhook gate says, where nothing else stands before the next step."""
        onward = asks(at)
        if onward is None:
            return at
        evidence = partial(_evidence, at.entry, found, at.elapsed)
        return replace(at, gate=self._gates.answer(name, at.entry, onward.why, evidence))

    def _act(
        self,
        document: Document,
        name: str,
        entry: Entry,
        move: Move,
        found: Measured,
        elapsed: float,
    ) -> bool:
        evidence = _evidence(entry, found, elapsed)
        command = move.command(name, entry.release)
        return self._write(document, command, evidence, f"{move.verb.value}: {move.why}")

    def _freeze(self, document: Document, name: str, entry: Entry, found: Measured) -> bool:
        """Freeze what stable's latency is, and how large its values are, as soon as it is known."""
        starts = None if entry.baseline is not None else usual(found.ledgers)
        if starts is not None:
            why = f"the latency of {sum(starts):,} answers of {entry.stable} is what is usual"
            command = Command(Verb.BASELINE, name, why, release=entry.release, starts=starts)
            return self._write(document, command, {}, why)
        for guard in entry.uncapped:
            counts = stable_values(found.evidence.matured, guard.name)
            cap = usual_cap(counts)
            if cap is not None:
                of = f"p99.5 of {sum(counts):,} values of {entry.stable}"
                why = f"a visitor counts for at most {cap:g} {guard.of}, {of}"
                both = guard.name, cap
                command = Command(Verb.BASELINE, name, why, release=entry.release, cap=both)
                return self._write(document, command, {}, why)
        return False

    def _write(
        self, document: Document, command: Command, evidence: dict[str, object], line: str
    ) -> bool:
        def write() -> None:
            after = verbs.move(
                self._store, document, command,
                by=self._name, evidence=evidence, now=self._wall(),
            )  # fmt: skip
            if after is not None:
                logger.info("%s: %s", command.rollout, line)
                self._adopt(after)

        # Whoever was faster did the same or knew better; both are looked at anew.
        return self._acting.make(write)

    def _fold(self, reader: Reader, entry: Entry) -> None:
        """After an outage or a stop of our own everybody looks silent: wait for them to speak."""
        failed_at = max(self._reading.failed_at, self._acting.failed_at, self._folding.failed_at)
        quiet_since = max(self._lease.since, self._at_ease_since, failed_at)
        if self._clock() - quiet_since >= SILENT:
            self._folding.make(lambda: reader.fold(entry))

    def _tell_refused(self, name: str, found: Measured) -> None:
        what = f"totals of {name}"
        if not found.refused:
            self._troubles.end(what)
            return
        self._count("totals_corrupt")
        boot, why = next(iter(found.refused.items()))
        more = f", and {len(found.refused) - 1} more" if len(found.refused) > 1 else ""
        self._troubles.begin(what, f"those of process {boot or 'sum'} do not count: {why}{more}")


def measured(document: Document | None) -> Iterator[tuple[str, Entry]]:
    """Releases on their way that are judged or that move by themselves, by rollout."""
    if document is None:
        return
    for name, state in document.rollouts.items():
        for entry in state.entries.values():
            plan = entry.plan
            wanted = plan.guards or plan.course.automatic
            if wanted and entry.phase in ACTIVE and document.killed(name) is None:
                yield name, entry


def pace(processes: int, *, leads: bool) -> float:
    """Seconds between two looks, or two shipments, of each of so many processes.

    All of them together ship at most 200 totals in a second, so that whoever leads keeps up.
    """
    return max(TICK, min(2.0, processes / 4_000) if leads else min(5.0, processes / 200))


def usual(ledgers: Ledgers) -> tuple[int, ...] | None:
    """Latency of stable before the start, or else of its visitors since; ``None``: too few yet."""
    if sum(ledgers.before) >= BASELINE:
        return tuple(ledgers.before)
    stable = [one.latency for arm, one in ledgers.entries.items() if arm.cohort is Cohort.STABLE]
    starts = tuple(map(sum, zip(*stable, strict=True)))
    return starts if sum(starts) >= BASELINE else None


def _evidence(entry: Entry, found: Measured, elapsed: float) -> dict[str, object]:
    return evidence_of(found.verdict, entry, elapsed, drill=entry.drill, seen=found.ledgers.seen)


def _protects(move: Move, situation: Situation) -> bool:
    """Whether any process may do it: for what was seen, not for what a clock or a policy says."""
    verdict = situation.verdict
    worse = verdict is not None and bool(verdict.breaches)
    return move.verb in PROTECTS and (worse or situation.ceiling is not None)


def _canary(ledgers: Ledgers, periods: set[int] | None = None) -> int:
    return sum(
        one.n
        for arm, one in ledgers.entries.items()
        if arm.cohort is Cohort.CANARY and (periods is None or arm.cell.period in periods)
    )
