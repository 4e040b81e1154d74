"""Any verdicts, times and hands: the weight moves only as the ramp and its gates allow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from canary_middleware.core.command import Command
from canary_middleware.core.controller import Situation, decide
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.guards import Guard
from canary_middleware.core.ramp import Course
from canary_middleware.core.ratio import MISMATCH
from canary_middleware.core.state import ACTIVE, Document, Entry, Phase, Plan, Verb
from canary_middleware.core.transitions import apply, strike
from canary_middleware.core.verdict import Decision, Verdict
from canary_middleware.core.weight import FULL
from canary_middleware.errors import VerbRefusedError

BAKE, SAMPLES, PATIENCE = 10, 5, 50
STEPS = (1_000, 5_000, 25_000, FULL)
GATES = (False, False, True, False)
# Mostly what lets it go on: what ends a release ends what can be seen of it.
HANDS = [
    *([Verb.APPROVE] * 4), *([Verb.RESUME] * 4), *([Verb.START] * 3), Verb.WEIGHT, Verb.PAUSE,
    Verb.REBASE, Verb.DRILL, Verb.BASELINE, Verb.PROMOTE, Verb.ROLLBACK,
]  # fmt: skip
words = st.sampled_from
verdicts = st.builds(
    Verdict,
    decision=words([*([Decision.INCONCLUSIVE, Decision.PROMOTE] * 6), Decision.ROLLBACK]),
    proven=st.booleans(),
    findings=st.just(()),
    visitors=st.just((9, 90)),
    mismatch=words([0.0, 0.0, 0.0, MISMATCH]),
    missing=words([(), ("40 more visitors",)]),
)


class Rollout(RuleBasedStateMachine):
    """One release under a controller that ticks at odd times, and people who interfere."""

    @initialize(
        on_breach=words(["rollback", "pause"]),
        on_inconclusive=words(["hold", "promote", "rollback"]),
        on_no_traffic=words(["hold", "rollback"]),
        observe=words([False, False, False, True]),
        most=words([0, 30]),
        age=words([10**6, 300]),
    )
    def begin(self, most: int, age: int, **policies: Any) -> None:
        course = Course(
            bakes=(BAKE,) * 4, samples=(SAMPLES,) * 4, approvals=GATES, patience=PATIENCE,
            max_visitors=most, max_age=age, **policies,
        )  # fmt: skip
        self.plan = Plan("1", "2", steps=STEPS, guards=(Guard.errors(),), course=course)
        self.now, self.sampled, self.visitors, self.idle = 100.0, 0, 0, math.inf
        self.document = apply(Document("a"), self.command(Verb.START), self.now)
        self.climbed: set[tuple[int, int]] = set()
        self.stay = self.entry.stay[0]

    @property
    def entry(self) -> Entry:
        found = self.document.entry("checkout", "2")
        assert found is not None
        return found

    def command(self, verb: Verb, **arguments: Any) -> Command:
        return Command(verb, "checkout", "by hand", plan=self.plan, acknowledge=True, **arguments)

    def time_passes(self, seconds: int, came: int) -> None:
        self.now += seconds
        drawn = came if 0 < self.entry.weight < FULL else 0
        self.sampled += drawn
        self.visitors += came
        self.idle = 0.0 if drawn else self.idle + seconds

    @rule(
        verb=words(HANDS), weight=words([0, 1_000, 3_000, 25_000, 60_000, FULL]), skip=st.booleans()
    )
    def a_person_does(self, verb: Verb, weight: int, skip: bool) -> None:
        before = self.entry
        drill = Drill(Fault.ERROR, FULL, begun=self.now, seconds=20)
        command = self.command(
            verb, weight=weight if verb is Verb.WEIGHT else None, skip_approval=skip,
            stable="1a", starts=(0,) * 128, drill=drill,
        )  # fmt: skip
        try:
            self.document = apply(self.document, command, self.now)
        except VerbRefusedError:
            return
        if verb is Verb.RESUME and not skip:
            assert not any(GATES[before.reached + 1 : self.entry.step + 1])
        self.settle_in()

    @rule(lift=words([True, True, True, False]))
    def somebody_kills(self, lift: bool) -> None:
        self.document = strike(self.document, "checkout", by="me", why="", now=self.now)
        if lift:
            self.document = apply(self.document, self.command(Verb.REVIVE), self.now)
            self.settle_in()

    @rule(
        seconds=words([1, 9, 11, 61]),
        came=words([0, 4, 5, 9]),
        verdict=verdicts | verdicts | verdicts | st.none(),
        fresh=words([True, True, True, False]),
        ceiling=words([*([None] * 9), "a stall"]),
        times=st.integers(1, 4),
    )
    def the_leader_leads(self, seconds: int, came: int, times: int, **seen: Any) -> None:
        for _ in range(times):
            self.time_passes(seconds, came)
            self.tick(**seen)

    def tick(self, verdict: Verdict | None, fresh: bool, ceiling: str | None) -> None:
        before, document = self.entry, self.document
        situation = Situation(
            before, verdict, self.now, self.now - before.stay[0].at, self.sampled, self.visitors,
            7 * self.visitors, self.idle, fresh, document.killed("checkout") is not None, ceiling,
        )  # fmt: skip
        move = decide(situation)
        if move is None:
            return
        # What is decided always fits, and says why.
        command = move.command("checkout", "2")
        self.document = apply(document, command, self.now)
        after = self.entry
        assert move.why
        assert not situation.killed
        assert before.phase in ACTIVE
        self.allowed(situation, move.verb, before, after)
        # What one leader did, another does not do again on what it saw before.
        if move.step is not None and after.step != before.step:
            try:
                apply(self.document, command, self.now)
            except VerbRefusedError:
                pass
            else:
                raise AssertionError("a step was entered twice")
        self.settle_in()
        again = replace(situation, entry=after)
        if after.weight == before.weight:
            repeated = decide(again)
            assert repeated is None or repeated.verb is not move.verb, "said twice"

    def allowed(self, seen: Situation, verb: Verb, before: Entry, after: Entry) -> None:
        course, raised = self.plan.course, after.weight > before.weight
        if course.observe:
            assert verb in (Verb.NOTE, Verb.SETTLE)
            assert (after.weight, after.step) == (before.weight, before.step)
        if seen.ceiling and before.weight:
            assert verb in (Verb.PRECAUTION, Verb.NOTE)
        if after.weight < before.weight:
            assert verb in (Verb.ROLLBACK, Verb.PRECAUTION)
            assert after.weight == 0
        if raised:
            assert verb in (Verb.ADVANCE, Verb.PROMOTE)
        if verb in (Verb.ADVANCE, Verb.AWAIT, Verb.PROMOTE):
            self.onward(seen, verb, before, after)

    def onward(self, seen: Situation, verb: Verb, before: Entry, after: Entry) -> None:
        assert before.phase in (Phase.RAMPING, Phase.HOLDING)
        assert before.drill is None
        assert seen.fresh
        assert seen.verdict is not None
        assert seen.verdict.decision is not Decision.ROLLBACK
        assert seen.elapsed >= BAKE
        assert before.weight == FULL or seen.sampled >= SAMPLES
        if verb is Verb.ADVANCE:
            assert after.step == before.step + 1
            assert not GATES[after.step]
            climb = (before.stay[0].revision, after.step)
            assert climb not in self.climbed, "a step is entered once"
            self.climbed.add(climb)
        if verb is Verb.AWAIT:
            assert after.weight == before.weight
            assert GATES[before.step + 1]
        if FULL in (after.weight, before.weight) and verb is not Verb.AWAIT:
            assert seen.verdict.mismatch < MISMATCH
        if after.weight == FULL > before.weight:
            late = self.plan.course.on_inconclusive == "promote"
            late = late and seen.elapsed >= BAKE + PATIENCE
            assert seen.verdict.decision is Decision.PROMOTE or late

    def settle_in(self) -> None:
        """Whoever came to another weight, or there anew, is counted anew."""
        if self.entry.stay[0] != self.stay:
            self.stay, self.sampled, self.idle = self.entry.stay[0], 0, math.inf

    @invariant()
    def the_state_holds_together(self) -> None:
        entry = self.entry
        assert entry.phase is not Phase.ROLLED_BACK or entry.weight == 0
        assert entry.phase is not Phase.PROMOTED or entry.weight == FULL
        assert entry.step < 0 or entry.weight == STEPS[entry.step]
        assert entry.periods[-1].revision == entry.period
        assert entry.stay[-1] == entry.periods[-1]
        assert not entry.drill or entry.phase is not Phase.PROMOTED


TestRollout = Rollout.TestCase
TestRollout.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
