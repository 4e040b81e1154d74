from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.codec import decode, encode
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.refusals import Refusal
from canary_middleware.core.state import (
    ACTIVE,
    EVERYTHING,
    Document,
    Entry,
    Period,
    Phase,
    Plan,
    Verb,
)
from canary_middleware.core.transitions import (
    KEPT_RELEASES,
    TABLE,
    Command,
    apply,
    strike,
)
from canary_middleware.core.weight import FULL
from canary_middleware.errors import VerbRefusedError
from tests.core.states_page import PAGE, page

PLAN = Plan(stable="1", canary="2", steps=(1_000, 5_000, 25_000))
EMPTY = Document(lineage="a")
STARTS = (0,) * 128
REHEARSAL = Drill(Fault.ERROR, share=FULL, begun=7.0, seconds=60)


def run(document: Document, *commands: Command, now: float = 7.0) -> Document:
    for command in commands:
        document = apply(document, command, now)
    return document


def do(verb: Verb, **arguments: Any) -> Command:
    return replace(Command(verb, "checkout", why="because"), **arguments)


START = do(Verb.START, plan=PLAN)


def entry(document: Document, release: str = "2") -> Entry:
    found = document.entry("checkout", release)
    assert found is not None
    return found


def in_phase(phase: Phase) -> Document:
    started = run(EMPTY, START)
    state = started.rollouts["checkout"]
    placed = replace(entry(started), phase=phase)
    return replace(started, rollouts={"checkout": replace(state, entries={"2": placed})})


def test_table_has_every_cell_and_every_refusal_a_hint() -> None:
    assert set(TABLE) == {(phase, verb) for phase in Phase for verb in Verb}
    assert all(cell.hint for cell in TABLE.values() if isinstance(cell, Refusal))


@pytest.mark.parametrize(("phase", "verb"), TABLE, ids=lambda word: word.value)
def test_apply_obeys_the_table(phase: Phase, verb: Verb) -> None:
    document = in_phase(phase)
    if verb is Verb.REVIVE:
        document = strike(document, "checkout", by="me", why="x", now=1.0)
    weight = 2_000 if verb is Verb.WEIGHT else None
    if verb is Verb.SETTLE and phase in ACTIVE:
        document = run(document, do(Verb.DRILL, drill=REHEARSAL))
    command = do(
        verb, plan=PLAN, acknowledge=True, weight=weight, stable="1a", early=True,
        starts=STARTS, drill=REHEARSAL,
    )  # fmt: skip
    cell = TABLE[phase, verb]
    if isinstance(cell, Refusal):
        with pytest.raises(VerbRefusedError, match=verb.value) as refused:
            run(document, command)
        said = {"ROLLOUT": "checkout", "WEIGHT": "2%" if verb is Verb.WEIGHT else "WEIGHT"}
        assert refused.value.hint == re.sub(r"[A-Z]{4,}", lambda word: said[word[0]], cell.hint)
    else:
        after = run(document, command)
        assert entry(after).phase is cell
        assert after.revision == document.revision + 1


def test_plan_from_rollout_and_digest() -> None:
    rollout = Rollout("checkout", stable="1", canary="2", paths=("/pay",), ramp=Ramp("1%", "5%"))
    plan = Plan.from_rollout(rollout)
    assert (plan.paths, plan.steps) == (("/pay",), (1_000, 5_000))
    assert plan.digest == Plan.from_rollout(replace(rollout, owner=None)).digest
    assert plan.digest != replace(plan, steps=(1_000, 5_001)).digest
    assert len(plan.digest) == 16


def test_start_enters_the_ramp_at_its_first_step() -> None:
    document = run(EMPTY, START)
    assert document.rollouts["checkout"].current == "2"
    assert entry(document) == Entry(
        "2", "1", Phase.RAMPING, 1_000, 0, 1, 1, 7.0, "because", PLAN,
        run=1, begun=7.0, periods=(Period(1, 1_000, 7.0),), reached=0,
    )  # fmt: skip


