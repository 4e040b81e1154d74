"""How few canary requests could ever do: the information limit of STATS section 3.

rho log(1/alpha) / I(arm; outcome) canary requests, for any test of that level and of power one that
does not know the base rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

from benchmarks.judge.traffic import SPREAD, USUAL, usual
from benchmarks.judge.world import Harm, World
from canary_middleware.core.outcomes import BUCKETS, STARTS

_LATENCY = NormalDist(USUAL, SPREAD * math.sqrt(2))


def canary_requests(canary: Sequence[float], stable: Sequence[float], rho: float) -> float:
    """At alpha 1 %, for two distributions over the same outcomes."""
    told = 0.0
    for worse, usually in zip(canary, stable, strict=True):
        mean = rho * worse + (1 - rho) * usually
        told += sum(
            weight * share * math.log(share / mean)
            for weight, share in ((rho, worse), (1 - rho, usually))
            if share > 0
        )
    return max(1.0, rho * math.log(100) / told)


def of_harm(world: World, harm: Harm, rho: float) -> float:
    """For what a harm changes, where every request is drawn anew."""
    if harm.failing is not None:
        return canary_requests(*(_binary(harm.failing), _binary(world.usual)), rho)
    if harm.twice is not None:
        return canary_requests(_binary(harm.twice), _binary(world.twice), rho)
    if harm.orders != 1.0:
        return canary_requests(_binary(world.orders * harm.orders), _binary(world.orders), rho)
    return canary_requests(_latencies(world, harm), _latencies(world, Harm("")), rho)


def _binary(share: float) -> tuple[float, float]:
    return share, 1 - share


def _latencies(world: World, harm: Harm) -> list[float]:
    gate = usual(world).gate
    edges = [edge for edge in STARTS if edge <= gate]
    below = [0.0, *(_below(edge, harm) for edge in edges)]
    shares = [b - a for a, b in pairwise(below)]
    return [*shares, *[0.0] * (BUCKETS - 1 - len(shares)), 1 - below[-1]]


def _below(edge: float, harm: Harm) -> float:
    shift = math.log(harm.slower)
    usually = _LATENCY.cdf(math.log(edge) - shift)
    late = _LATENCY.cdf(math.log(edge - 5.0) - shift) if edge > 5.0 else 0.0
    return usually + harm.hanging * (late - usually)
