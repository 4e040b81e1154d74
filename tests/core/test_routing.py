from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.bucket import SPACE, draw
from canary_middleware.core.model import (
    Assignment,
    Audience,
    Cohort,
    Policy,
    Reason,
    Rollout,
    Visitor,
)
from canary_middleware.core.pins import Pin
from canary_middleware.core.routing import FINE, NOWHERE, Drawn, Place, Standing, gate, route
from canary_middleware.core.snapshot import CANARY_REASONS
from canary_middleware.core.state import ACTIVE, Document, Phase, Plan
from canary_middleware.core.weight import FULL
from tests.core.control import CHECKOUT, document, entry, killed, lane

ALICE = Visitor("alice")
DRAWN = Drawn.identified(ALICE)


@dataclass(frozen=True)
class World:
    """A request and the state it comes in; by default the weight decides."""

    found: Document = field(default_factory=lambda: document(entry(Phase.PAUSED, FULL)))
    rollout: Rollout = CHECKOUT
    standing: Standing = FINE
    visitor: Visitor | None = ALICE
    drawn: Drawn | None = DRAWN
    place: Place = NOWHERE

    def decide(self) -> Assignment:
        place = self.place._replace(drawn=self.drawn)
        return route(lane(self.found, self.rollout), self.visitor, place, self.standing)


def standing(**changes: bool) -> dict[str, Any]:
    return {"standing": changes}


def phase(phase: Phase) -> dict[str, Any]:
    return {"found": document(entry(phase, FULL))}


def audience(**audiences: Audience) -> dict[str, Any]:
    return {"rollout": audiences}


