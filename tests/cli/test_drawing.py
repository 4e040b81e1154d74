"""What ``watch`` and ``status`` say of measured rollouts, without a store."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from canary_middleware.cli.drawing import Line, Paper, draw
from canary_middleware.cli.show import width_of
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.evidence import evidence_of
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Kill, Period, Phase
from canary_middleware.core.verdict import Decision, Share
from canary_middleware.overview.progress import evidence, progress
from canary_middleware.overview.scene import Scene, View, bake
from canary_middleware.overview.wording import percent
from tests.cli.scenes import (
    ENDED,
    ENTRY,
    MISSING,
    NOW,
    NUMBERS,
    PLAN,
    ROLLED_BACK,
    SEEN,
    VERDICT,
    VIEW,
    WHY,
    WORSE,
    finding,
    scene,
)

WIDE, USUAL, NARROW = 120, 80, 40


def texts(found: Scene, width: int = WIDE) -> list[str]:
    return [line.text for line in draw(found, Paper(width))]


def colored(found: Scene, color: str) -> str:
    return "\n".join(line.text for line in draw(found, Paper(WIDE)) if line.color == color)


def test_the_whole_screen_at_80_columns() -> None:
    assert texts(scene(VIEW), USUAL) == [
        "namespace shop, revision 17                                         03:08:57 UTC",
        "",
        "checkout  1.4.2 -> 1.5.0  ramping at 5%, owner pay@example.com",
        "step 2 of 5  ██████████████░░░░░░░░░░  6 min of 10 min, then 25%",
        "6 min ago: advance by agent web-1: 1% held for 10 min; on to 5%",
        "61 canary and 1,204 stable visitors measured; missing for a promotion: errors:",
        "  about 30 of 1,200 canary visitors followed for 15 min so far",
        "",
        "VERSION       SHARE  REQUESTS  ERRORS      P95 ALL  P99 ALL  CHARGES",
        "1.5.0 canary  5%     634       9 (1.4%)    156 ms   671 ms   207 (4 above 1)",
        "1.4.2 stable  95%    12,034    98 (0.81%)  117 ms   117 ms   3,968 (49 above 1)",
        "",
        "GUARD                  1.5.0       1.4.2         TO ROLLBACK   TO PROMOTION",
        "errors                 7 of 61     9 of 1,204    ████░░░░ 48%  █░░░░░░ 20%",
        "latency (1st request)  p99 900 ms  p99 800 ms    ░░░░░░░░ 0%   ███████ PROVEN",
        "client-errors (warns)  2 of 61     31 of 1,204   █░░░░░░░ 7%   -",
        "throughput (warns)     30 of 61    631 of 1,204  █░░░░░░░ 7%   -",
        "orders-charged-twice   0 of 211    0 of 4,011    █░░░░░░░ 7%   -",
        "conversions            12 of 61    300 of 1,204  █░░░░░░░ 7%   █░░░░░░ 7%",
        "revenue                12.3        12.9          █░░░░░░░ 7%   -",
        "totals of 4 processes, the oldest 2 s old",
        "",
        "4 processes reporting",
    ]


@pytest.mark.parametrize("width", [WIDE, 100, USUAL, 60, NARROW, 20])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    wide = replace(VIEW, name="checkout-東京", last=replace(ROLLED_BACK, by="東京" * 40))
    drawn = texts(scene(wide, ENDED, trouble="the store does not answer " * 9), width)
    assert [line for line in drawn if width_of(line) > width] == []


def test_a_narrow_terminal_keeps_what_matters_most() -> None:
    drawn = "\n".join(texts(scene(VIEW), NARROW))
    assert "ERRORS" in drawn
    assert "TO ROLLBACK" in drawn
    assert "P50" not in drawn
    assert "█" not in drawn.partition("GUARD")[2]


def test_a_release_that_was_rolled_back_says_why() -> None:
    drawn = texts(scene(ENDED))
    assert "checkout  1.4.2 -> 1.5.0  rolled back at 0%, owner pay@example.com" in drawn
    assert " ".join(part.strip() for part in drawn[3:5]) == (
        f"20 s ago: rollback by agent web-1: {WHY}"
    )
    assert not any("step " in line or "missing" in line for line in drawn)
    assert "orders-charged-twice" in colored(scene(ENDED), "red")
    assert "WORSE" in colored(scene(ENDED), "red")


def test_the_evidence_tells_where_no_reason_was_given() -> None:
    view = replace(ENDED, last=replace(ROLLED_BACK, why=""))
    assert any(WHY[:40] in line for line in texts(scene(view)))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View("search"), "search: idle, run: canary start search"),
        (replace(VIEW, killed=Kill("alice", "slow", NOW, 9)),
         "KILLED by alice (slow), it was ramping at 5%"),
        (replace(VIEW, entry=replace(ENTRY, phase=Phase.AWAITING_APPROVAL)),
         "waits for: canary approve checkout"),
        (replace(VIEW, entry=replace(ENTRY, phase=Phase.HOLDING, why="no traffic for 2 h")),
         "holding, 6 min ago: no traffic for 2 h"),
        (replace(VIEW, entry=replace(ENTRY, noted="would roll back for errors")),
         "observe mode, nothing was done: would roll back for errors"),
        (replace(VIEW, entry=replace(ENTRY, drill=Drill(Fault.ERROR, 20_000, NOW - 10, 60))),
         "DRILL: error in 20% of canary requests, for another 50 s"),
        (replace(VIEW, numbers=None, trouble="totals.run is not a whole number"),
         "its totals cannot be read: totals.run is not a whole number"),
        (replace(VIEW, numbers=replace(NUMBERS, age=None)), "no process ships totals now"),
        (replace(VIEW, numbers=replace(NUMBERS, processes=1)), "totals of 1 process, 2 s old"),
        (replace(VIEW, numbers=replace(NUMBERS, verdict=WORSE)),
         "worse: 5 of 43 orders charged twice on 1.5.0, 0 of 812 on 1.4.2"),
    ],
)  # fmt: skip
def test_what_somebody_has_to_know_is_said(view: View, words: str) -> None:
    assert words in " ".join(texts(scene(view)))


def test_a_drill_that_is_over_is_not_shown() -> None:
    over = replace(ENTRY, drill=Drill(Fault.ERROR, 20_000, NOW - 61, 60))
    assert "DRILL" not in " ".join(texts(scene(replace(VIEW, entry=over))))


def test_what_was_not_counted_is_no_zero() -> None:
    fresh = replace(VERDICT, findings=(finding("throughput", Share(), Share()),))
    drawn = texts(scene(replace(VIEW, numbers=replace(NUMBERS, verdict=fresh))))
    assert any(re.fullmatch(r"throughput  -      -      [█░]+ 7%.*", line) for line in drawn)


def test_an_empty_namespace_says_so() -> None:
    drawn = texts(scene(revision=None, reports=0))
    assert drawn[0].startswith("namespace shop  ")
    assert drawn[2:] == ["nothing is declared or started here yet", "", "no process reports"]


def test_a_store_that_is_away_stands_on_top() -> None:
    away = scene(VIEW, trouble="the store does not answer: this was so 12 s ago (refused)")
    assert draw(away, Paper(WIDE))[1] == Line(away.trouble, "red")
    assert "ramping at 5%" in texts(away)[3]


def test_processes_that_are_behind_are_counted() -> None:
    assert colored(scene(VIEW, behind=1), "yellow").endswith(
        "4 processes reporting, 1 of them behind"
    )


def test_bars_can_be_drawn_without_unicode() -> None:
    paper = Paper(USUAL, "#", ".")
    assert (paper.bar(0.5, 6), paper.bar(0.01, 6), paper.bar(0, 6)) == (
        "###...",
        "#.....",
        "......",
    )
    assert (paper.bar(0.999, 6), paper.bar(1, 6), paper.bar(-3, 6)) == (
        "#####.",
        "######",
        "......",
    )
    assert "\n".join(line.text for line in draw(scene(VIEW), paper)).isascii()


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.0081, "0.81%"), (0.0996, "10%"), (0.123, "12%"), (1, "100%")]
)
def test_percentages(share: float, text: str) -> None:
    assert percent(share) == text


def test_only_what_happens_is_a_change() -> None:
    found = scene(VIEW)
    more = replace(NUMBERS, verdict=replace(VERDICT, visitors=(99, 2_000)), age=0.1)
    assert found.key == replace(found, at=NOW + 9, views=(replace(VIEW, numbers=more),)).key
    for other in (
        scene(ENDED),
        scene(VIEW, trouble="gone"),
        scene(replace(VIEW, killed=Kill("a", "", NOW, 9))),
        scene(replace(VIEW, numbers=replace(NUMBERS, verdict=WORSE))),
        scene(replace(VIEW, entry=replace(ENTRY, weight=25_000))),
    ):
        assert found.key != other.key


def test_a_bake_counts_from_the_beginning_of_the_stay() -> None:
    at = bake(ENTRY, NOW)
    assert at is not None
    assert (at.step, at.steps, at.passed, at.left, at.then) == (2, 5, 360, 240, "25%")
    by_hand = replace(ENTRY, step=-1)
    assert bake(by_hand, NOW) is None
    last = replace(ENTRY, step=4, weight=100_000, periods=(Period(9, 100_000, NOW - 700),))
    at = bake(last, NOW)
    assert at is not None
    assert (at.left, at.then, at.onward) == (0, "", "then promotion")


def test_nothing_runs_where_it_is_paused_or_killed() -> None:
    paused = replace(VIEW, entry=replace(ENTRY, phase=Phase.PAUSED))
    drawn = "\n".join(texts(scene(paused)))
    assert "paused at 5%, off its ramp: `canary resume checkout` goes on at 5%" in drawn
    assert "of 10 min" not in drawn
    assert next(progress(paused, NOW)) == (
        "checkout 1.5.0: paused at 5%, off its ramp: `canary resume checkout` goes on at 5%"
    )
    killed = replace(VIEW, killed=Kill("alice", "slow", NOW, 9))
    assert "step 2 of 5" not in "\n".join(texts(scene(killed)))
    assert next(progress(killed, NOW)) == ("checkout 1.5.0: killed, off its ramp; it was at 5%")


def test_requests_that_do_not_count_yet_are_explained() -> None:
    fresh = replace(NUMBERS, verdict=replace(VERDICT, visitors=(0, 0)))
    said = "\n".join(progress(replace(VIEW, numbers=fresh), NOW))
    counts = "(an answer counts 5 s after its request came)"
    assert f"0 canary and 0 stable visitors measured {counts}; missing" in said
    nobody = replace(fresh, seen={})
    assert "counts" not in "\n".join(progress(replace(VIEW, numbers=nobody), NOW))


def test_status_tells_step_bake_verdict_and_age() -> None:
    assert list(progress(VIEW, NOW)) == [
        "checkout 1.5.0: step 2 of 5, 4 min of 10 min left, then 25%",
        (f"  61 canary and 1,204 stable visitors measured; missing for a promotion: {MISSING}"),
        "  totals of 4 processes, the oldest 2 s old",
    ]
    assert list(progress(ENDED, NOW)) == [f"checkout 1.5.0: {WHY}"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            replace(ENTRY, phase=Phase.HOLDING, why=MISSING),
            f"  holding, 6 min ago: {MISSING}\n  61 canary",
        ),
        (replace(ENTRY, noted="would promote"), "  observe mode, nothing was done: would promote"),
        (
            replace(ENTRY, step=-1, weight=40_000, phase=Phase.PAUSED),
            "checkout 1.5.0: paused at 40%, off its ramp: `canary resume checkout` goes on at 50%",
        ),
        (
            replace(ENTRY, step=-1, phase=Phase.PAUSED, plan=replace(PLAN, steps=())),
            "checkout 1.5.0: paused at 5%, on no step of a ramp",
        ),
        (replace(ENTRY, drill=Drill(Fault.HANG, 9_000, NOW, 30)), "; DRILL: hang for another 30 s"),
        (replace(ENTRY, periods=(Period(5, 5_000, NOW - 900),)), "step 2 of 5, baked, then 25%"),
    ],
)
def test_status_tells_what_it_waits_for(entry: Entry, words: str) -> None:
    assert words in "\n".join(progress(replace(VIEW, entry=entry), NOW))


def test_status_has_nothing_to_add_to_a_release_that_nobody_measures() -> None:
    bare = replace(ENTRY, plan=replace(PLAN, guards=(), course=replace(PLAN.course, bakes=())))
    assert list(progress(View("checkout", bare), NOW)) == []


def test_history_tells_the_evidence_in_words() -> None:
    assert list(evidence(ROLLED_BACK)) == [
        "known then: 43 canary and 812 stable visitors, 634 and 12,034 requests, 5 min at 5%",
        (
            "errors: 7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2; "
            "48% of what a rollback needs, 20% of what a promotion needs"
        ),
        "latency: p50 of 61 visitors 120 ms on 1.5.0, 100 ms on 1.4.2; proven",
        (
            "client-errors: 2 of 61 visitors got a 4xx on 1.5.0, 31 of 1,204 on 1.4.2; "
            "6.5% of what a rollback needs"
        ),
        (
            "throughput: 30 of 61 visitors came back on 1.5.0, 631 of 1,204 on 1.4.2; "
            "6.5% of what a rollback needs"
        ),
        "orders-charged-twice: 5 of 43 orders charged twice on 1.5.0, 0 of 812 on 1.4.2; worse",
        (
            "conversions: 12 of 61 visitors on 1.5.0, 300 of 1,204 on 1.4.2; "
            "6.5% of what a rollback needs, 6.7% of what a promotion needs"
        ),
        (
            "revenue per visitor: 12.3 on 1.5.0 (61), 12.9 on 1.4.2 (1,204); "
            "6.5% of what a rollback needs"
        ),
    ]
    assert next(evidence(replace(ROLLED_BACK, why=""))) == WHY


def test_history_tells_a_drill() -> None:
    drill = Drill(Fault.ERROR, 20_000, NOW - 10, 60)
    line = replace(ROLLED_BACK, evidence=evidence_of(WORSE, ENTRY, 340.0, drill=drill, seen=SEEN))
    assert next(evidence(line)).endswith("at 5%, during a drill (error in 20%)")


def test_evidence_that_is_none_does_no_harm() -> None:
    line = Audit(NOW, "x", "rollback", "checkout", "", "", "", 1, {"guards": 3})
    assert list(evidence(line)) == [
        "its evidence cannot be told (evidence.guards is not a list); --json shows it"
    ]
    assert list(evidence(replace(line, evidence={}))) == []


def test_a_verdict_that_speaks_for_it_says_so() -> None:
    proven = replace(VERDICT, decision=Decision.PROMOTE, proven=True, missing=())
    drawn = " ".join(texts(scene(replace(VIEW, numbers=replace(NUMBERS, verdict=proven)))))
    assert "fit for promotion after 61 canary visitors: proven up to the margins" in drawn
