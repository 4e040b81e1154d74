"""The judge on totals that are known beforehand."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.budget import bets
from canary_middleware.core.guards import Guard
from canary_middleware.core.judge import judge
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import STARTS, histogram
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Matured, Seen, bucket_of
from canary_middleware.core.verdict import Decision, Evidence, Finding, Settings, Verdict

CANARY, STABLE = Cohort.CANARY, Cohort.STABLE
FIVE = Cell(7)
GUARDS = (Guard.errors(), Guard.latency(), Guard.rate("conversions"))
WARNINGS = (Guard.client_errors(), Guard.throughput())


def latencies(n: int, factor: float = 1.0, slow: int = 0) -> array[int]:
    """``n`` latencies around 80 ms, spread evenly; ``slow`` of them take five seconds longer."""
    counts = histogram()
    for index in range(n):
        # The quantiles of a logistic distribution on the logarithmic scale.
        part = (index + 0.5) / n
        seconds = factor * 0.08 * math.exp(0.3 * math.log(part / (1 - part)))
        counts[bucket_of(seconds + (5 if index >= n - slow else 0))] += 1
    return counts


BASELINE = latencies(2000)


def entries(n: int, failures: int = 0, *, factor: float = 1.0, slow: int = 0) -> Entries:
    return Entries(n, failures, 0, latencies(n, factor, slow))


def settings(*guards: Guard, policy: Policy = Policy.FOLLOW) -> Settings:
    return Settings(guards or GUARDS, policy, baseline=BASELINE)


def evidence(
    canary: Entries,
    stable: Entries,
    *,
    firsts: dict[str, tuple[int, int]] | None = None,
    hits: dict[str, tuple[list[int], list[int]]] | None = None,
    cell: Cell = FIVE,
) -> Evidence:
    """One period at 5 %, everybody matured."""
    arms = {CANARY: canary, STABLE: stable}
    return Evidence(
        weights={7: 5_000},
        current=7,
        entries={Arm(cell, cohort): one for cohort, one in arms.items()},
        firsts={
            (kind, 7, cohort): count
            for kind, both in (firsts or {}).items()
            for cohort, count in zip(arms, both, strict=True)
        },
        matured={
            Arm(cell, cohort): Matured(
                one.n, {name: both[index] for name, both in (hits or {}).items()}
            )
            for index, (cohort, one) in enumerate(arms.items())
        },
    )


def healthy(n: int) -> Evidence:
    """``n`` canary visitors of whom one in a hundred fails, as on stable; one in twenty buys."""
    return evidence(
        entries(n, n // 100),
        entries(19 * n, 19 * n // 100),
        firsts={"failures": (n // 100, 19 * n // 100), "slow": (n // 100, 19 * n // 100)},
        hits={
            "errors": ([n // 100], [19 * n // 100]),
            "conversions": ([n // 20], [19 * n // 20]),
        },
    )


def found(verdict: Verdict, name: str) -> Finding:
    return next(one for one in verdict.findings if one.guard == name)


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.SESSION, Policy.REQUEST])
def test_a_healthy_release_is_proven_in_the_end(policy: Policy) -> None:
    verdict = judge(settings(policy=policy), healthy(10_000))
    assert verdict.decision is Decision.PROMOTE
    assert verdict.proven
    assert not verdict.missing
    assert verdict.visitors == (10_000, 190_000)
    assert all(one.proven and not one.suspect for one in verdict.findings)


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.REQUEST])
def test_it_holds_until_then_and_says_what_is_missing(policy: Policy) -> None:
    verdict = judge(settings(policy=policy), healthy(600))
    unit = "requests" if policy is Policy.REQUEST else "visitors followed for 15 min"
    assert verdict.decision is Decision.INCONCLUSIVE
    assert not verdict.proven
    assert found(verdict, "errors").missing.startswith("about 600 of 1,")
    assert found(verdict, "errors").missing.endswith(f"00 canary {unit} so far")
    assert verdict.missing[0] == f"errors: {found(verdict, 'errors').missing}"


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.REQUEST])
def test_a_crash_is_found_with_the_third_visitor(policy: Policy) -> None:
    crash = evidence(
        entries(3, 3), entries(57), firsts={"failures": (3, 0)}, hits={"errors": ([3], [0])}
    )
    verdict = judge(settings(policy=policy), crash)
    assert verdict.decision is Decision.ROLLBACK
    assert [one.guard for one in verdict.breaches] == ["errors"]


def test_double_charges_are_found_with_the_third() -> None:
    charged = Guard.never("charges", name="orders-charged-twice")
    totals = evidence(entries(25), entries(475), firsts={"orders-charged-twice": (3, 0)})
    seen = {
        CANARY: Seen(observed={"orders-charged-twice": [25, 3]}),
        STABLE: Seen(observed={"orders-charged-twice": [475, 0]}),
    }
    verdict = judge(settings(Guard.errors(), Guard.latency(), charged), replace(totals, seen=seen))
    (guilty,) = verdict.breaches
    assert guilty.guard == "orders-charged-twice"
    assert (guilty.canary.events, guilty.canary.of) == (3, 25)
    assert (guilty.stable.events, guilty.stable.of) == (0, 475)
    assert guilty.unit == "requests"


@pytest.mark.parametrize(
    ("guard", "canary"),
    [
        (Guard.latency(), entries(120, factor=1.5)),
        (Guard.latency("p50"), entries(120, factor=1.5)),
        (Guard.latency("p99"), entries(120, slow=6)),
    ],
)
def test_a_slower_canary_is_found(guard: Guard, canary: Entries) -> None:
    verdict = judge(settings(guard), evidence(canary, entries(2280)))
    assert verdict.decision is Decision.ROLLBACK
    quick, slow = verdict.findings[0].stable.quantiles, verdict.findings[0].canary.quantiles
    assert slow[2]
    assert quick[2]
    assert slow[2] > quick[2]


def test_fewer_sales_and_less_revenue_are_found() -> None:
    totals = evidence(
        entries(2_000),
        entries(38_000),
        hits={
            "conversions": ([20], [1_900]),
            "revenue": ([0] * 7 + [20], [0] * 7 + [1_900]),
        },
    )
    revenue = Guard.mean("revenue", cap=100.0)
    verdict = judge(settings(Guard.rate("conversions"), revenue), totals)
    assert {one.guard for one in verdict.breaches} == {"conversions", "revenue"}
    assert found(verdict, "revenue").canary.mean == pytest.approx(0.01 * 7.5 / 16 * 100)
    assert found(verdict, "revenue").stable.mean == pytest.approx(0.05 * 7.5 / 16 * 100)


def test_what_only_warns_never_rolls_back_and_costs_the_others_nothing() -> None:
    bad = entries(100, 0)
    bad.client_errors = 60
    stable = entries(1_900)
    totals = evidence(bad, stable)
    alone = judge(settings(Guard.errors()), totals)
    both = judge(settings(Guard.errors(), *WARNINGS), totals)
    assert both.decision is not Decision.ROLLBACK
    assert found(both, "client-errors").breach
    assert not both.breaches
    assert found(both, "errors") == found(alone, "errors")


def test_shares_of_alpha_sum_to_one() -> None:
    plans = (GUARDS, (Guard.errors(),), (*GUARDS, Guard.never("charges"), Guard.mean("revenue")))
    for policy in Policy:
        for guards in plans:
            parts = bets((*guards, *WARNINGS), policy)
            spent = [math.exp(one.log_weight) for one in parts if one.guard.breaches]
            assert sum(spent) == pytest.approx(1)


def test_a_heavier_guard_has_more_of_it() -> None:
    usual = bets(GUARDS, Policy.FOLLOW)
    heavy = bets((*GUARDS[:2], Guard.rate("conversions", weight=3.0)), Policy.FOLLOW)
    assert heavy[-1].log_weight > usual[-1].log_weight


def test_ledgers_are_not_averaged_and_bets_in_one_are() -> None:
    by_ledger: dict[str, set[str]] = {}
    for one in bets((*GUARDS, Guard.mean("revenue"), Guard.never("charges")), Policy.FOLLOW):
        by_ledger.setdefault(one.ledger, set()).add(one.guard.name)
    assert by_ledger == {
        "entries": {"errors", "latency"},
        "firsts failures": {"errors"},
        "firsts slow": {"latency"},
        "firsts charges": {"charges"},
        "matured": {"conversions", "revenue"},
    }
    (ledger,) = {one.ledger for one in bets(GUARDS, Policy.REQUEST)}
    assert ledger == "requests"


@pytest.mark.parametrize(("twice", "stable", "decision"), [
    (2, 0, Decision.ROLLBACK), (2, 1, Decision.INCONCLUSIVE), (1, 0, Decision.INCONCLUSIVE),
])  # fmt: skip
def test_two_of_what_must_never_happen_are_enough_when_every_request_is_drawn_anew(
    twice: int, stable: int, decision: Decision
) -> None:
    guards = (*Guard.defaults(), Guard.never("charges"), Guard.rate("orders"))
    hits = {"charges": ([twice], [stable]), "orders": ([1], [19])}
    totals = evidence(entries(17), entries(323, 3), hits=hits)
    assert judge(settings(*guards, policy=Policy.REQUEST), totals).decision is decision


def test_without_a_baseline_latency_bets_nothing_and_says_so() -> None:
    slow = evidence(entries(500, factor=3.0), entries(9_500))
    verdict = judge(replace(settings(), baseline=None), slow)
    assert verdict.decision is Decision.INCONCLUSIVE
    assert found(verdict, "latency").missing == "no baseline yet"
    assert "latency: no baseline yet" in verdict.missing


def test_latency_of_before_the_baseline_is_not_bet_on() -> None:
    slow = evidence(entries(500, factor=3.0), entries(9_500))
    assert judge(settings(), slow).decision is Decision.ROLLBACK
    assert judge(settings(), replace(slow, betting=8)).decision is Decision.INCONCLUSIVE


def test_clients_that_cannot_be_followed_are_never_proven() -> None:
    verdict = judge(replace(settings(), exact=False), healthy(10_000))
    assert verdict.decision is Decision.PROMOTE
    assert not verdict.proven


def test_a_guard_without_a_margin_asks_nothing() -> None:
    verdict = judge(settings(Guard.errors(margin=None)), healthy(100))
    assert verdict.decision is Decision.PROMOTE
    assert not verdict.proven


def test_arms_of_another_size_than_drawn_block_a_promotion_only() -> None:
    fair = healthy(10_000)
    torn = {
        arm: entries(one.n * 27 // 25 if arm.cohort is CANARY else one.n)
        for arm, one in fair.entries.items()
    }
    verdict = judge(settings(Guard.errors()), replace(fair, entries=torn))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.mismatch > math.log(1000)
    assert "sample-ratio" in verdict.missing[0]
    assert not verdict.proven


def test_nobody_has_come_yet() -> None:
    verdict = judge(settings(), Evidence(weights={7: 5_000}, current=7))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert verdict.missing[0] == "no visitors so far"
    assert verdict.visitors == (0, 0)
    assert all(one.log_e < one.threshold and one.detectable is None for one in verdict.findings)


def test_a_few_say_what_they_could_have_shown() -> None:
    few, many = (judge(settings(Guard.errors()), healthy(n)).findings[0] for n in (100, 2_000))
    assert few.detectable
    assert many.detectable
    assert few.detectable > many.detectable > 1


def test_throws_that_were_none_change_no_ledger() -> None:
    totals = healthy(600)
    failing = entries(5_000, 5_000, factor=9.0)
    others = {
        Arm(Cell(7, 0, 5_000), CANARY): failing,  # had to be canary
        Arm(Cell(7, 5_000, 100_000), STABLE): failing,  # had to be stable
        Arm(Cell(3), CANARY): failing,  # of a period that is not of this run
    }
    firsts = {("failures", 3, CANARY): 900, ("failures", 8, CANARY): 900}
    more = replace(
        totals,
        weights={7: 5_000, 8: 100_000},
        entries={**totals.entries, **others},
        firsts={**totals.firsts, **firsts},
    )
    assert judge(settings(), more) == judge(settings(), totals)


def test_cells_of_a_ramp_keep_their_own_odds() -> None:
    """Simpson: each step is healthy, pooled it looks like a regression."""
    quiet, loud = Cell(7), Cell(8)
    totals = Evidence(
        weights={7: 1_000, 8: 50_000},
        current=8,
        entries={
            Arm(quiet, CANARY): entries(100), Arm(quiet, STABLE): entries(9_900),
            Arm(loud, CANARY): entries(3_000, 300), Arm(loud, STABLE): entries(3_000, 300),
        },
    )  # fmt: skip
    verdict = judge(settings(Guard.errors()), totals)
    assert verdict.decision is not Decision.ROLLBACK
    assert found(verdict, "errors").log_e < 0


@given(st.data())
def test_traffic_split_over_processes_is_the_same_verdict(data: st.DataObject) -> None:
    totals = healthy(300)
    parts: list[dict[Arm, Entries]] = [{}, {}]
    for arm, whole in totals.entries.items():
        one, two = Entries(), Entries()
        for counts in (one, two):
            parts[counts is two][arm] = counts
        for name in ("n", "failures", "client_errors"):
            cut = data.draw(st.integers(0, getattr(whole, name)))
            setattr(one, name, cut)
            setattr(two, name, getattr(whole, name) - cut)
        for bucket, count in enumerate(whole.latency):
            cut = data.draw(st.integers(0, count)) if count else 0
            one.latency[bucket], two.latency[bucket] = cut, count - cut
    merged: dict[Arm, Entries] = {}
    for part in data.draw(st.permutations(parts)):
        for arm, counts in part.items():
            merged.setdefault(arm, Entries()).merge(counts)
    assert judge(settings(), replace(totals, entries=merged)) == judge(settings(), totals)


@pytest.mark.parametrize("policy", [Policy.FOLLOW, Policy.REQUEST])
def test_huge_counts_do_not_overflow(policy: Policy) -> None:
    totals = healthy(1_000)
    for counts in totals.entries.values():
        counts.counts = array("q", [10**6 * count for count in counts.counts])
    verdict = judge(settings(*GUARDS, *WARNINGS, policy=policy), totals)
    assert all(math.isfinite(one.log_e) for one in verdict.findings)


def test_two_halves_of_a_ledger_are_enough_together_and_the_larger_is_named() -> None:
    """Neither errors nor latency reaches its share alone; their ledger does."""
    stable = entries(2_850, 30)
    for hundredths in range(100, 160):
        for failures in range(4, 10):
            canary = entries(150, failures, factor=hundredths / 100)
            totals = evidence(canary, stable)
            verdict = judge(settings(Guard.errors(), Guard.latency()), totals)
            alone = [one for one in verdict.findings if one.log_e >= one.threshold]
            if verdict.breaches and not alone:
                (named,) = verdict.breaches
                assert named.log_e == max(one.log_e for one in verdict.findings)
                return
    pytest.fail("no such totals")


def test_permuting_the_arms_keeps_the_mean_of_the_evidence_at_one() -> None:
    """The sharp null: the same visitors, other coins."""
    chance = random.Random(2)
    people = [(chance.random() < 0.05, chance.gauss(math.log(0.08), 0.5)) for _ in range(150)]
    found_e = []
    for _ in range(300):
        arms = {CANARY: Entries(), STABLE: Entries()}
        for fails, log_seconds in people:
            side = arms[CANARY if chance.random() < 0.05 else STABLE]
            side.n += 1
            side.failures += fails
            side.latency[bucket_of(math.exp(log_seconds))] += 1
        verdict = judge(settings(policy=Policy.REQUEST), evidence(*arms.values()))
        found_e += [_sum_of_e(verdict.findings)]
    mean = sum(found_e) / len(found_e)
    spread = math.sqrt(sum((e - mean) ** 2 for e in found_e)) / len(found_e)
    assert mean <= 1 + 3 * spread


def _sum_of_e(findings: Iterable[Finding]) -> float:
    """Weights sum to 1, and a guard of this policy has one bet."""
    return sum(math.exp(one.log_e) for one in findings)


def test_the_quantiles_shown_lie_in_their_buckets() -> None:
    one = judge(settings(), healthy(600)).findings[1]
    for shown, level in zip(one.stable.quantiles, (0.5, 0.9, 0.99), strict=True):
        assert shown is not None
        exact = 0.08 * math.exp(0.3 * math.log(level / (1 - level)))
        assert abs(bucket_of(shown) - bucket_of(exact)) <= 1
        assert shown <= STARTS[-1]


def test_a_canary_that_nobody_came_to_is_no_worse() -> None:
    cell = Cell(1)
    evidence = Evidence(
        {1: 5_000}, 1,
        {Arm(cell, Cohort.STABLE): Entries(2_000)},
        {},
        {Arm(cell, Cohort.STABLE): Matured(2_000)},
    )  # fmt: skip
    told = judge(Settings(Guard.defaults()), evidence)
    assert told.decision is Decision.INCONCLUSIVE
    assert told.mismatch >= math.log(1000), "that is what is wrong"