KEEP = Plan("1", "2", policy=Policy.KEEP)
HALF = document(entry(Phase.PAUSED, FULL // 2, plan=KEEP))
ALICES = Audience(subjects=["alice"])

# What makes each reason apply, in the order of precedence. Situations of two reasons are joined.
CAUSES: dict[Reason, dict[str, Any]] = {
    Reason.KILL_SWITCH: {"kill": True},
    Reason.STALE_CONTROL: standing(stale=True),
    Reason.ERROR: standing(failed=True),
    Reason.OTHER_RELEASE: {"found": document(entry(release="3"))},
    Reason.NOT_READY: standing(ready=False),
    Reason.IDLE: phase(Phase.IDLE),
    Reason.ROLLED_BACK: phase(Phase.ROLLED_BACK),
    Reason.DENIED: audience(denied=ALICES),
    Reason.OVERRIDE: {"place": {"override": Cohort.CANARY}},
    Reason.TESTER: audience(testers=ALICES),
    Reason.UPSTREAM: {"place": {"upstream": Cohort.CANARY}},
    Reason.PIN: {"found": HALF, "place": {"pin": Pin(Cohort.CANARY, 4)}},
    Reason.NO_VISITOR: {"found": HALF, "drawn": None},
    Reason.WEIGHT: {},
}
PHASES = {Reason.OTHER_RELEASE, Reason.IDLE, Reason.ROLLED_BACK}
# The dead-man's switch needs an entry in an active phase; one rollout is in one phase only; and
# where nobody is drawn because the phase decides, there is nothing to draw by either.
IMPOSSIBLE = {
    *((Reason.STALE_CONTROL, other) for other in PHASES),
    *combinations(sorted(PHASES, key=list(Reason).index), 2),
    *((other, Reason.NO_VISITOR) for other in PHASES),
    *((other, Reason.PIN) for other in PHASES),
}


def world(*reasons: Reason) -> World:
    causes = [CAUSES[reason] for reason in reasons]
    joined: dict[str, Any] = {}
    for cause in causes:
        joined.update(cause)
    stands = {key: value for cause in causes for key, value in cause.get("standing", {}).items()}
    audiences = {key: value for cause in causes for key, value in cause.get("rollout", {}).items()}
    places = {key: value for cause in causes for key, value in cause.get("place", {}).items()}
    found = joined.get("found", World().found)
    return World(
        found=killed(found) if joined.get("kill") else found,
        rollout=replace(CHECKOUT, **audiences),
        standing=Standing(**stands),
        drawn=joined.get("drawn", DRAWN),
        place=Place(**places),
    )


@pytest.mark.parametrize("reason", CAUSES)
def test_each_reason_applies_alone(reason: Reason) -> None:
    decided = world(reason).decide()
    assert decided.reason is reason
    assert decided.is_canary is (reason in CANARY_REASONS)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [pair for pair in combinations(CAUSES, 2) if pair not in IMPOSSIBLE],
    ids=lambda reason: reason.value,
)
def test_every_reason_wins_over_every_later_one(earlier: Reason, later: Reason) -> None:
    assert world(earlier, later).decide().reason is earlier


def stale_before_kill(made: World) -> Reason:
    return Reason.STALE_CONTROL if made.standing.stale else made.decide().reason


def without_denials(made: World) -> Reason:
    return replace(made, rollout=replace(made.rollout, denied=Audience())).decide().reason


def weight_before_tester(made: World) -> Reason:
    return replace(made, visitor=None).decide().reason


@pytest.mark.parametrize("broken", [stale_before_kill, without_denials, weight_before_tester])
def test_the_table_sees_rules_in_another_order(broken: Callable[[World], Reason]) -> None:
    pairs = [pair for pair in combinations(CAUSES, 2) if pair not in IMPOSSIBLE]
    wrong = [pair for pair in pairs if broken(world(*pair)) is not pair[0]]
    assert wrong


def test_the_order_is_that_of_the_words() -> None:
    order = list(Reason)
    assert [*CAUSES] == sorted(CAUSES, key=order.index)


# --- testers and the denied -----------------------------------------------------------------------

BOTH = replace(CHECKOUT, testers=ALICES)


# In the order of the words: a set's own differs from process to process, and so would the ids.
@pytest.mark.parametrize("found", [f for f in Phase if f in ACTIVE], ids=lambda found: found.value)
def test_a_tester_reaches_a_started_rollout_at_weight_0(found: Phase) -> None:
    decided = World(document(entry(found, 0)), BOTH).decide()
    assert (decided.reason, decided.cohort) == (Reason.TESTER, Cohort.CANARY)


@pytest.mark.parametrize("found", [Phase.IDLE, Phase.ROLLED_BACK], ids=lambda found: found.value)
def test_a_tester_never_reaches_an_idle_or_rolled_back_one(found: Phase) -> None:
    assert not World(document(entry(found, FULL)), BOTH).decide().is_canary
    assert not World(document(), BOTH).decide().is_canary


def test_a_tester_is_stopped_by_a_kill_by_staleness_and_by_a_denial() -> None:
    running = document(entry(Phase.PAUSED, 0))
    assert World(killed(running), BOTH).decide().reason is Reason.KILL_SWITCH
    assert World(running, BOTH, Standing(stale=True)).decide().reason is Reason.STALE_CONTROL
    assert World(running, replace(BOTH, denied=ALICES)).decide().reason is Reason.DENIED


@pytest.mark.parametrize("found", [Phase.PAUSED, Phase.PROMOTED, Phase.FINISHED])
def test_the_denied_stay_on_stable_even_when_everybody_is_on_canary(found: Phase) -> None:
    decided = World(document(entry(found, FULL)), replace(CHECKOUT, denied=ALICES)).decide()
    assert (decided.reason, decided.cohort) == (Reason.DENIED, Cohort.STABLE)


def test_nobody_identified_is_in_no_audience() -> None:
    def everybody(visitor: Visitor) -> bool:
        return True

    rollout = replace(CHECKOUT, denied=Audience(predicate=everybody))
    assert World(rollout=rollout, visitor=None).decide().reason is Reason.WEIGHT


@pytest.mark.parametrize("side", ["testers", "denied"])
def test_a_predicate_that_raises_is_left_to_the_caller(side: str) -> None:
    def broken(visitor: Visitor) -> bool:
        raise KeyError(visitor.subject)

    changes: Any = {side: Audience(predicate=broken)}
    rollout = replace(CHECKOUT, **changes)
    with pytest.raises(KeyError):
        World(rollout=rollout).decide()
    assert World(killed(World().found), rollout).decide().reason is Reason.KILL_SWITCH, "not asked"


# --- phases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [*Phase], ids=lambda found: found.value)
def test_staleness_counts_in_active_phases_only(found: Phase) -> None:
    """Promoted and finished fail static: a blip months later must not bring old code back."""
    decided = World(document(entry(found, FULL)), standing=Standing(stale=True)).decide()
    assert (decided.reason is Reason.STALE_CONTROL) is (found in ACTIVE)
    if found in (Phase.PROMOTED, Phase.FINISHED):
        assert decided.is_canary


@pytest.mark.parametrize("found", [Phase.PROMOTED, Phase.FINISHED])
def test_promoted_and_finished_are_canary_for_everybody_at_any_recorded_weight(
    found: Phase,
) -> None:
    for weight in (0, 1, FULL):
        for drawn in (DRAWN, None):
            decided = World(document(entry(found, weight)), drawn=drawn).decide()
            assert (decided.reason, decided.is_canary) == (Reason.WEIGHT, True)


# --- the weight -----------------------------------------------------------------------------------


def test_0_and_100_per_cent_are_exact_and_draw_nobody() -> None:
    for weight, canary in ((0, False), (FULL, True)):
        under = lane(document(entry(weight=weight)))
        assert not under.draws
        for number in range(200):
            assert route(under, None, Place(Drawn.anonymous(str(number)))).is_canary is canary
        assert route(under, None, Place(None)).is_canary is canary


@pytest.mark.parametrize("weight", [1, 5_000, 50_000, FULL - 1])
def test_below_the_limit_is_canary(weight: int) -> None:
    under = lane(document(entry(weight=weight)))
    assert under.draws
    for number in range(500):
        drawn = Drawn.anonymous(str(number))
        bucket = draw(under.track.key, drawn.kind, drawn.subject)
        assert route(under, None, Place(drawn)).is_canary is (bucket * FULL < weight * SPACE)


def test_an_identified_visitor_may_be_drawn_by_the_id_of_the_cookie() -> None:
    under = lane(document(entry(weight=50_000)))
    ids = [Drawn.anonymous(str(number)) for number in range(50)]
    for drawn in ids:
        assert route(under, ALICE, Place(drawn)) is route(under, None, Place(drawn))


# --- explain --------------------------------------------------------------------------------------

REASONS = st.lists(st.sampled_from(list(CAUSES)), max_size=5, unique=True)


@given(REASONS, st.integers(0, FULL), st.text(min_size=1))
def test_a_trace_changes_nothing_and_ends_with_what_decided(
    reasons: list[Reason], weight: int, subject: str
) -> None:
    made = world(*reasons)
    found = made.found if reasons else document(entry(weight=weight))
    under = lane(found, made.rollout)
    visitor = replace(ALICE, subject=subject)
    drawn = made.drawn and Drawn.identified(visitor)
    place = made.place._replace(drawn=drawn)
    trace: list[str] = []
    decided = route(under, visitor, place, made.standing, trace)
    assert decided is route(under, visitor, place, made.standing)
    reason = gate(under, made.standing)
    assert trace[0] == f"gates: {reason.value if reason else 'open'}"
    if reason is not None:
        assert (decided.reason, trace[1:]) == (reason, [])
    elif decided.reason in (Reason.DENIED, Reason.TESTER):
        assert trace[1:] == [f"audience: {decided.reason.value}"]
    elif decided.reason in (Reason.OVERRIDE, Reason.UPSTREAM):
        assert trace[-1] == f"{decided.reason.value}: canary"
    elif decided.reason is Reason.PIN:
        assert trace[-1] == "pin: canary, drawn in period 4"
    elif decided.reason is Reason.NO_VISITOR:
        assert trace[-1] == "weight: this request may not draw a visitor id"
    else:
        assert trace[-1].endswith(", below") is decided.is_canary
        assert any(line.startswith("bucket: ") for line in trace) is under.draws
    assert subject not in "".join(trace) or len(subject) < 12, "no identifier in a trace"
