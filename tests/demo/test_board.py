"""The live board, from scenes that were made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canary_middleware.cli.drawing import Paper
from canary_middleware.core.state import Phase
from canary_middleware.demo.board import board
from canary_middleware.overview.scene import Scene, View
from tests.cli.scenes import ENDED, ENTRY, NUMBERS, VIEW, scene


def drawn(shown: Scene, width: int = 79) -> list[str]:
    return [line.text for line in board(shown, Paper(width, "#", "."))]


def test_both_versions_and_what_decides() -> None:
    assert drawn(scene(VIEW)) == [
        "",
        "  checkout  ramping at 5%, step 2 of 5, 6 min of 10 min",
        "    1.5.0     5%      634 requests    9 errors   p50  149 ms   p95  156 ms",
        "    1.4.2    95%   12,034 requests   98 errors   p50  112 ms   p95  117 ms",
        "    rollback ######......  48%   promotion #...........   7%   conversions",
    ]


def test_an_end_is_coloured_and_says_by_what() -> None:
    lines = board(scene(ENDED), Paper(79, "#", "."))
    assert (lines[1].text, lines[1].color) == (
        "  checkout  rolled back at 0%, 940.0 s after its start", "red",
    )  # fmt: skip
    assert lines[-1].text == "    rollback ############ 100%   orders-charged-twice"
    promoted = replace(ENDED, entry=replace(ENTRY, phase=Phase.PROMOTED))
    assert board(scene(promoted), Paper(79))[1].color == "green"


def test_what_was_not_started_or_measured_is_left_out() -> None:
    assert drawn(scene(View("checkout"))) == []
    assert drawn(scene(View("checkout", ENTRY))) == [
        "", "  checkout  ramping at 5%, step 2 of 5, 6 min of 10 min",
    ]  # fmt: skip


def test_a_note_stands_below_its_rollout() -> None:
    notes = {"checkout": "1.5.0 is a server at http://127.0.0.1:9002", "search": "is not shown"}
    lines = [line.text for line in board(scene(VIEW), Paper(79, "#", "."), notes)]
    assert lines[2] == "    1.5.0 is a server at http://127.0.0.1:9002"
    assert [*lines[:2], *lines[3:]] == drawn(scene(VIEW))


def test_why_there_are_no_numbers_is_said() -> None:
    *_, line = board(scene(View("checkout", ENTRY, trouble="of another format")), Paper(79))
    assert line == ("    its totals cannot be read: of another format", "red")


@pytest.mark.parametrize("width", [20, 40, 79, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = replace(VIEW, name="a-rollout-with-a-name-as-long-as-this", numbers=NUMBERS)
    lines = drawn(scene(long, ENDED), width)
    assert lines
    assert max(map(len, lines)) <= width
