"""What a process logs of itself when it declares something else than what is in force."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canary_middleware.agent.oddities import Oddities
from canary_middleware.core.guards import Guard
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply

PLAN = Plan("1", "2", steps=(1_000, 5_000))
STARTED = apply(Document("a"), Command(Verb.START, "checkout", plan=PLAN), 1.0)


def test_each_difference_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    oddities, mine = Oddities(), {"checkout": replace(PLAN, stable="1a")}
    oddities.look(mine, None)
    oddities.look({"checkout": PLAN}, STARTED)
    assert caplog.messages == []
    rebased = apply(STARTED, Command(Verb.REBASE, "checkout", stable="1b"), 2.0)
    for document in (STARTED, STARTED, rebased, rebased):
        oddities.look(mine, document)
    assert caplog.messages == [
        "checkout: this process declares stable 1a (in force: 1); see `canary status`",
        "checkout: this process declares stable 1a (in force: 1b); see `canary status`",
    ]


def test_paths_of_its_own_are_nothing_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    Oddities().look({"checkout": replace(PLAN, paths=("/orders",), methods=("GET",))}, STARTED)
    assert caplog.messages == []


def test_a_release_that_waits_beside_the_current_one_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Oddities().look({"checkout": replace(PLAN, canary="3"), "search": PLAN}, STARTED)
    assert caplog.messages == [
        "checkout: this process declares release 3 (in force: 2); see `canary status`"
    ]


def test_a_plan_of_many_differences_is_one_line_of_bounded_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guards = tuple(Guard.rate(f"rate-{number}-{'x' * 50}") for number in range(30))
    Oddities().look({"checkout": replace(PLAN, guards=guards)}, STARTED)
    (line,) = caplog.messages
    assert len(line) < 700
    assert line.endswith(": added; and 24 more; see `canary status`")
