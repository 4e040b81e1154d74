"""Which moves take a visitor from the version of an open stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.draining import lost, place
from canary_middleware.core.model import Assignment, Cohort, Policy, Reason
from canary_middleware.core.state import Document, Phase, Plan
from canary_middleware.core.weight import FULL
from tests.core.control import document, entry, killed, lane

CANARY, STABLE = Cohort.CANARY, Cohort.STABLE
QUARTER = SPACE // 4
"""A bucket that is on canary at 50 % and not at 10 %."""


def at(weight: int, phase: Phase = Phase.PAUSED, policy: Policy = Policy.FOLLOW) -> Document:
    return document(entry(phase, weight, plan=Plan("1", "2", policy=policy)))


def given(found: Document, cohort: Cohort, reason: Reason = Reason.WEIGHT) -> Assignment:
    made = lane(found)
    return (made.canary if cohort is CANARY else made.stable)[reason]


def loses(
    before: Document,
    after: Document,
    cohort: Cohort,
    bucket: int | None = QUARTER,
    reason: Reason = Reason.WEIGHT,
) -> bool:
    held = given(before, cohort, reason)
    return lost(lane(after), held, place(held, bucket))


HALF, TENTH, NONE = at(FULL // 2), at(FULL // 10), at(0)
ROLLED_BACK = at(0, Phase.ROLLED_BACK)
PROMOTED, FINISHED = at(FULL, Phase.PROMOTED), at(FULL, Phase.FINISHED)
NEXT = document(replace(entry(), release="3"))


@pytest.mark.parametrize("after", [TENTH, NONE, ROLLED_BACK, killed(HALF), NEXT])
def test_the_canary_loses_by(after: Document) -> None:
    assert loses(HALF, after, CANARY)
    assert not loses(HALF, after, STABLE, 3 * QUARTER), "who was on stable stays there"


@pytest.mark.parametrize("after", [HALF, at(FULL // 3), PROMOTED, FINISHED])
def test_the_canary_keeps_its_visitor_by(after: Document) -> None:
    assert not loses(HALF, after, CANARY)


@pytest.mark.parametrize("after", [HALF, PROMOTED, FINISHED])
def test_stable_loses_by(after: Document) -> None:
    assert loses(TENTH, after, STABLE)


def test_a_move_that_is_undone_gives_the_visitor_back() -> None:
    held = given(HALF, CANARY)
    stands = place(held, QUARTER)
    assert [lost(lane(found), held, stands) for found in (TENTH, HALF)] == [True, False]


@pytest.mark.parametrize(
    ("policy", "cohort", "before", "after", "expected"),
    [
        (Policy.KEEP, CANARY, FULL // 2, at(0, policy=Policy.KEEP), False),
        (Policy.KEEP, STABLE, FULL // 10, at(FULL // 2, policy=Policy.KEEP), True),
        (Policy.KEEP, CANARY, FULL // 2, at(0, Phase.ROLLED_BACK, Policy.KEEP), True),
        (Policy.SESSION, CANARY, FULL // 2, at(0, policy=Policy.SESSION), False),
        (Policy.SESSION, STABLE, 0, at(FULL, Phase.PROMOTED, Policy.SESSION), False),
        (Policy.SESSION, STABLE, 0, at(FULL, Phase.FINISHED, Policy.SESSION), True),
    ],
)
def test_a_policy_holds_whom_it_holds(
    policy: Policy, cohort: Cohort, before: int, after: Document, *, expected: bool
) -> None:
    assert loses(at(before, policy=policy), after, cohort) is expected


def test_a_revive_voids_pins() -> None:
    before = at(FULL // 2, policy=Policy.KEEP)
    revived = document(replace(entry(weight=0, plan=Plan("1", "2", policy=Policy.KEEP)), epoch=9))
    assert loses(before, revived, CANARY)


@pytest.mark.parametrize("reason", [Reason.TESTER, Reason.OVERRIDE, Reason.UPSTREAM])
def test_who_was_not_drawn_stays_until_the_release_is_closed(reason: Reason) -> None:
    assert not loses(HALF, NONE, CANARY, reason=reason)
    assert loses(HALF, ROLLED_BACK, CANARY, reason=reason)
    assert loses(HALF, NEXT, CANARY, reason=reason)


def test_the_denied_stay_where_everybody_else_leaves() -> None:
    assert not loses(HALF, FINISHED, STABLE, reason=Reason.DENIED)


def test_a_debug_token_needs_no_start() -> None:
    held = given(HALF, CANARY, Reason.OVERRIDE)
    assert not lost(lane(ROLLED_BACK), held, place(held, None, debug=True))
    assert lost(lane(NEXT), held, place(held, None, debug=True))


@pytest.mark.parametrize("reason", [Reason.ERROR, Reason.STALE_CONTROL, Reason.NOT_READY])
def test_what_one_process_decided_no_move_takes_back(reason: Reason) -> None:
    assert not loses(HALF, HALF, STABLE, reason=reason), "although the visitor is drawn to canary"
    assert loses(HALF, PROMOTED, STABLE, reason=reason)


def test_who_has_no_bucket_goes_with_the_last() -> None:
    assert not loses(HALF, at(1), CANARY, None)
    assert loses(HALF, NONE, CANARY, None)
    assert not loses(HALF, at(FULL - 1), STABLE, None)
    assert loses(HALF, PROMOTED, STABLE, None)


def test_a_canary_that_did_not_start_here_takes_nobody() -> None:
    held = given(TENTH, STABLE)
    assert not lost(lane(PROMOTED), held, place(held, QUARTER), ready=False)
