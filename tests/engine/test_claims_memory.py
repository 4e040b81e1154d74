"""What a process believes of claims without asking: never what another may have changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.state import Document, Plan, RolloutState
from canary_middleware.core.weight import FULL
from canary_middleware.engine.claims import REMEMBERED, WAITING, Claims
from tests.core.control import entry
from tests.engine.world import Time, World, world

KEEP = Rollout("checkout", "1", "2", policy="keep", affinity="shared")
NOBODY_ASKED = Ask("checkout", "key", None, "lineage", 3, 4, FULL // 2, FULL // 4, True, 9_000)


def memory(time: Time, events: Counter[str] | None = None) -> Claims:
    counted = Counter[str]() if events is None else events
    return Claims(lambda: time.monotonic, lambda event: counted.update([event]))


def ask(number: int) -> Ask:
    return replace(NOBODY_ASKED, key=f"key {number}")


def process(weight: int, period: int) -> World:
    made = world(KEEP, identify=lambda view: view.header("x-user"))
    move(made, weight, period)
    return made


def move(made: World, weight: int, period: int) -> None:
    found = entry(weight=weight, period=period, plan=Plan.from_rollout(KEEP))
    state = RolloutState("2", {"2": found})
    made.engine.adopt(Document("lineage", period, rollouts={"checkout": state}))


def claimed(made: World, user: str, *, by: bool = True) -> tuple[str, bool]:
    """The version of a user, and whether the store was asked; it answers by the rule, or not."""
    visit = made.visit(x_user=user)
    asks = visit.asks()
    visit.answered(asks, [contend(None, None, one) for one in asks] if by else None)
    return visit.expose("checkout").version, bool(asks)


def test_a_stable_claim_under_keep_is_asked_for_again_once_the_weight_has_moved() -> None:
    made = process(FULL // 2, 4)
    user = next(u for u in map(str, range(99)) if claimed(made, u)[0] == "1")
    assert claimed(made, user) == ("1", False), "known"
    move(made, FULL // 2, 6)  # meanwhile it was 100 %, and another process has raised the claim
    visit = made.visit(x_user=user)
    (again,) = visit.asks()
    visit.answered([again], [Claim("lineage", 3, 5, Cohort.CANARY, again.bucket)])
    assert visit.expose("checkout").version == "2"
    assert claimed(made, user) == ("2", False), "a canary claim holds whatever the weight"
    move(made, 0, 7)
    assert claimed(made, user) == ("2", False)


def test_who_is_served_without_the_store_stays_there_and_is_told_to_it() -> None:
    made = process(FULL // 2, 4)
    user = next(u for u in map(str, range(99)) if claimed(made, u, by=False)[0] == "2")
    move(made, 0, 5)
    assert claimed(made, user, by=False) == ("2", True), "asked again, and held in the meantime"
    told = made.engine.claims.take(200)
    assert [one.limit for one in told if one.bucket < one.limit], "as it was drawn"
    made.engine.claims.learn(told, [contend(None, None, one) for one in told])
    assert claimed(made, user) == ("2", False)


@pytest.mark.parametrize("served", [None, Claim("lineage", 3, 4, Cohort.CANARY, 1)])
def test_what_waits_is_bounded_and_what_does_not_fit_is_asked_for(served: Claim | None) -> None:
    time, events = Time(), Counter[str]()
    claims = memory(time, events)
    for number in range(WAITING + 10):
        claims.later(ask(number), served)
    assert events == {"claims_dropped": 10}
    assert len(claims) == REMEMBERED
    assert claims.known(ask(WAITING + 9)) is None
    assert claims.remembered(ask(WAITING + 9).key) is not None
    assert (claims.known(ask(WAITING - 1)) is None) == (served is not None)
