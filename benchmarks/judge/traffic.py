"""Requests of one run, in the order of their arrival, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.judge.world import HEALTHY, Harm, Split, World
from canary_middleware.core.gauge import GATE, SLOW
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.totals import quantile
from canary_middleware.core.weight import FULL

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]

USUAL: Final = math.log(0.1)
"""Logarithm of stable's median latency in seconds."""
SPREAD: Final = 0.5
"""Standard deviation of the logarithm, once for the visitor and once for the request."""
SESSION: Final = 600.0
_GROWTH: Final = math.log(1.1)


@dataclass(slots=True)
class Requests:
    """Columns of equal length, sorted by time.

    Attributes:
        time: seconds since the start.
        who: number of the visitor, whose place is one throw of a coin.
        place: bucket of the visitor in 0.001 %.
        period: index.
        canary: which side answered.
        failed: whether it failed.
        bucket: of the latency.
        slow: whether it counts as slow.
        twice: whether it charged twice.
        ordered: whether it ordered.
    """

    time: Floats
    who: Ints
    place: Ints
    period: Ints
    canary: Flags
    failed: Flags
    bucket: Ints
    slow: Flags
    twice: Flags
    ordered: Flags


@dataclass(frozen=True, slots=True)
class Usual:
    """What was seen of stable before the start.

    Attributes:
        baseline: its histogram.
        gate: seconds of age at which everything is booked.
        slow: seconds from which on an answer is slow.
    """

    baseline: tuple[int, ...]
    gate: float
    slow: float


@lru_cache(maxsize=64)
def usual(world: World, requests: int = 5000) -> Usual:
    """Frozen before the start, from other traffic than that of the runs."""
    rng = np.random.default_rng([7, requests])
    logs = _log_latency(rng, world, rng.normal(size=requests), requests)
    counts = np.bincount(_buckets(logs), minlength=BUCKETS)
    p99 = quantile(counts.tolist(), 0.99) or 0.0
    return Usual(tuple(counts.tolist()), max(GATE, 5 * p99), SLOW * p99)


def run(rng: Generator, world: World, split: Split, harm: Harm = HEALTHY) -> Requests:
    """One run."""
    time, person = _sticky(rng, world, split) if world.sticky else _anew(rng, world, split)
    people = int(person[-1]) + 1
    chronic = rng.random(people) < world.chronic
    likely = _likely(world, time / split.span, chronic[person])
    luck = rng.random(len(time))
    who = _identities(rng, world, person, luck < likely)
    place = rng.integers(0, FULL, int(who.max()) + 1)
    canary = place[who] < np.array(split.weights)[_period(split, time)]
    failed = luck < _harmed(harm, likely, canary, chronic[person])
    order, delay = _upset(rng, world, time, who, failed)
    time = time[order] + delay
    ready = np.argsort(time)
    order, time, delay = order[ready], time[ready], delay[ready]
    kept = time < split.span
    if world.sign_in:
        kept &= ~_overruled(rng, world, person, who)[order] | (time < split.span / 2)
    order, time, delay = order[kept], time[kept], delay[kept]
    person, who = person[order], who[order]
    period = _period(split, time)
    canary = place[who] < np.array(split.weights)[period]
    again = (rng.random(len(order)) < 0.8) | (canary & harm.crash)
    failed = np.where(delay > 0, again, failed[order])
    bucket, slow = _answers(rng, world, harm, time / split.span, person, canary)
    ordered, twice = _business(rng, world, harm, person, canary)
    return Requests(time, who, place[who], period, canary, failed, bucket, slow, twice, ordered)


# --- who comes when ----------------------------------------------------------------------------


def _sticky(rng: Generator, world: World, split: Split) -> tuple[Floats, Ints]:
    """Grouped by person."""
    activity = np.arange(1, world.most + 1) ** -world.zipf
    cumulative = np.cumsum(activity) / activity.sum()
    times = np.searchsorted(cumulative, rng.random(split.visitors)) + 1
    person = np.repeat(np.arange(split.visitors), times)
    single = rng.random(split.visitors) < world.single
    enter = split.span * _arrivals(rng, world, split.visitors)
    time = np.where(
        single[person],
        enter[person] + SESSION * rng.random(len(person)),
        split.span * _arrivals(rng, world, len(person)),
    )
    if world.deleting:  # the only one that asks in which order each comes
        order = np.lexsort((time, person))
        time, person = time[order], person[order]
    return time, person


def _anew(rng: Generator, world: World, split: Split) -> tuple[Floats, Ints]:
    time = split.span * np.sort(_arrivals(rng, world, split.requests))
    return time, np.arange(split.requests)


def _arrivals(rng: Generator, world: World, count: int) -> Floats:
    """Moments, as parts of the run."""
    uniform = rng.random(count)
    if not world.wave:
        return uniform
    grid = np.linspace(0, 1, 257)
    below = grid - 0.8 / (2 * np.pi) * (np.cos(2 * np.pi * grid) - 1)
    inverted: Floats = np.interp(uniform, below, grid)
    return inverted


