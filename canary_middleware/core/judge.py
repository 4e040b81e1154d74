"""The judge: what the totals say about a release, at whatever moment one asks.

Pure: a verdict is a function of sums. It rolls back when a ledger's evidence reaches its share of
alpha, formula (16); promotion needs every guard with a margin to be proven, formula (15).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

from canary_middleware.core.budget import Bet, Source, bets, prior_of
from canary_middleware.core.curves import Curves, latency_curves, log_e_curves, value_curves
from canary_middleware.core.display import detectable, sides
from canary_middleware.core.evalues import log_e
from canary_middleware.core.guards import Guard, Metric, Worse
from canary_middleware.core.mixtures import log_sum
from canary_middleware.core.promotion import LEVELS, NEEDED, Proof, prove
from canary_middleware.core.ratio import MISMATCH, log_mismatch
from canary_middleware.core.sums import Sums
from canary_middleware.core.verdict import Decision, Evidence, Finding, Settings, Verdict
from canary_middleware.core.weight import FULL

HALF: Final = math.log(2)
"""A suspect has half of what its ledger needs (STATS 1.4)."""
SKEWED: Final = (
    "the versions did not get the shares that were drawn (sample-ratio mismatch), "
    "so nothing can be proven"
)


def judge(settings: Settings, evidence: Evidence) -> Verdict:
    """What the sums over all processes say now.

    Args:
        settings: as ``start`` froze them.
        evidence: of one run of one release.
    """
    sums = Sums(evidence, settings)
    weighed = [
        Weighed(bet, bet.log_weight + _EVIDENCE[bet.source](bet, sums))
        for bet in bets(settings.guards, settings.policy)
    ]
    guilty = _guilty(weighed, math.log(1 / settings.alpha))
    strongest = {one.bet.guard.name: one for one in sorted(weighed, key=itemgetter(1))}
    findings = tuple(
        _finding(guard, strongest.get(guard.name), guard.name in guilty, sums, settings)
        for guard in settings.guards
    )
    mismatch = log_mismatch(sums.sights())
    missing = _missing(findings, sums, mismatch)
    asked = [one for one, guard in zip(findings, settings.guards, strict=True) if _asked(guard)]
    return Verdict(
        decision=_decision(findings, missing),
        proven=bool(asked) and all(one.proven for one in asked) and not missing,
        findings=findings,
        visitors=sums.visitors,
        mismatch=mismatch,
        missing=missing,
    )


class Weighed(NamedTuple):
    """A bet and its log e-value, weighted by its share: at log(1/alpha) it rolls back alone."""

    bet: Bet
    log_e: float


def _asked(guard: Guard) -> bool:
    return guard.breaches and guard.margin is not None


def _decision(findings: Sequence[Finding], missing: Sequence[str]) -> Decision:
    if any(one.breach and one.action == "breach" for one in findings):
        return Decision.ROLLBACK
    return Decision.INCONCLUSIVE if missing else Decision.PROMOTE


def _missing(findings: Sequence[Finding], sums: Sums, mismatch: float) -> tuple[str, ...]:
    said = [f"{one.guard}: {one.missing}" for one in findings if one.missing]
    if mismatch >= MISMATCH:
        said.insert(0, SKEWED)
    if not any(sums.evidence.seen.values()) and not any(sums.visitors):
        said.insert(0, f"no {sums.unit} so far")
    return tuple(said)


def _guilty(weighed: Sequence[Weighed], threshold: float) -> frozenset[str]:
    """Guards that are past the threshold, alone or as what says most in a ledger that is."""
    ledgers: dict[str, list[Weighed]] = {}
    for one in weighed:
        ledgers.setdefault(one.bet.ledger, []).append(one)
    guilty = set()
    for members in ledgers.values():
        # Together they are at most as many times the largest, which is rarely near enough.
        most = max([one.log_e for one in members])
        if most < threshold - math.log(len(members)):
            continue
        if log_sum([one.log_e for one in members]) >= threshold:
            guilty |= {one.bet.guard.name for one in members if one.log_e >= min(most, threshold)}
    return frozenset(guilty)


def _finding(
    guard: Guard, strongest: Weighed | None, guilty: bool, sums: Sums, settings: Settings
) -> Finding:
    threshold = math.log(1 / settings.alpha)
    rho = sums.evidence.weights.get(sums.evidence.current, 0) / FULL
    proof = prove(guard, sums, settings, rho) if guard.breaches else Proof()
    canary, stable = sides(guard, sums)
    return Finding(
        guard=guard.name,
        action=guard.action,
        metric=guard.of or guard.metric.value,
        unit="requests" if guard.metric is Metric.NEVER else sums.unit,
        canary=canary,
        stable=stable,
        log_e=strongest.log_e if strongest else 0.0,
        threshold=threshold,
        breach=guilty,
        suspect=strongest is not None and strongest.log_e >= threshold - HALF,
        proof=proof.log_m,
        needed=NEEDED,
        proven=proof.proven,
        missing=proof.missing,
        detectable=detectable(guard, canary, stable, threshold - strongest.bet.log_weight)
        if strongest
        else None,
    )


# --- log e-values, by ledger ---------------------------------------------------------------------


def _entries(bet: Bet, sums: Sums) -> float:
    guard = bet.guard
    if guard.metric is Metric.LATENCY:
        return _latency(bet, sums)
    cells = sums.failures if guard.metric is Metric.FAILURES else sums.client_errors
    return _seen(sums, log_e(cells, prior_of(bet), bet.slack))


def _seen(sums: Sums, log_e: float) -> float:
    """No finding against a canary that nobody was measured on: that is a matter of the shares."""
    return log_e if sums.visitors[0] else min(log_e, 0.0)


def _latency(bet: Bet, sums: Sums) -> float:
    if sums.baseline is None:
        return 0.0
    curves = _curves(sums.baseline, LEVELS.get(bet.guard.quantile or ""))
    return _seen(sums, log_e_curves(sums.latency, curves, bet.slack))


@lru_cache(maxsize=64)
def _curves(baseline: bytes, level: float | None) -> Curves:
    return latency_curves(tuple(array("q", baseline)), level)


def _firsts(bet: Bet, sums: Sums) -> float:
    return log_e(sums.firsts(bet.kind), prior_of(bet), bet.slack)


def _matured(bet: Bet, sums: Sums) -> float:
    guard = bet.guard
    if guard.metric is not Metric.MEAN:
        return log_e(sums.hits(guard.name), prior_of(bet), bet.slack)
    rising = guard.worse is Worse.HIGHER
    slack = bet.slack if rising else -bet.slack
    return log_e_curves(sums.values(guard.name), value_curves(rising=rising), slack)


_EVIDENCE: Final[Mapping[Source, Callable[[Bet, Sums], float]]] = {
    Source.ENTRIES: _entries,
    Source.FIRSTS: _firsts,
    Source.MATURED: _matured,
}