@pytest.mark.parametrize(("steps", "weight", "expected"), [((), None, 0), ((1_000,), 3, 3)])
def test_start_by_hand_is_paused(steps: tuple[int, ...], weight: int | None, expected: int) -> None:
    started = run(EMPTY, do(Verb.START, plan=replace(PLAN, steps=steps), weight=weight))
    assert entry(started).phase is Phase.PAUSED
    assert (entry(started).weight, entry(started).step) == (expected, -1)


def test_start_needs_a_plan() -> None:
    with pytest.raises(VerbRefusedError, match="no process declares it"):
        run(EMPTY, do(Verb.START))


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_start_is_refused_while_another_release_is_active(phase: Phase) -> None:
    with pytest.raises(
        VerbRefusedError,
        match="first end it with `canary promote checkout` or `canary rollback checkout`",
    ):
        run(in_phase(phase), do(Verb.START, plan=replace(PLAN, canary="3")))


def test_a_new_release_starts_beside_a_promoted_one() -> None:
    document = run(in_phase(Phase.PROMOTED), do(Verb.START, plan=Plan("2", "3")))
    assert document.rollouts["checkout"].current == "3"
    assert entry(document, "2").phase is Phase.PROMOTED


def test_a_rolled_back_release_needs_acknowledgement() -> None:
    document = run(EMPTY, START, do(Verb.ROLLBACK))
    with pytest.raises(VerbRefusedError, match="--again"):
        run(document, START)
    again = entry(run(document, replace(START, acknowledge=True)))
    assert (again.phase, again.epoch) == (Phase.RAMPING, 3)


@pytest.mark.parametrize("weight", [None, -1, FULL + 1])
def test_weight_is_bounded(weight: int | None) -> None:
    with pytest.raises(VerbRefusedError, match="between 0% and 100%"):
        run(EMPTY, START, do(Verb.WEIGHT, weight=weight))


def test_weight_opens_a_period_but_no_epoch() -> None:
    moved = entry(run(EMPTY, START, do(Verb.WEIGHT, weight=1_000)))
    assert (moved.phase, moved.period, moved.epoch, moved.step) == (Phase.PAUSED, 2, 1, -1)


@pytest.mark.parametrize(("weight", "step"), [(0, 0), (1_000, 0), (1_001, 1)])
def test_resume_enters_the_first_step_at_or_above_with_bake_from_zero(
    weight: int, step: int
) -> None:
    resumed = entry(run(EMPTY, START, do(Verb.WEIGHT, weight=weight), do(Verb.RESUME)))
    assert (resumed.step, resumed.weight, resumed.period) == (step, PLAN.steps[step], 3)
    assert resumed.stay == (Period(3, PLAN.steps[step], 7.0),)
    assert resumed.run == 1


def test_resume_is_refused_without_a_step_to_enter() -> None:
    with pytest.raises(VerbRefusedError, match="no ramp to resume"):
        run(EMPTY, do(Verb.START, plan=Plan("1", "2")), do(Verb.RESUME))
    with pytest.raises(VerbRefusedError, match=r"25\.001% is above the last step"):
        run(EMPTY, START, do(Verb.WEIGHT, weight=25_001), do(Verb.RESUME))


def test_advance_goes_to_the_last_step_and_no_further() -> None:
    document = run(EMPTY, START, do(Verb.ADVANCE), do(Verb.ADVANCE))
    assert (entry(document).weight, entry(document).period) == (25_000, 3)
    with pytest.raises(VerbRefusedError, match="last step"):
        run(document, do(Verb.ADVANCE))


def test_promote_and_rollback_weights_and_epochs() -> None:
    promoted = run(EMPTY, START, do(Verb.PROMOTE))
    assert (entry(promoted).weight, entry(promoted).epoch) == (FULL, 1)
    back = entry(run(promoted, do(Verb.ROLLBACK)))
    assert (back.weight, back.epoch, back.period) == (0, 3, 3)