def _identities(rng: Generator, world: World, person: Ints, failed: Flags) -> Ints:
    """Number of the visitor behind each request: a deleted cookie makes another of the same."""
    first = np.r_[True, person[1:] != person[:-1]]
    if world.deleting:
        gone = rng.random(len(person)) < world.deleting + 0.5 * failed
        first[1:] |= gone[:-1]
    if world.sign_in:  # two devices of one user, each with its own cookie
        has_two = rng.random(person[-1] + 1) < world.sign_in
        second = has_two[person] & (rng.random(len(person)) < 0.5)
        return np.unique(2 * person + second, return_inverse=True)[1]
    return np.cumsum(first) - 1


def _overruled(rng: Generator, world: World, person: Ints, who: Ints) -> Flags:
    """Requests of second devices: after the sign-in an older claim decides for them."""
    first = np.full(int(person[-1]) + 1, len(who))
    np.minimum.at(first, person, who)
    overruled: Flags = who != first[person]
    return overruled


def _upset(
    rng: Generator, world: World, time: Floats, who: Ints, failed: Flags
) -> tuple[Ints, Floats]:
    """Which requests there are in the end, and how much later: retries, and people who left."""
    every = np.arange(len(time))
    if not world.leaving and not world.retries:
        return every, np.zeros(len(time))
    broke = np.full(int(who.max()) + 1, np.inf)
    np.minimum.at(broke, who[failed], time[failed])
    leaves = rng.random(len(broke)) < world.leaving
    stays = ~leaves[who] | (time <= broke[who])
    again = np.repeat(every[stays & failed], world.retries)
    delay = np.r_[np.zeros(int(stays.sum())), rng.uniform(1, 15, len(again))]
    return np.r_[every[stays], again], delay


# --- what they meet ----------------------------------------------------------------------------


def _period(split: Split, time: Floats) -> Ints:
    if len(split.weights) == 1:
        return np.zeros(len(time), dtype=np.int64)
    return np.searchsorted(np.array(split.starts), time, side="right") - 1


def _likely(world: World, at: Floats, chronic: Flags) -> Floats:
    """Probability of a failure on a healthy version."""
    factor = np.ones(len(at))
    if world.wave:
        factor += 0.8 * np.sin(2 * np.pi * at)
    if world.drift:
        factor *= 0.3 + 2.7 * at
    if world.incident:
        factor = np.where((at > 0.4) & (at < 0.45), 20.0, factor)
    return np.minimum(0.95, np.where(chronic, 0.5, world.usual) * factor)


def _harmed(harm: Harm, likely: Floats, canary: Flags, chronic: Flags) -> Floats:
    if harm.crash:
        return np.where(canary, 1.0, likely)
    if harm.failing is None:
        return likely
    return np.where(canary & ~chronic, harm.failing, likely)


def _answers(
    rng: Generator, world: World, harm: Harm, at: Floats, person: Ints, canary: Flags
) -> tuple[Ints, Flags]:
    """Buckets of latencies, and whether they count as slow."""
    size = len(at)
    traits = rng.normal(size=int(person.max(initial=0)) + 1)[person]
    logs = _log_latency(rng, world, traits, size) + math.log(harm.slower) * canary
    if world.drift:
        logs += 0.5 * at
    if harm.hanging:
        hangs = canary & (rng.random(size) < harm.hanging)
        logs[hangs] = np.log(np.exp(logs[hangs]) + 5.0)
    before = usual(world)
    bucket = np.where(logs > math.log(before.gate), BUCKETS - 1, _buckets(logs))
    return bucket, logs > math.log(before.slow)


def _log_latency(rng: Generator, world: World, traits: Floats, size: int) -> Floats:
    logs = USUAL + SPREAD * traits + SPREAD * rng.normal(size=size)
    if world.heavy:
        tail = rng.random(size) < world.heavy
        logs[tail] += rng.exponential(1 / 1.1, int(tail.sum()))
        logs[tail] += math.log(2.0)
    return logs


def _buckets(logs: Floats) -> Ints:
    return np.clip(np.ceil((logs - math.log(0.001)) / _GROWTH), 0, BUCKETS - 1).astype(np.int64)


def _business(
    rng: Generator, world: World, harm: Harm, person: Ints, canary: Flags
) -> tuple[Flags, Flags]:
    """Whether each request ordered, and whether it charged twice; a few people buy."""
    size, people = len(person), int(person.max(initial=0)) + 1
    share = 0.2 if world.sticky else 1.0
    buys = (rng.random(people) < share)[person]
    rate = world.orders / share * np.where(canary, harm.orders, 1.0)
    double = np.where(canary, world.twice if harm.twice is None else harm.twice, world.twice)
    return buys & (rng.random(size) < rate), rng.random(size) < double
