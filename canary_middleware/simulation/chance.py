"""Counts drawn at once, so that a day of traffic costs as much as a minute of it.

Both are exact and need a logarithmic number of draws. They split the count at the value of one
order statistic, or at the time of one event: Devroye, "Non-Uniform Random Variate Generation",
1986, sections X.4.3 (binomial) and X.3.2 (Poisson, after Ahrens & Dieter 1974).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

_FEW: Final = 16


def binomial(random: Random, count: int, share: float) -> int:
    """How many of ``count`` have something that each has with probability ``share``."""
    if share <= 0.0:
        return 0
    if share >= 1.0:
        return count
    found = 0
    while count > _FEW:
        middle = count // 2 + 1
        at = random.betavariate(middle, count + 1 - middle)
        if at <= share:
            found += middle
            count -= middle
            share = (share - at) / (1 - at)
        else:
            count = middle - 1
            share /= at
        if share >= 1.0:
            return found + count
    return found + sum([random.random() < share for _ in range(count)])


def poisson(random: Random, mean: float) -> int:
    """How many events there are where ``mean`` are expected."""
    found = 0
    while mean > _FEW:
        step = int(mean * 7 / 8)
        at = random.gammavariate(step, 1.0)
        if at > mean:
            return found + binomial(random, step - 1, mean / at)
        found += step
        mean -= at
    floor, product = math.exp(-mean), random.random()
    while product > floor:
        found += 1
        product *= random.random()
    return found


def spread(random: Random, count: int, cumulative: Sequence[float]) -> list[int]:
    """``count`` draws from a distribution over buckets, given by its cumulative shares."""
    table = [0] * len(cumulative)
    if count <= 40 * _FEW:
        for bucket in random.choices(range(len(table)), cum_weights=cumulative, k=count):
            table[bucket] += 1
        return table
    below, left = 0.0, count
    for bucket, upto in enumerate(cumulative):
        if not left:
            break
        share = (upto - below) / (1 - below) if below < 1 else 1.0
        table[bucket] = binomial(random, left, share)
        left -= table[bucket]
        below = upto
    return table
