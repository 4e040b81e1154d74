"""Evidence as logarithms: mixing bets over alternatives, and averaging metrics.

Linear e-values overflow after a few thousand requests, so nothing here leaves the log scale.
Everything is in nats (natural logarithm).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import add
from typing import NamedTuple


class Factors(NamedTuple):
    """What one revealed arm adds to log E of each alternative g, in nats.

    Attributes:
        canary_event: an event fell on the canary.
        stable_event: an event fell on stable.
        canary_other: the canary was drawn and there was no event.
        stable_other: likewise stable.
    """

    canary_event: tuple[float, ...]
    stable_event: tuple[float, ...]
    canary_other: tuple[float, ...]
    stable_other: tuple[float, ...]


class Table(NamedTuple):
    """Events and non-events per arm: all that a binary metric needs of one cell."""

    canary_events: int = 0
    stable_events: int = 0
    canary_others: int = 0
    stable_others: int = 0


Cells = Sequence[tuple[float, Table]]
"""Counts by the probability with which each throw gave the canary. Counts of equal probability may
be added up; others never, or a ramp would look like a regression."""


def log_mean(logs: Sequence[float], log_weights: Sequence[float]) -> float:
    """Log sum_g w_g exp(x_g), formulas (4) and (10): E of several alternatives, one of them right.

    Robbins, "Statistical methods related to the law of the iterated logarithm", 1970: a mixture
    with fixed weights of e-processes is one.
    """
    return log_sum(list(map(add, logs, log_weights)))


def log_sum(logs: Sequence[float]) -> float:
    """Log sum exp(x), without overflow; minus infinity of nothing."""
    if not logs:
        return -math.inf
    top = max(logs)
    return top + math.log(sum([math.exp(x - top) for x in logs]))


def logs_of(weights: Iterable[float]) -> tuple[float, ...]:
    """Logarithms of weights, scaled to the sum 1."""
    given = tuple(weights)
    total = math.fsum(given)
    return tuple(math.log(weight / total) for weight in given)


def row(factors: Factors, table: Table) -> list[float]:
    """Log E of each alternative from the counts of one cell."""
    canary, stable, canary_others, stable_others = table
    return [
        canary * a + stable * b + canary_others * c + stable_others * d
        for a, b, c, d in zip(*factors, strict=True)
    ]


def summed(rows: Sequence[Sequence[float]]) -> list[float]:
    """Sum per alternative over cells; log E adds over cells, and only then is it mixed."""
    total = list(rows[0])
    for one in rows[1:]:
        total = list(map(add, total, one))
    return total
