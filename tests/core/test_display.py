"""What is shown of a verdict, where it differs from what was judged by."""

from __future__ import annotations

import pytest

from canary_middleware.core.guards import Guard
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries
from canary_middleware.core.verdict import Evidence, Settings, Share


@pytest.mark.parametrize("told", [0, 4, 6, 7])
def test_failures_are_shown_by_whichever_ledger_came_first(told: int) -> None:
    """The totals of a canary that hangs are there a moment before its first events are."""
    cell = Cell(7)
    evidence = Evidence(
        weights={7: 50_000},
        current=7,
        entries={
            Arm(cell, Cohort.CANARY): Entries(8, 6),
            Arm(cell, Cohort.STABLE): Entries(9, 0),
        },
        firsts={("failures", 7, Cohort.CANARY): told},
    )
    verdict = judge(Settings((Guard.errors(),), Policy.FOLLOW), evidence)
    (found,) = verdict.findings
    assert (found.canary, found.stable) == (Share(max(6, told), 8), Share(0, 9))