def test_verbs_address_the_current_release_or_the_named_one() -> None:
    document = run(in_phase(Phase.PROMOTED), do(Verb.START, plan=Plan("2", "3")))
    document = run(document, do(Verb.FINISH, release="2", early=True), do(Verb.WEIGHT, weight=5))
    assert entry(document, "2").phase is Phase.FINISHED
    assert entry(document, "3").weight == 5
    with pytest.raises(VerbRefusedError, match="never started"):
        run(document, do(Verb.PAUSE, release="9"))
    with pytest.raises(VerbRefusedError, match="idle"):
        run(EMPTY, do(Verb.PAUSE))


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_rebase_takes_a_stable_label_over_and_moves_nobody(phase: Phase) -> None:
    before = in_phase(phase)
    after = entry(run(before, do(Verb.REBASE, stable="1a"), now=9.0))
    assert (after.stable, after.plan) == ("1a", replace(PLAN, stable="1a"))
    assert (after.period, after.since, after.why) == (2, 9.0, "because")
    assert after.periods == (Period(1, 1_000, 7.0), Period(2, 1_000, 9.0))
    kept = replace(after, stable="1", plan=PLAN, period=1, since=7.0, periods=after.periods[:1])
    assert kept == entry(before)


@pytest.mark.parametrize(("label", "said"), [
    (None, "no label"), ("2", "no label"), ("1", "1 is its stable version already"),
])  # fmt: skip
def test_rebase_needs_another_label(label: str | None, said: str) -> None:
    with pytest.raises(VerbRefusedError, match=said):
        run(EMPTY, START, do(Verb.REBASE, stable=label))


def test_finish_waits_for_the_end_of_the_rollback_window() -> None:
    window = PLAN.rollback_window
    promoted = run(EMPTY, START, do(Verb.PROMOTE), now=7.0)
    assert entry(promoted).warm_until == 7.0 + window
    for now, left in ((7.0, "1h"), (7.0 + 61, "59m"), (7.0 + window - 90, "90s")):
        with pytest.raises(VerbRefusedError, match=f"open for another {left} .*--early"):
            run(promoted, do(Verb.FINISH), now=now)
    assert entry(run(promoted, do(Verb.ROLLBACK))).phase is Phase.ROLLED_BACK
    assert entry(run(promoted, do(Verb.FINISH, early=True))).phase is Phase.FINISHED
    assert entry(run(promoted, do(Verb.FINISH), now=7.0 + window)).phase is Phase.FINISHED
    none = do(Verb.START, plan=replace(PLAN, rollback_window=0))
    assert entry(run(EMPTY, none, do(Verb.PROMOTE), do(Verb.FINISH))).phase is Phase.FINISHED


@pytest.mark.parametrize("scope", [EVERYTHING, "checkout"])
@pytest.mark.parametrize("verb", [v for v in Verb if v not in (Verb.REVIVE, Verb.ROLLBACK)])
def test_a_kill_refuses_every_verb_but_rollback_and_revive(scope: str, verb: Verb) -> None:
    killed = strike(run(EMPTY, START), scope, by="me", why="smoke", now=8.0)
    with pytest.raises(VerbRefusedError, match="revive"):
        run(killed, do(verb, plan=PLAN, weight=1))
    assert entry(run(killed, do(Verb.ROLLBACK))).phase is Phase.ROLLED_BACK


def test_kill_keeps_the_entry_and_revive_pauses_it_at_the_old_weight() -> None:
    killed = strike(run(EMPTY, START), EVERYTHING, by="me", why="smoke", now=8.0)
    kill = killed.killed("checkout")
    assert kill is not None
    assert (kill.by, kill.why, kill.at, kill.revision) == ("me", "smoke", 8.0, 2)
    assert entry(killed).phase is Phase.RAMPING
    revived = run(killed, do(Verb.REVIVE, rollout=EVERYTHING))
    assert (revived.kills, revived.lifted) == ({}, {EVERYTHING: 2})
    assert (entry(revived).phase, entry(revived).weight) == (Phase.PAUSED, 1_000)
    assert (entry(revived).epoch, entry(revived).period) == (3, 3)


