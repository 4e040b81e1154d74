"""A mean without ``cap=``: until stable's p99.5 is known, and after that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

import pytest

from canary_middleware.core.caps import usual_cap
from canary_middleware.core.gauge import Gauge, value_bucket
from canary_middleware.core.guards import Guard
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Cohort
from canary_middleware.core.state import Cap, Entry, Period, Phase, Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import VALUES, Arm, Matured
from canary_middleware.core.verdict import Evidence, Finding, Settings

REVENUE: Final = Guard.mean("revenue", margin="5%")
FOUND: Final = replace(REVENUE, cap=100.0)
RISING: Final = Guard.mean("revenue", margin="5%", worse="higher", cap=100.0)
HALF: Final = 50_000


def told(values: Sequence[float], cap: float = 0.0) -> list[int]:
    """Values by bucket."""
    counts = Counter(value_bucket(value, cap) for value in values)
    return [counts[bucket] for bucket in range(VALUES)]


@pytest.mark.parametrize("middle", [3.0, 40.0, 900.0])
@pytest.mark.parametrize("spread", [0.2, 0.8])
def test_powers_of_two_tell_the_quantile_well_enough(middle: float, spread: float) -> None:
    random = Random(7)
    values = sorted(middle * random.lognormvariate(0, spread) for _ in range(4_000))
    found = usual_cap(told(values))
    assert found is not None
    assert 0.7 <= found / values[int(0.995 * len(values))] <= 1.6


@pytest.mark.parametrize(("values", "cap"), [
    ([100.0] * 199, None),
    ([100.0] * 200, 128.0),
    ([0.0] * 190 + [100.0] * 10, 119.0),
    ([0.5] * 1_000, None),
    ([20_000.0] * 1_000, None),
    ([], None),
])  # fmt: skip
def test_too_few_values_and_those_of_no_size_have_no_cap(
    values: list[float], cap: float | None
) -> None:
    assert usual_cap(told(values)) == cap


# --- what is proven -----------------------------------------------------------------------------


def seen(
    periods: dict[int, tuple[list[int], list[int]]], n: int, capped: dict[str, int] | None = None
) -> Evidence:
    """Periods at 50 % with so many visitors of each version, and the values that they had."""
    return Evidence(
        weights=dict.fromkeys(periods, HALF),
        current=max(periods),
        matured={
            Arm(Cell(period), cohort): Matured(n, {"revenue": counts})
            for period, both in periods.items()
            for cohort, counts in zip((Cohort.CANARY, Cohort.STABLE), both, strict=True)
        },
        capped=capped or {},
    )


def finding(guard: Guard, evidence: Evidence) -> Finding:
    (found,) = judge(Settings((guard,)), evidence).findings
    return found


@pytest.mark.parametrize(("values", "words"), [
    ([100.0] * 150, "no cap yet, 50 of 200 values of stable are missing"),
    ([100.0] * 300, "no cap yet"),
    ([0.5] * 300, "no cap is found below 1 or above 16,384: give it one with cap="),
])  # fmt: skip
def test_without_a_cap_it_is_said_what_is_missing(values: list[float], words: str) -> None:
    found = finding(REVENUE, seen({7: (told(values), told(values))}, 1_000))
    assert found.missing == words


def test_only_values_in_parts_of_the_cap_are_proven_and_shown() -> None:
    earlier = told([100.0] * 2_000), told([100.0] * 2_000)
    later = told([50.0] * 40, 100.0), told([50.0] * 40, 100.0)
    alone = finding(FOUND, seen({9: later}, 400))
    both = finding(FOUND, seen({7: earlier, 9: later}, 400, {"revenue": 9}))
    mixed = finding(FOUND, seen({7: earlier, 9: later}, 400))
    assert (both.proof, both.canary, both.stable) == (alone.proof, alone.canary, alone.stable)
    assert both.canary.mean == pytest.approx(0.1 * 7.5 / 16 * 100)
    assert mixed.proof != both.proof
    assert mixed.canary.mean != both.canary.mean


def buyers(random: Random, n: int, least: float) -> list[float]:
    """Values of those of ``n`` visitors who buy something: three of ten."""
    return [least + random.uniform(0, 60) for _ in range(n) if random.random() < 0.3]


def promoted(guard: Guard, seed: int, more: float) -> bool:
    """Whether some look at 2,400 visitors of each version finds the margin proven.

    Args:
        guard: whose cap is 100.
        seed: of chance.
        more: what each of the canary's buyers spends beyond stable's.
    """
    random = Random(seed)
    canary, stable = [0] * VALUES, [0] * VALUES
    for look in range(1, 5):
        for counts, least in ((canary, 30 + more), (stable, 30.0)):
            for at, count in enumerate(told(buyers(random, 600, least), 100.0)):
                counts[at] += count
        found = finding(guard, seen({9: (canary, stable)}, 600 * look, {"revenue": 9}))
        if not found.missing:
            return True
    return False


@pytest.mark.parametrize(("guard", "sign"), [(FOUND, -1), (RISING, 1)])
def test_a_release_at_the_margin_is_hardly_ever_promoted_and_a_good_one_is(
    guard: Guard, sign: int
) -> None:
    runs, lost = 60, sign * 5 / 0.3
    assert sum(promoted(guard, seed, lost) for seed in range(runs)) <= 0.05 * runs + 3
    assert sum(promoted(guard, seed, 0.0) for seed in range(runs)) >= 0.9 * runs


def test_equal_versions_are_not_blamed_where_the_buckets_changed() -> None:
    earlier = told([100.0] * 2_000), told([100.0] * 2_000)
    later = told([20.0] * 400, 100.0), told([20.0] * 400, 100.0)
    found = finding(FOUND, seen({7: earlier, 9: later}, 4_000, {"revenue": 9}))
    assert not found.breach
    assert not found.suspect


# --- what counts ----------------------------------------------------------------------------------


def test_a_process_counts_in_parts_of_the_cap_once_it_is_found() -> None:
    plan = Plan("1", "2", guards=(REVENUE,))
    entry = Entry("2", "1", Phase.RAMPING, HALF, 0, 1, 1, 0.0, "", plan, 1, 0.0)
    entry = replace(entry, periods=(Period(1, HALF, 0.0), Period(4, HALF, 9.0)))
    capped = replace(entry, caps=(Cap("revenue", 100.0, since=4),))
    ((watch,), (later,)) = (
        Gauge.of("checkout", one, "a", b"k" * 32).watches["revenue"] for one in (entry, capped)
    )
    assert (watch.hit(50.0), watch.hit(500.0)) == (6, 9)
    assert (later.hit(50.0), later.hit(500.0)) == (7, 15)
