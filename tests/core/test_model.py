from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from canary_middleware.core.model import (
    Assignment,
    Audience,
    Cohort,
    Reason,
    Rollout,
    Visitor,
)
from canary_middleware.core.ramp import Ramp

ALICE = Visitor("alice", groups=frozenset({"beta"}))


@pytest.mark.parametrize("subject", [None, 42, b"alice", "", True, ["alice"]])
def test_a_subject_is_a_non_empty_string(subject: Any) -> None:
    with pytest.raises(TypeError, match="subject"):
        Visitor(subject)


def test_groups_may_be_any_collection_but_not_one_string() -> None:
    groups: Any = ["beta", "beta"]
    assert Visitor("alice", groups=groups).groups == {"beta"}
    groups = "beta"
    with pytest.raises(TypeError, match="groups"):
        Visitor("alice", groups=groups)


@pytest.mark.parametrize(
    ("audience", "belongs"),
    [
        (Audience(), False),
        (Audience(subjects=["alice"]), True),
        (Audience(subjects=["alic", "alicee", "Alice"]), False),
        (Audience(groups=["beta", "staff"]), True),
        (Audience(groups=["alice"]), False),
        (Audience(subjects=["beta"]), False),
        (Audience(predicate=lambda visitor: visitor.subject.startswith("a")), True),
        (Audience(groups=["staff"], predicate=lambda _: False), False),
    ],
)
def test_membership(audience: Audience, belongs: bool) -> None:
    assert audience.includes(ALICE) is belongs


def test_an_audience_is_true_when_somebody_can_belong() -> None:
    assert not Audience()
    assert not Audience(subjects=[], groups=())
    assert Audience(subjects=["a"])
    assert Audience(groups=["a"])
    assert Audience(predicate=lambda _: False)


def test_membership_by_list_does_not_ask_the_predicate() -> None:
    def explode(visitor: Visitor) -> bool:
        raise AssertionError

    assert Audience(subjects=["alice"], predicate=explode).includes(ALICE)
    assert Audience(groups=["beta"], predicate=explode).includes(ALICE)


@pytest.mark.parametrize("answer", ["no", "", 1, None, object()])
def test_a_predicate_says_yes_or_no(answer: Any) -> None:
    """A9: what is true without being ``True`` made everybody a tester."""
    with pytest.raises(TypeError, match="must return a bool, not"):
        Audience(predicate=lambda _: answer).includes(ALICE)


def test_a_predicate_that_nobody_awaits_is_no_answer() -> None:
    async def no(visitor: Visitor) -> bool:
        return False

    coroutine: Any = no(ALICE)
    with pytest.raises(TypeError, match="not coroutine"):
        Audience(predicate=lambda _: coroutine).includes(ALICE)
    coroutine.close()


def test_lists_become_tuples_and_lone_strings_stay_for_the_validator() -> None:
    lists: Any = {"paths": ["/a"], "methods": ["GET"], "exclude": ["/b"]}
    rollout = Rollout("r", "1", "2", **lists)
    assert (rollout.paths, rollout.methods, rollout.exclude) == (("/a",), ("GET",), ("/b",))
    for other in ("/a", None, 5):
        lone: Any = other
        assert Rollout("r", "1", "2", paths=lone).paths == lone
        assert Audience(subjects=lone).subjects == lone
        assert Audience(groups=lone).groups == lone


def test_ramp_knows_its_weights() -> None:
    assert Ramp().weights == ()
    assert Ramp("1%", "0.5%", "100%").weights == (1_000, 500, 100_000)


def test_assignments_are_values_with_an_identity() -> None:
    one = Assignment("r", "2", Cohort.CANARY, "2", Reason.WEIGHT)
    two = Assignment("r", "2", Cohort.CANARY, "2", Reason.WEIGHT)
    assert one.is_canary
    assert one != two, "recorders find cells by identity"
    frozen: Any = one
    with pytest.raises(FrozenInstanceError):
        frozen.cohort = Cohort.STABLE


def test_reasons_are_one_word_each_in_the_order_of_precedence() -> None:
    design = [
        "out_of_scope", "kill_switch", "stale_control", "error", "other_release", "not_ready",
        "idle", "rolled_back", "denied", "override", "tester", "upstream", "pin", "weight",
    ]  # fmt: skip
    words = [reason.value for reason in Reason]
    assert [word for word in words if word in design] == design
