"""The pin rule and the policies, decided by the function that requests use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.cookie import MAX_PINS, Cookie, pin_tag
from canary_middleware.core.model import Cohort, Policy, Reason
from canary_middleware.core.pins import PINNED, RENEW, Pin, holds, pinned, renewed
from canary_middleware.core.routing import Drawn, Place, route
from canary_middleware.core.snapshot import Lane
from canary_middleware.core.state import Phase, Plan
from canary_middleware.core.weight import FULL
from tests.core.control import document, entry, lane

HALF, TENTH = FULL // 2, FULL // 10
SESSION = 1800


def under(
    policy: Policy, weight: int, phase: Phase = Phase.PAUSED, epoch: int = 3, period: int = 4
) -> Lane:
    plan = Plan("1", "2", policy=policy, session=SESSION)
    return lane(document(entry(phase, weight, plan=plan, epoch=epoch, period=period)))


@dataclass
class Browser:
    """A visitor who keeps what the rule tells to keep, as cookie and store do."""

    id: str
    pins: dict[tuple[str, int], Pin] = field(default_factory=dict)

    def visit(self, lane: Lane, now: float = 0.0) -> Cohort:
        pin = self.pins.get((lane.lineage, lane.epoch))
        place = Place(Drawn.anonymous(self.id), pin, now=now)
        decided = route(lane, None, place)
        held = pin if decided.reason is Reason.PIN else None
        served = Pin(decided.cohort, decided.period)
        kept = renewed(lane.pins, lane.session, served, held, now)
        if kept is not None:
            self.pins[lane.lineage, lane.epoch] = kept
        return decided.cohort


def crowd(size: int = 2_000) -> list[Browser]:
    return [Browser(f"visitor-{number}") for number in range(size)]


def on_canary(visitors: list[Browser], lane: Lane, now: float = 0.0) -> set[str]:
    return {one.id for one in visitors if one.visit(lane, now) is Cohort.CANARY}


def test_follow_goes_with_the_weight_both_ways() -> None:
    visitors = crowd()
    at_half = on_canary(visitors, under(Policy.FOLLOW, HALF))
    at_tenth = on_canary(visitors, under(Policy.FOLLOW, TENTH, period=5))
    assert at_tenth < at_half
    assert on_canary(visitors, under(Policy.FOLLOW, HALF, period=6)) == at_half


def test_keep_moves_no_exposed_visitor_and_newcomers_enter_at_the_new_weight() -> None:
    visitors, newcomers = crowd(), [Browser(f"new-{number}") for number in range(2_000)]
    at_half = on_canary(visitors, under(Policy.KEEP, HALF))
    lowered = under(Policy.KEEP, TENTH, period=5)
    assert on_canary(visitors, lowered) == at_half
    assert 150 <= len(on_canary(newcomers, lowered)) <= 250
    # Who is on stable is not pinned: they follow a rise.
    assert len(on_canary(visitors, under(Policy.KEEP, FULL, period=6))) == len(visitors)
    assert len(on_canary(visitors, under(Policy.KEEP, 0, period=7))) == len(visitors)


def test_nobody_with_a_session_changes_version_at_any_weight() -> None:
    visitors = crowd()
    first = on_canary(visitors, under(Policy.SESSION, TENTH))
    for step, weight in enumerate((HALF, 0, FULL, TENTH, HALF)):
        now = 60.0 * step
        assert on_canary(visitors, under(Policy.SESSION, weight, period=5 + step), now) == first
    promoted = under(Policy.SESSION, FULL, Phase.PROMOTED)
    assert on_canary(visitors, promoted, 400.0) == first
    # Away for longer than a session: a new one, under the present weight.
    later = on_canary(visitors, under(Policy.SESSION, HALF, period=20), 400.0 + SESSION + 1)
    assert first < later
    assert abs(len(later) - len(visitors) / 2) < 120


def test_a_session_goes_on_for_as_long_as_one_comes_back() -> None:
    stays = Browser("visitor-1")
    at = under(Policy.SESSION, TENTH)
    first, now = stays.visit(at), 0.0
    for period in range(5, 40):
        now += SESSION * 0.7
        weight = FULL if first is Cohort.STABLE else 0
        assert stays.visit(under(Policy.SESSION, weight, period=period), now) is first


def test_what_is_drawn_per_request_is_never_kept() -> None:
    at = under(Policy.REQUEST, HALF)
    assert (at.pins, at.draws, at.tag) == (frozenset(), False, "")
    assert route(at, None, Place(0)).is_canary
    assert not route(at, None, Place(2**53 - 1)).is_canary
    assert route(at, None, Place(0)).measured


@pytest.mark.parametrize("policy", [*Policy])
def test_a_new_epoch_moves_everybody(policy: Policy) -> None:
    visitors = crowd(500)
    on_canary(visitors, under(policy, FULL))
    assert on_canary(visitors, under(policy, 0, epoch=9, period=9)) == set()


def test_finish_ends_what_a_promotion_leaves() -> None:
    visitor = Browser("visitor-1")
    assert visitor.visit(under(Policy.SESSION, 0)) is Cohort.STABLE
    assert visitor.visit(under(Policy.SESSION, FULL, Phase.PROMOTED)) is Cohort.STABLE
    assert visitor.visit(under(Policy.SESSION, FULL, Phase.FINISHED)) is Cohort.CANARY


def test_a_pin_is_booked_where_it_was_drawn_and_an_overruled_one_nowhere() -> None:
    at = under(Policy.KEEP, TENTH, period=8)
    kept = route(at, None, Place(2**53 - 1, Pin(Cohort.CANARY, 4)))
    assert (kept.reason, kept.period, kept.measured) == (Reason.PIN, 4, True)
    assert route(at, None, Place(2**53 - 1, Pin(Cohort.CANARY, 4))) is kept
    overruled = route(at, None, Place(0, Pin(Cohort.CANARY, 4), overruled=True))
    assert (overruled.reason, overruled.measured) == (Reason.PIN, False)
    drawn = route(at, None, Place(0, overruled=True))
    assert (drawn.is_canary, drawn.measured) == (True, False)


def test_a_lane_keeps_few_assignments_of_pins_whatever_it_is_asked() -> None:
    at = under(Policy.KEEP, TENTH)
    for period in range(10_000):
        assert at.held(Cohort.CANARY, period).period == period
    assert len(at._held) <= 64  # noqa: SLF001  # that it is bounded shows nowhere else


PERIODS = st.integers(0, 2**53)


@given(
    st.sampled_from([*Policy]),
    st.sampled_from([*Cohort]),
    PERIODS,
    st.none() | st.builds(Pin, st.sampled_from([*Cohort]), PERIODS, st.integers(0, 10_000)),
    st.integers(0, 10_000),
)
def test_what_is_kept_holds_and_only_what_the_policy_pins_is_kept(
    policy: Policy, cohort: Cohort, period: int, held: Pin | None, now: int
) -> None:
    pins, session = PINNED[policy], SESSION if policy is Policy.SESSION else 0
    if held is not None and not holds(pins, held, now):
        held = None
    if held is not None:
        cohort, period = held.cohort, held.period
    kept = renewed(pins, session, Pin(cohort, period), held, now)
    if kept is None:
        unpinned = cohort not in pins
        lasting = held is not None and (not session or held.until - now >= session * 3 / RENEW)
        assert unpinned or lasting
    else:
        assert (kept.cohort, kept.period) == (cohort, period)
        assert holds(pins, kept, now)
        assert kept.until == (now + session if session else 0)


def test_the_closed_pin_nobody() -> None:
    for policy in Policy:
        assert pinned(policy, Phase.FINISHED) == frozenset()
        assert pinned(policy, Phase.PROMOTED) == PINNED[policy]


@pytest.mark.parametrize(
    ("policy", "weight", "phase", "draws"),
    [
        (Policy.FOLLOW, 0, Phase.PAUSED, False),
        (Policy.FOLLOW, 1, Phase.PAUSED, True),
        (Policy.FOLLOW, FULL, Phase.PAUSED, False),
        (Policy.KEEP, 0, Phase.PAUSED, False),
        (Policy.KEEP, FULL, Phase.PAUSED, True),
        (Policy.KEEP, FULL, Phase.PROMOTED, False),
        (Policy.SESSION, 0, Phase.PAUSED, True),
        (Policy.SESSION, FULL, Phase.RAMPING, True),
        (Policy.SESSION, FULL, Phase.PROMOTED, False),
        (Policy.REQUEST, HALF, Phase.PAUSED, False),
    ],
)
def test_when_a_visitor_needs_a_place(
    policy: Policy, weight: int, phase: Phase, draws: bool
) -> None:
    assert under(policy, weight, phase).draws is draws


# --- pins in the cookie ---------------------------------------------------------------------------

KEY = bytes(range(32))


def tag(rollout: str = "checkout", **changes: object) -> str:
    arguments = {"key": KEY, "lineage": "ab", "epoch": 3, "binding": "", **changes}
    return pin_tag(rollout=rollout, **arguments)  # type: ignore[arg-type]  # one dict for all


@given(st.sampled_from([*Cohort]), st.integers(0, 2**53 - 1), st.integers(0, 2**33))
def test_a_pin_comes_back_from_the_cookie(cohort: Cohort, period: int, until: int) -> None:
    pin = Pin(cohort, period, until)
    assert Cookie("id", 5).pinned(tag(), pin).pin(tag()) == pin


def test_a_pin_of_anything_else_is_not_found() -> None:
    cookie = Cookie("id", 5).pinned(tag(), Pin(Cohort.CANARY, 4))
    others = [
        tag("search"), tag(key=bytes(32)), tag(lineage="cd"), tag(epoch=4), tag(binding="bob"),
    ]  # fmt: skip
    assert [cookie.pin(other) for other in others] == [None] * 5


def test_a_newer_pin_takes_the_place_of_its_rollout_and_the_oldest_goes_when_it_is_full() -> None:
    cookie = Cookie("id", 5).bound("alice")
    for epoch in range(3):
        cookie = cookie.pinned(tag(epoch=epoch), Pin(Cohort.CANARY, epoch))
    assert len(cookie.sections) == 2
    names = [f"rollout-{number}" for number in range(MAX_PINS)]
    for name in names:
        cookie = cookie.pinned(tag(name), Pin(Cohort.STABLE, 10**7, 2**33))
    assert cookie.pin(tag(epoch=2)) is None
    assert all(cookie.pin(tag(name)) for name in names)
    assert cookie.binding == "alice"
    longest = ".".join(("1", "i" * 16, "zzzzzzz", *cookie.sections, "s" * 43))
    assert len(longest.replace("alice", "b" * 11)) < 200


def test_two_users_of_one_browser_have_a_pin_each() -> None:
    cookie = Cookie("id", 5)
    held = {
        binding: Pin(Cohort.CANARY, period) for period, binding in enumerate(("", "bob", "eve"))
    }
    for binding, pin in held.items():
        cookie = cookie.pinned(tag(binding=binding), pin)
    assert {binding: cookie.pin(tag(binding=binding)) for binding in held} == held
    newer = cookie.pinned(tag(binding="bob", epoch=4), Pin(Cohort.STABLE, 9))
    assert newer.pin(tag(binding="bob")) is None
    assert newer.pin(tag(binding="eve")) == held["eve"]


def test_a_section_that_is_no_pin_is_none() -> None:
    for text in ("", "x1", "c", "c1-", "cZ", "c" + "1" * 40):
        assert Cookie("id", 5, (f"p{tag()}{text}",)).pin(tag()) is None


def test_the_tag_is_that_of_every_process() -> None:
    at = under(Policy.KEEP, TENTH)
    assert at.tag == pin_tag(at.track.key, "checkout", "lineage", 3)
    assert replace(at).tag == at.tag == "ZJUbDh9I"
