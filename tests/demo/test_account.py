"""What became of a release, read from the control state and its history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Entry, Period, Phase, RolloutState
from canary_middleware.demo.account import Scene, Window, release_of
from canary_middleware.demo.words import CHECKOUT, PAY
from tests.cli.scenes import ADVANCED, ENTRY, NOW, ROLLED_BACK

OFFSET = 100.0 - NOW
"""Monotonic minus wall-clock seconds: it is second 100."""


def document(entry: Entry) -> Document:
    return Document("a" * 32, 6, rollouts={"checkout": RolloutState("1.5.0", {"1.5.0": entry})})


def test_times_are_those_of_the_monotonic_clock() -> None:
    periods = (
        Period(3, 1_000, NOW - 90), Period(4, 1_000, NOW - 85), Period(5, 5_000, NOW - 60),
        Period(6, 0, NOW - 20),
    )  # fmt: skip
    entry = replace(
        ENTRY, phase=Phase.ROLLED_BACK, weight=0, since=NOW - 20, begun=NOW - 90, periods=periods
    )
    release = release_of(CHECKOUT, document(entry), [ROLLED_BACK, ADVANCED], OFFSET)
    assert (release.began, release.since) == pytest.approx((10.0, 80.0))
    assert release.word == "rolled back"
    assert release.scenes == (Scene(1, Window(10, 40)), Scene(5, Window(40, 80)))


def test_evidence_is_that_of_its_end() -> None:
    rolled_back = replace(ENTRY, phase=Phase.ROLLED_BACK)
    release = release_of(CHECKOUT, document(rolled_back), [ROLLED_BACK, ADVANCED], OFFSET)
    assert release.guards == ("orders-charged-twice",)
    assert release.told is not None
    assert release.told.sentence() == ROLLED_BACK.why


def test_a_release_that_goes_on_and_one_that_a_person_ended_have_none() -> None:
    lines: list[Audit] = [ROLLED_BACK]
    assert release_of(CHECKOUT, document(ENTRY), lines, OFFSET).told is None
    promoted = document(replace(ENTRY, phase=Phase.PROMOTED))
    by_hand = replace(ROLLED_BACK, evidence={}, action="promote")
    assert release_of(CHECKOUT, promoted, [by_hand], OFFSET).told is None


def test_a_release_that_was_never_started_is_told_of() -> None:
    with pytest.raises(LookupError, match=r"pay 2\.4\.0 was never started"):
        release_of(PAY, document(ENTRY), [], OFFSET)
