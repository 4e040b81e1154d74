"""The judge's own log factors, added up at every revealed arm: the first moment of a rollback.

The sums here and the judge's sums over counts are the same numbers on two ways; where they differ
the harness fails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.judge.ledgers import Run
from benchmarks.judge.traffic import Floats, Ints
from canary_middleware.core.budget import Bet, Source, bets, prior_of
from canary_middleware.core.curves import Curves, latency_curves, latency_factors
from canary_middleware.core.evalues import Prior, proportion_factors
from canary_middleware.core.guards import Metric
from canary_middleware.core.promotion import LEVELS
from canary_middleware.core.verdict import Settings
from canary_middleware.core.weight import FULL

Rows: TypeAlias = NDArray[np.float64]


@dataclass(slots=True)
class Bets:
    """Log factors per revealed arm and alternative, and the weights of the alternatives.

    Attributes:
        rows: arms by alternatives, in nats.
        log_weights: natural logarithms; they sum to 1.
        log_share: of the error budget, likewise.
        blind: arms that were revealed before the first canary's. Shares alone are no finding: until
            then the judge takes no more than 1 from the bets on entries.
    """

    rows: Rows
    log_weights: Rows
    log_share: float
    blind: int = 0

    def logs(self, total: Rows, at: Ints) -> Rows:
        """Weighted log E at some of the revealed arms.

        Args:
            total: sums of the rows.
            at: which arms.
        """
        logs: Rows = np.logaddexp.reduce(total[at] + self.log_weights, axis=1)
        return np.where(at < self.blind, np.minimum(logs, 0.0), logs) + self.log_share


@dataclass(slots=True)
class Ledger:
    """One history, in which an average of e-values is one (STATS 4.3).

    Attributes:
        name: for reports.
        time: when each arm was revealed.
        bets: what is averaged.
    """

    name: str
    time: Floats
    bets: Sequence[Bets]

    def crossings(self, levels: Sequence[float]) -> list[float]:
        """By error level, the first moment at which the weighted average reaches 1 / alpha."""
        if not len(self.time):
            return [math.inf] * len(levels)
        sums = [np.cumsum(bet.rows, axis=0) for bet in self.bets]
        highest = np.maximum.reduce([total.max(axis=1) for total in sums])
        last = np.r_[self.time[1:] > self.time[:-1], True]
        near = np.flatnonzero((highest >= -math.log(max(levels))) & last)
        logs = self._averaged(sums, near)
        found = []
        for level in levels:
            over = np.flatnonzero(logs >= -math.log(level))
            found.append(float(self.time[near[over[0]]]) if len(over) else math.inf)
        return found

    def _averaged(self, sums: Sequence[Rows], at: Ints) -> Rows:
        each = [bet.logs(total, at) for total, bet in zip(sums, self.bets, strict=True)]
        logs: Rows = np.logaddexp.reduce(each, axis=0)
        return logs


def ledgers(run: Run, settings: Settings) -> list[Ledger]:
    """Everything that may roll back, as the budget of the judge groups it."""
    grouped: dict[str, list[Bet]] = {}
    for bet in bets(settings.guards, settings.policy):
        if bet.guard.breaches:
            grouped.setdefault(bet.ledger, []).append(bet)
    return [
        Ledger(name, _time(run, members[0]), [_bets(run, bet, settings) for bet in members])
        for name, members in grouped.items()
    ]


def _time(run: Run, bet: Bet) -> Floats:
    if bet.source is Source.FIRSTS:
        return run.firsts[bet.kind].time
    return run.entered.time if bet.source is Source.ENTRIES else run.ripened.time


def _bets(run: Run, bet: Bet, settings: Settings) -> Bets:
    guard, slack = bet.guard, bet.guard.slack
    if guard.metric is Metric.LATENCY and bet.source is Source.ENTRIES:
        return _latency(run, bet, tuple(settings.baseline or ()))
    odds = tuple(run.odds())
    if bet.source is Source.FIRSTS:
        odds = tuple(weight / FULL for weight in run.split.weights)
        first = run.firsts[bet.kind]
        cell, canary, event = first.period, first.canary, np.ones(len(first.time), bool)
    elif bet.source is Source.ENTRIES:
        cell, canary, event = run.entered.cell, run.entered.canary, run.entered.failed
    else:
        ripened = run.ripened
        cell, canary, event = ripened.cell, ripened.canary, ripened.hits[guard.name]
    prior = prior_of(bet)
    rows = _proportions(odds, prior, slack)[cell, np.where(canary, 0, 1) + np.where(event, 0, 2)]
    blind = _blind(run) if bet.source is Source.ENTRIES else 0
    return Bets(rows, np.array(prior.log_weights), bet.log_weight, blind)


def _latency(run: Run, bet: Bet, baseline: tuple[int, ...]) -> Bets:
    curves = latency_curves(baseline, LEVELS.get(bet.guard.quantile or ""))
    table = _latencies(tuple(run.odds()), curves, bet.guard.slack)
    it = run.entered
    rows = table[it.cell, it.canary.astype(np.int64), it.bucket]
    return Bets(rows, np.array(curves.log_weights), bet.log_weight, _blind(run))


def _blind(run: Run) -> int:
    canary = run.entered.canary
    return int(canary.argmax()) if canary.any() else len(canary)


@lru_cache(maxsize=512)
def _proportions(odds: tuple[float, ...], prior: Prior, tolerance: float) -> Rows:
    """By cell: event on the canary, on stable, none on the canary, none on stable."""
    return np.array([proportion_factors(rho, prior, tolerance) for rho in odds])


@lru_cache(maxsize=128)
def _latencies(odds: tuple[float, ...], curves: Curves, tolerance: float) -> Rows:
    """By cell, side and bucket."""
    tables = [latency_factors(curves, rho, tolerance) for rho in odds]
    both = np.array([(table.stable, table.canary) for table in tables])
    return np.ascontiguousarray(both.transpose(0, 1, 3, 2))
