"""What happens next to a release: pure, and asked anew at every tick of whoever leads.

Two parts. What protects people (precaution, breach, the end of a drill) counts in every open phase,
also of a ramp that a person moves. What goes on along the ramp counts in ``ramping`` and
``holding`` of one that moves by itself. The first rule that has something to say is the answer; a
step that is long overdue is still one step, and never a way around a gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from canary_middleware.core.command import Command
from canary_middleware.core.effects import BREACH
from canary_middleware.core.evidence import told
from canary_middleware.core.gate import GATE, Answer, held, same, shown, waiver
from canary_middleware.core.gauge import gate_of
from canary_middleware.core.ratio import MISMATCH
from canary_middleware.core.state import ACTIVE, Entry, Phase, Verb
from canary_middleware.core.telling import lasting
from canary_middleware.core.verdict import Decision, Verdict
from canary_middleware.core.weight import FULL, format_weight

AFTERMATH: Final = 3.0
"""Seconds in which what was booked last is shipped and judged."""
GRACE: Final = 60.0
"""Seconds after the bake for which incomplete totals are waited for without a word."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a decision depends on.

    Attributes:
        entry: the release.
        verdict: what the judge says; ``None`` while there are no totals.
        now: wall-clock seconds since the epoch, for age and drill.
        elapsed: seconds since ``entry.stay`` began, by a clock that does not jump.
        sampled: canary visitors measured in ``entry.stay``.
        visitors: canary visitors exposed in the whole run.
        requests: canary requests in the whole run.
        idle: seconds since a canary visitor was measured last; infinite for never.
        fresh: totals were shipped lately, and those of all living processes can be read.
        killed: a kill is in force.
        ceiling: which ceiling of the precaution is broken, in words; ``None`` for none.
        gate: what the webhook gate says of the next step; ``None`` while nothing is known of it.
    """

    entry: Entry
    verdict: Verdict | None
    now: float
    elapsed: float
    sampled: int = 0
    visitors: int = 0
    requests: int = 0
    idle: float = math.inf
    fresh: bool = True
    killed: bool = False
    ceiling: str | None = None
    gate: Answer | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """What to do, and why.

    Attributes:
        verb: see :mod:`canary_middleware.core.transitions`.
        why: for who reads it at 2 a.m.
        what: the same without numbers that change, for ``observe``: ``"advance to 5%"``.
        step: the step that it was decided at; ``None`` where that does not matter.
        stopped: what a person must go on past, see ``Entry.stopped``.
        proven: what is proven, where everybody gets it next; see ``Entry.proven``.
    """

    verb: Verb
    why: str
    what: str
    step: int | None = None
    stopped: str = ""
    proven: str = ""

    def command(self, rollout: str, release: str) -> Command:
        """As the transition table takes it."""
        return Command(
            self.verb, rollout, self.why, release=release, step=self.step, stopped=self.stopped,
            note=self.what, proven=self.proven,
        )  # fmt: skip


def decide(situation: Situation) -> Move | None:
    """The next move, if there is one to make now.

    Every move fits the transition table as it was when the situation was looked at.
    """
    entry = situation.entry
    if situation.killed or entry.phase not in ACTIVE:
        return None
    move = _precaution(situation) or _breach(situation) or _settled(situation) or _onward(situation)
    if move is None or not entry.plan.course.observe or move.verb is Verb.SETTLE:
        return move
    return _noted(entry, move)


def asks(situation: Situation) -> Move | None:
    """The next step, if only the webhook gate stands before it, which has to agree."""
    entry = situation.entry
    if not _gated(entry) or waiver(entry.step) in entry.waived:
        return None
    course = replace(entry.plan.course, gate="")
    ungated = replace(entry, plan=replace(entry.plan, course=course))
    move = decide(replace(situation, entry=ungated))
    return move if move is not None and move.verb in (Verb.ADVANCE, Verb.PROMOTE) else None


def _noted(entry: Entry, move: Move) -> Move | None:
    what = f"would {move.what}"
    if entry.noted == what:
        return None
    return Move(Verb.NOTE, f"observing only, {what}: {move.why}", what)


# --- what protects people -----------------------------------------------------------------------


def _precaution(at: Situation) -> Move | None:
    if at.ceiling is None or not at.entry.weight:
        return None
    why = f"{at.ceiling}: nobody gets the canary for now, as a precaution and without blame"
    return Move(Verb.PRECAUTION, why, "go to 0% as a precaution")


def _breach(at: Situation) -> Move | None:
    if at.verdict is None or at.verdict.decision is not Decision.ROLLBACK:
        return None
    guards = ", ".join(sorted(found.guard for found in at.verdict.breaches))
    if at.entry.plan.course.on_breach == "rollback":
        return Move(Verb.ROLLBACK, _told(at, "rolled back"), f"roll back for {guards}")
    if at.entry.phase is Phase.PAUSED:
        return None
    return Move(Verb.PAUSE, _told(at, "paused"), f"pause for {guards}", stopped=BREACH)


def _settled(at: Situation) -> Move | None:
    drill = at.entry.drill
    # What it did last is not booked and judged yet when it ends.
    if drill is None or at.now < drill.until + gate_of(at.entry) + AFTERMATH:
        return None
    share = format_weight(drill.share)
    why = (
        f"the drill ({drill.fault} in {share}) is over and nothing was rolled back: "
        "evidence begins anew, go on with `canary resume`"
    )
    return Move(Verb.SETTLE, why, "settle")


# --- what goes on along the ramp ----------------------------------------------------------------


def _onward(at: Situation) -> Move | None:
    entry, course = at.entry, at.entry.plan.course
    moves = entry.phase in (Phase.RAMPING, Phase.HOLDING) and entry.step >= 0
    if not (course.automatic and moves) or entry.drill or entry.stopped not in ("", GATE):
        return None
    for limit, words in _limits(at):
        if limit not in entry.waived:
            return _hold(at, f"{words}: a person must say `canary resume`", limit)
    if _drawn(at) and min(at.idle, at.elapsed) >= course.patience:
        since = f"no canary visitor was measured for {lasting(min(at.idle, at.elapsed))}"
        return _give_up(at, course.on_no_traffic, since, "on_no_traffic")
    late = at.elapsed - course.bakes[entry.step]
    return None if late < 0 else _baked(at, late)


def _baked(at: Situation, late: float) -> Move | None:
    """The bake is over, for so many seconds."""
    course, weight = at.entry.plan.course, format_weight(at.entry.weight)
    if not at.fresh or at.verdict is None:
        words = f"{weight} has baked, but the totals of some processes are missing"
        return _hold(at, words) if late >= GRACE else None
    given_up = late >= course.patience
    samples = course.samples[at.entry.step]
    if _drawn(at) and at.sampled < samples:
        few = f"{at.sampled:,} of at least {samples:,} canary visitors were measured at {weight}"
        # Nothing goes on below the minimum sample, whatever is to happen without evidence.
        policy = "rollback" if course.on_inconclusive == "rollback" else "hold"
        return _give_up(at, policy, few, "on_inconclusive") if given_up else None
    missing = _missing(at, at.verdict)
    if not missing:
        return _up(at, "no guard stands against it")
    if _skewed(at.verdict) or not given_up or course.on_inconclusive == "hold":
        return _hold(at, missing)
    return _give_up(at, course.on_inconclusive, missing, "on_inconclusive")


def _limits(at: Situation) -> Iterator[tuple[str, str]]:
    course, age = at.entry.plan.course, at.now - at.entry.begun
    if age >= course.max_age:
        most = lasting(course.max_age)
        yield "age", f"it has been on its way for {lasting(age)}, max_age is {most}"
    if course.max_visitors and at.visitors >= course.max_visitors:
        seen = f"{at.visitors:,} visitors have seen the canary"
        yield "visitors", f"{seen}, max_visitors is {course.max_visitors:,}"
    if course.max_requests and at.requests >= course.max_requests:
        seen = f"{at.requests:,} requests went to the canary"
        yield "requests", f"{seen}, max_requests is {course.max_requests:,}"


def _drawn(at: Situation) -> bool:
    """Whether anybody is drawn at this weight: at 0 % and 100 % nobody can be compared."""
    return 0 < at.entry.weight < FULL


def _skewed(verdict: Verdict) -> bool:
    return verdict.mismatch >= MISMATCH


def _missing(at: Situation, verdict: Verdict) -> str:
    """What stands between here and everybody; nothing where the next step is not everybody."""
    entry, plan = at.entry, at.entry.plan
    last = entry.step + 1 == len(plan.steps)
    awaits = not last and plan.course.approval(entry.step + 1)
    if not (last or plan.steps[entry.step + 1] == FULL) or (awaits and not entry.weight):
        return ""
    if _skewed(verdict):
        return "the versions did not get the shares that were drawn (sample-ratio mismatch)"
    asked = any(guard.breaches and guard.margin is not None for guard in plan.guards)
    # At 100 % nobody can be compared any more; what it took to get there was asked before.
    if verdict.decision is Decision.PROMOTE or entry.weight == FULL or not asked:
        return ""
    lacking = "; ".join(verdict.missing) or "the evidence is not conclusive"
    return f"{format_weight(entry.weight)} has baked, but for 100% is missing: {lacking}"


def _hold(at: Situation, words: str, limit: str = "") -> Move | None:
    """Once: who holds already goes on holding."""
    if at.entry.phase is Phase.HOLDING and not limit and at.entry.stopped != GATE:
        return None
    what = f"hold at {format_weight(at.entry.weight)}" + (f" for its {limit}" if limit else "")
    return Move(Verb.HOLD, words, what, step=at.entry.step, stopped=limit)


def _give_up(at: Situation, policy: str, words: str, setting: str) -> Move | None:
    """Patience is over."""
    if policy == "hold":
        return _hold(at, words)
    if policy == "rollback":
        why = f"{words}; rolled back as {setting} says, without a finding against it"
        return Move(Verb.ROLLBACK, why, f"roll back as {setting} says")
    return _up(at, f"{words}; on as {setting} says, no regression found")


def _gated(entry: Entry) -> bool:
    """Observe mode asks nobody: nothing follows from the answer."""
    return bool(entry.plan.course.gate) and not entry.plan.course.observe


def _up(at: Situation, because: str) -> Move | None:
    """One step up, or out at the end of the ramp, if the webhook gate agrees."""
    move = _upward(at, because)
    entry = at.entry
    # An approval is a person's, and asked for in place of the gate's.
    if not _gated(entry) or move.verb is Verb.AWAIT:
        return move
    host = shown(entry.plan.course.gate)
    if waiver(entry.step) in entry.waived:
        return replace(move, why=f"{move.why}, past its gate {host} as a person said")
    if at.gate is None:
        return None
    if at.gate.allowed:
        said = f" ({at.gate.reason})" if at.gate.reason else ""
        return replace(move, why=f"{move.why}; its gate {host} agreed{said}")
    words = held(entry, at.gate)
    if entry.stopped == GATE and same(entry.why, words):
        return None
    return Move(Verb.HOLD, words, "wait for its gate", step=entry.step, stopped=GATE)


def _upward(at: Situation, because: str) -> Move:
    """The move itself."""
    entry, plan = at.entry, at.entry.plan
    step, to = entry.step, entry.step + 1
    if to == len(plan.steps):
        return Move(Verb.PROMOTE, _told(at, "promoted"), "promote", step=step)
    target = format_weight(plan.steps[to])
    held = f"{format_weight(entry.weight)} held for {lasting(at.elapsed)}"
    measured = f", {at.sampled:,} canary visitors measured" if _drawn(at) else ""
    done = f"{held}{measured}, {because}"
    proven = _proven(at) if plan.steps[to] == FULL else ""
    if plan.course.approval(to):
        why = f"{done}; {target} needs `canary approve`"
        return Move(Verb.AWAIT, why, f"await approval of {target}", step=step, proven=proven)
    why = f"{done}; on to {target}"
    return Move(Verb.ADVANCE, why, f"advance to {target}", step=step, proven=proven)


def _proven(at: Situation) -> str:
    proven = at.verdict is not None and at.verdict.proven
    return told(at.verdict, at.entry, at.elapsed).proofs if at.verdict and proven else ""


def _told(at: Situation, did: str) -> str:
    """The verdict in words."""
    if at.verdict is None:
        return did
    it = told(at.verdict, at.entry, at.elapsed, drill=at.entry.drill)
    return replace(it, age=max(0.0, at.now - at.entry.begun)).sentence(did)
