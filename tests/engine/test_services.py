"""What a visit believes of a calling service, and what it tells the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context

from canary_middleware.core.active import active_visit
from canary_middleware.core.model import Audience, Cohort, Reason
from canary_middleware.core.service import BAGGAGE, HEADER, KIND, Callers, Carried, read, write
from canary_middleware.core.state import Document, Phase, Plan, Verb
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.transitions import Command, apply, strike
from canary_middleware.core.weight import FULL
from canary_middleware.engine.services import FRESH
from canary_middleware.engine.visit import Visit
from canary_middleware.outbound import outbound_headers
from tests.core.control import CHECKOUT
from tests.engine.world import (
    ALL,
    BOTH,
    HALF,
    IMAGE,
    NAVIGATION,
    NEW,
    NONE,
    OLD,
    World,
    at,
    cookie_for,
    under,
    view,
    world,
)

SIGNED = Callers(signed=True)
NEARBY = Callers(networks=("10.0.0.0/8",))
CODEC = TokenCodec([NEW], "shop", KIND)
CANARY = Carried("checkout", "2", Cohort.CANARY, 3)
STABLE = CANARY._replace(cohort=Cohort.STABLE)


def signed(*carried: Carried, made: World, codec: TokenCodec = CODEC, age: float = 0) -> str:
    return write(codec, carried or (CANARY,), made.time.wall - age)


@contextmanager
def serving(visit: Visit) -> Iterator[None]:
    """The code of the application, while it serves this visit."""
    token = active_visit.set(visit)
    try:
        yield
    finally:
        active_visit.reset(token)


def sent(visit: Visit) -> dict[str, str]:
    with serving(visit):
        return outbound_headers()


def answer(made: World, **headers: Any) -> tuple[bool, Reason]:
    found = made.visit(**{**NAVIGATION, **headers}).expose("checkout")
    return found.is_canary, found.reason


# --- in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [NONE, HALF, ALL])
@pytest.mark.parametrize("carried", [CANARY, STABLE])
def test_a_signed_context_decides_at_any_weight(found: Document, carried: Carried) -> None:
    made = under(found, callers=SIGNED)
    cohort = carried.cohort is Cohort.CANARY
    token = signed(carried, made=made)
    assert answer(made, canary_context=token) == (cohort, Reason.UPSTREAM)


def test_by_default_nobody_is_believed() -> None:
    made = under(NONE)
    token = signed(made=made)
    assert answer(made, canary_context=token, baggage="canary.checkout=2") == (
        False, Reason.WEIGHT,
    )  # fmt: skip
    assert made.events() == {}


def test_a_context_outranks_the_cookie_and_draws_nobody() -> None:
    made = under(HALF, callers=SIGNED)
    cookie = cookie_for(made, canary=False)
    token = signed(made=made)
    assert answer(made, cookie=cookie) == (False, Reason.WEIGHT)
    assert answer(made, cookie=cookie, canary_context=token) == (True, Reason.UPSTREAM)
    assert answer(made, cookie=cookie) == (False, Reason.WEIGHT)
    visit = made.visit(**{**NAVIGATION, "canary_context": token})
    visit.expose("checkout")
    assert visit.cookie_line() is None


def test_the_answer_varies_on_what_was_looked_at() -> None:
    made = under(HALF, callers=Callers(signed=True, networks=NEARBY.networks))
    visit = made.visit(**IMAGE)
    visit.expose("checkout")
    assert HEADER in visit.inputs()
    assert BAGGAGE not in visit.inputs()


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.IDLE])
def test_a_phase_that_admits_nobody_admits_no_caller(phase: Phase) -> None:
    made = under(at(0, phase), callers=SIGNED)
    assert answer(made, canary_context=signed(made=made))[0] is False


def test_a_kill_a_silent_store_and_a_target_that_failed_win() -> None:
    made = under(strike(ALL, "checkout", by="me", why="", now=1.0), callers=SIGNED)
    token = signed(made=made)
    assert answer(made, canary_context=token) == (False, Reason.KILL_SWITCH)
    made = under(ALL, callers=SIGNED, max_staleness=60.0)
    assert answer(made, canary_context=token) == (False, Reason.STALE_CONTROL)
    made = under(ALL, callers=SIGNED)
    made.engine.set_ready("checkout", ready=False)
    assert answer(made, canary_context=token) == (False, Reason.NOT_READY)


def test_who_is_denied_or_a_tester_here_is_that_first() -> None:
    ann = Audience(["ann"])
    for rollout, expected in (
        (replace(CHECKOUT, denied=ann), (False, Reason.DENIED)),
        (replace(CHECKOUT, testers=ann), (True, Reason.TESTER)),
    ):
        made = under(NONE, rollout, callers=SIGNED, identify=lambda _: "ann")
        both = [signed(one, made=made) for one in (CANARY, STABLE)]
        assert {answer(made, canary_context=token) for token in both} == {expected}


@pytest.mark.parametrize(
    ("how", "event"),
    [
        ({"age": 121}, "service_expired"),
        ({"age": -61}, "service_future"),
        ({"codec": TokenCodec([OLD], "shop", KIND)}, "service_forged"),
        ({"codec": TokenCodec([NEW], "blog", KIND)}, "service_forged"),
        ({"codec": TokenCodec([NEW], "shop", "visitor")}, "service_forged"),
    ],
)
def test_what_is_not_genuine_changes_nothing_and_is_counted(
    how: dict[str, Any], event: str
) -> None:
    made = under(NONE, callers=SIGNED)
    assert answer(made, canary_context=signed(made=made, **how)) == (False, Reason.WEIGHT)
    assert made.events() == {event: 1}


@pytest.mark.parametrize("changes", [{"release": "3"}, {"epoch": 2}, {"rollout": "search"}])
def test_what_speaks_of_something_else_changes_nothing(changes: dict[str, Any]) -> None:
    made = under(NONE, callers=SIGNED)
    token = signed(CANARY._replace(**changes), made=made)
    assert answer(made, canary_context=token) == (False, Reason.WEIGHT)


def test_two_contexts_are_none() -> None:
    made = under(NONE, callers=SIGNED)
    token = signed(made=made)
    assert answer(made, canary_context=f"{token}, {token}") == (False, Reason.WEIGHT)


def test_nothing_is_remembered_of_a_decision_that_a_caller_made() -> None:
    for policy in ("keep", "session", "request"):
        made = started(policy=policy)
        visit = made.visit(**{**NAVIGATION, "canary_context": signed(EPOCH_1, made=made)})
        assert visit.expose("checkout").is_canary
        assert (visit.cookie_line(), made.numbers.drawn) == (None, 0), policy


def test_with_shared_affinity_the_store_is_not_asked() -> None:
    made = started(affinity="shared", identify=lambda _: "ann")
    token = signed(EPOCH_1, made=made)
    assert made.visit(canary_context=token).asks() == []
    (ask,) = made.visit(canary_context=token.replace(":c:", ":s:")).asks()
    assert ask.rollout == "checkout"


EPOCH_1 = CANARY._replace(epoch=1)


def started(identify: Any = None, **plan: Any) -> World:
    """A process under a plan, at 50 %, that believes signed contexts."""
    rollout = replace(CHECKOUT, **plan)
    command = Command(Verb.START, "checkout", plan=Plan.from_rollout(rollout), weight=FULL // 2)
    document = apply(Document("a" * 16), command, 1.0)
    return under(document, rollout, callers=SIGNED, identify=identify)


@given(st.binary(max_size=600))
def test_whatever_comes_in_is_read_without_an_error(data: bytes) -> None:
    made = under(NONE, callers=SIGNED)
    found = made.visit(canary_context=data.decode("latin-1")).told()
    assert found == {}


# --- unsigned, by address -----------------------------------------------------------------------


def from_peer(made: World, address: str | None, line: str) -> tuple[bool, Reason]:
    visit = made.visit(baggage=line)
    visit.view.native["client"] = None if address is None else (address, 4711)
    found = visit.expose("checkout")
    assert (BAGGAGE in visit.inputs()) == (address == "10.1.2.3")
    return found.is_canary, found.reason


def test_baggage_counts_from_a_trusted_address_only() -> None:
    made = under(NONE, callers=NEARBY)
    line = "a=b, canary.checkout=2;x=y"
    assert from_peer(made, "10.1.2.3", line) == (True, Reason.UPSTREAM)
    assert from_peer(made, "10.1.2.3", "canary.checkout=3") == (False, Reason.WEIGHT)
    for address in ("11.1.2.3", "2001:db8::1", None):
        assert from_peer(made, address, line) == (False, Reason.WEIGHT)


def test_a_signed_context_outranks_baggage() -> None:
    made = under(NONE, callers=Callers(signed=True, networks=NEARBY.networks))
    visit = made.visit(baggage="canary.checkout=2", canary_context=signed(STABLE, made=made))
    visit.view.native["client"] = ("10.1.2.3", 4711)
    assert visit.expose("checkout").is_canary is False


# --- out ----------------------------------------------------------------------------------------


def test_nothing_is_sent_outside_of_a_request() -> None:
    assert outbound_headers() == {}


def test_what_was_exposed_is_sent_and_nothing_else() -> None:
    made = under(ALL, *BOTH)
    visit = made.visit()
    assert sent(visit) == {}
    visit.expose("search")
    headers = sent(visit)
    assert headers[BAGGAGE] == "canary.search=2"
    carried = read(CODEC, headers[HEADER].encode(), made.time.wall)
    assert carried == {"search": CANARY._replace(rollout="search")}
    visit.expose("checkout")
    assert sent(visit)[BAGGAGE] == "canary.search=2,canary.checkout=2"
    assert made.visit().cookie_line() is None


def test_a_context_is_signed_once_for_all_who_are_told_the_same() -> None:
    made = under(ALL)

    def header() -> str:
        visit = made.visit()
        visit.expose("checkout")
        return sent(visit)[HEADER]

    first = header()
    made.time.wall += FRESH - 1
    assert header() == first
    made.time.wall += 1
    assert header() != first
    made.time.wall -= 100
    assert read(CODEC, header().encode(), made.time.wall)


def test_what_a_service_takes_no_part_in_is_passed_on() -> None:
    made = under(ALL, callers=SIGNED)
    other = Carried("search", "7", Cohort.CANARY, 2)
    visit = made.visit(canary_context=signed(other, STABLE, made=made))
    headers = sent(visit)
    assert set(read(CODEC, headers[HEADER].encode(), made.time.wall).values()) == {other, STABLE}
    assert headers[BAGGAGE] == "canary.search=7"
    visit.expose("checkout")
    assert sent(visit)[BAGGAGE] == "canary.checkout=1,canary.search=7"
    # From whoever is not believed nothing is passed on.
    assert sent(under(ALL).visit(canary_context=signed(other, made=made))) == {}


def test_of_what_is_killed_by_now_stable_is_asked_for() -> None:
    made = under(ALL, callers=SIGNED)
    visit = made.visit(canary_context=signed(Carried("search", "7", Cohort.CANARY, 2), made=made))
    assert visit.expose("checkout").is_canary
    made.engine.adopt(strike(ALL, "*", by="me", why="", now=1.0))
    headers = sent(visit)
    carried = read(CODEC, headers[HEADER].encode(), made.time.wall)
    assert {one.cohort for one in carried.values()} == {Cohort.STABLE}
    assert "canary.checkout=2" in headers[BAGGAGE]  # what was served stays what was served


def test_baggage_of_others_is_kept_and_what_they_say_of_versions_is_not() -> None:
    made = under(ALL)
    visit = made.visit()
    visit.expose("checkout")
    present = baggage.set_baggage("tenant", "7 a")
    present = baggage.set_baggage("canary.checkout", "9", present)
    token = context.attach(baggage.set_baggage("canary.search", "9", present))
    try:
        assert sent(visit)[BAGGAGE] == "tenant=7+a,canary.checkout=2"
        assert sent(made.visit()) == {BAGGAGE: "tenant=7+a"}
    finally:
        context.detach(token)


def test_the_second_run_of_a_request_is_told_the_same() -> None:
    made = world(callers=SIGNED)
    made.engine.adopt(at(FULL))
    visit = made.visit(canary_context=signed(made=made))
    visit.expose("checkout")
    why = visit.supersede(599)
    assert why is not None
    second = visit.again(why, view())
    assert second.told() == {"checkout": CANARY}
    assert second.expose("checkout").is_canary is False