def test_revive_lifts_only_the_scope_that_it_names() -> None:
    document = run(EMPTY, START, replace(START, rollout="search"))
    for scope in ("checkout", EVERYTHING):
        document = strike(document, scope, by="me", why="", now=8.0)
    revived = run(document, do(Verb.REVIVE))
    assert set(revived.kills) == {EVERYTHING}
    search = revived.entry("search", "2")
    assert search is not None
    assert search.phase is Phase.RAMPING
    with pytest.raises(VerbRefusedError, match="whole namespace"):
        run(revived, do(Verb.REVIVE))
    with pytest.raises(VerbRefusedError, match="nothing is killed"):
        run(EMPTY, do(Verb.REVIVE))


def test_a_second_kill_outlives_a_revive_of_the_first() -> None:
    once = strike(EMPTY, EVERYTHING, by="a", why="", now=1.0)
    twice = strike(once, EVERYTHING, by="b", why="", now=2.0)
    assert run(once, do(Verb.REVIVE, rollout=EVERYTHING)).lifted[EVERYTHING] == 1
    assert twice.kills[EVERYTHING].revision == 2


def test_old_closed_releases_go_first_and_promoted_ones_last() -> None:
    document = EMPTY
    for number in range(KEPT_RELEASES + 3):
        document = run(document, do(Verb.START, plan=Plan("s", f"r{number}")))
        document = run(document, do(Verb.PROMOTE if number == 0 else Verb.ROLLBACK))
    entries = document.rollouts["checkout"].entries
    assert len(entries) == KEPT_RELEASES
    assert "r0" in entries
    assert {"r1", "r2", "r3"}.isdisjoint(entries)


commands = st.builds(
    Command,
    verb=st.sampled_from(Verb),
    rollout=st.sampled_from(["checkout", "search", EVERYTHING]),
    release=st.sampled_from([None, "2", "3"]),
    plan=st.sampled_from([None, PLAN, replace(PLAN, canary="3", steps=())]),
    weight=st.one_of(st.none(), st.integers(-1, FULL + 1)),
    acknowledge=st.booleans(),
    starts=st.sampled_from([None, STARTS]),
    drill=st.sampled_from([None, REHEARSAL]),
    step=st.sampled_from([None, None, 0, 1]),
    stable=st.sampled_from([None, "1", "1a", "2"]),
    early=st.booleans(),
)


@given(st.lists(st.one_of(commands, st.sampled_from(["checkout", EVERYTHING])), max_size=30))
def test_any_sequence_keeps_the_invariants(actions: list[Command | str]) -> None:
    document = EMPTY
    for action in actions:
        before = document
        if isinstance(action, str):
            document = strike(document, action, by="me", why="", now=1.0)
        else:
            try:
                document = apply(document, action, 1.0)
            except VerbRefusedError:
                continue
        assert document.revision == before.revision + 1
        lifted = set(before.kills) - set(document.kills)
        assert not lifted or (isinstance(action, Command) and action.verb is Verb.REVIVE)
        for state in document.rollouts.values():
            assert sum(e.phase in ACTIVE for e in state.entries.values()) <= 1
            for e in state.entries.values():
                assert 0 <= e.weight <= FULL
                assert e.epoch <= document.revision
                assert e.period <= document.revision
                assert e.phase is not Phase.ROLLED_BACK or e.weight == 0
                assert (e.periods[-1].revision, e.periods[-1].weight) == (e.period, e.weight)
                assert e.run <= e.periods[0].revision <= e.stay[0].revision
        assert decode(encode(document)) == document


def test_the_page_is_generated_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.core.states_page"
