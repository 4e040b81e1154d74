"""Promotion: never at the margin, and soon where a release is healthy."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median

import numpy as np

from benchmarks.judge.alarms import Line
from benchmarks.judge.ledgers import Run, of_requests, of_visitors
from benchmarks.judge.observe import Judge
from benchmarks.judge.traffic import run as requests_of
from benchmarks.judge.traffic import usual
from benchmarks.judge.world import (
    BASE,
    FIVE,
    HALF,
    HORIZON,
    RAMP,
    Split,
    World,
)  # fmt: skip
from canary_middleware.core.curves import quantile_bucket
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Policy
from canary_middleware.core.verdict import Decision, Settings

ALPHA = 0.05
LOOKS = 90
SHORT = replace(BASE, name="one visit each", most=8, zipf=2.5, single=1.0)
"""1 % of requests and 1.3 % of visitors within the horizon fail, as in STATS 4.7."""
COMING = replace(BASE, name="visitors who come again", most=8)
"""Those who come most often are seen first, so that more of the first ones fail: 1.8 %."""
PLENTY = {
    FIVE.name: replace(FIVE, visitors=45_000, requests=45_000, span=22.5 * 3600),
    HALF.name: replace(HALF, visitors=12_000, requests=12_000, span=16 * 3600.0),
    RAMP.name: replace(RAMP, visitors=15_000, requests=15_000, span=9.5 * 3600),
}
"""As many visitors per hour as where bad releases are looked for, but for longer."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A release that may be promoted.

    Attributes:
        name: in the table.
        world: traffic.
        guards: that ask for proof.
        worse: what is exactly at the margin, a name of :data:`MARGINS`.
    """

    name: str
    world: World
    guards: tuple[Guard, ...]
    worse: str = ""


ERRORS = (Guard.errors(),)
LATENCY = (Guard.latency(),)
BUYING = (Guard.errors(margin=None), Guard.rate("orders", margin="2%"))
ANEW = SHORT.anew
AT_MARGIN = (
    Trial("errors, sticky", SHORT, ERRORS, "errors"),
    Trial("errors, request", ANEW, ERRORS, "requests"),
    Trial("latency p99, sticky", SHORT, LATENCY, "latency"),
    Trial("latency p99, request", ANEW, LATENCY, "latency"),
    Trial("orders, sticky", SHORT, BUYING, "orders"),
)


@lru_cache(maxsize=16)
def _usual(world: World, worse: str) -> float:
    """Share of stable's units that have the event which is made worse."""
    run = _drawn(world, replace(PLENTY["50%"], weights=(1,)), 399, 0)
    if worse == "latency":
        return float((run.entered.bucket >= _p99(world)).mean())
    if worse == "requests":
        return world.usual
    return float(run.ripened.hits[worse].mean())


def _p99(world: World) -> int:
    return quantile_bucket(usual(world).baseline, 0.99)


def _worsen(run: Run, trial: Trial, rng: np.random.Generator) -> None:
    """Make the canary exactly as much worse as the guard's margin: one or two points."""
    if not trial.worse:
        return
    rate = _usual(trial.world, trial.worse)
    if trial.worse in ("latency", "requests"):
        it = run.entered
        turned = it.canary & (rng.random(len(it.time)) < 0.01 / (1 - rate))
        if trial.worse == "requests":
            it.failed = it.failed | turned
        else:
            it.bucket = np.where(turned, np.maximum(it.bucket, _p99(trial.world)), it.bucket)
        return
    ripe = run.ripened
    had = ripe.hits[trial.worse]
    if trial.worse == "orders":
        turned = had & ~(ripe.canary & (rng.random(len(had)) < 0.02 / rate))
    else:
        turned = had | (ripe.canary & (rng.random(len(had)) < 0.01 / (1 - rate)))
    run.ripened = replace(ripe, hits={**ripe.hits, trial.worse: turned})


def at_the_margin(judge: Judge, runs: int) -> Iterator[Line]:
    """A release exactly at a margin is promoted in at most 5 % of runs."""
    for key, trial in enumerate(AT_MARGIN, start=300):
        for split in PLENTY.values():
            wrong = [_promoted(judge, trial, split, key, one) < math.inf for one in range(runs)]
            share = sum(wrong) / runs
            limit = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
            name = f"promoted exactly at the margin: {trial.name}, {split.name}"
            yield Line(name, f"{share:.1%} of {runs}", f"at most {limit:.1%}", share <= limit)


HEALTHY = (
    (Trial("errors", SHORT, ERRORS), (1300, 2300, None)),
    (Trial("errors, visitors who come again", COMING, ERRORS), (None, None, None)),
    (Trial("default guards", SHORT, Guard.defaults()), (None, None, None)),
)


def of_the_healthy(judge: Judge, runs: int) -> Iterator[Line]:
    """Median canary visitors until a healthy release with 1 % failures is promoted."""
    for key, (trial, limits) in enumerate(HEALTHY, start=330):
        for split, limit in zip(PLENTY.values(), limits, strict=True):
            needed = [_promoted(judge, trial, split, key, one) for one in range(runs)]
            done = sum(one < math.inf for one in needed) / runs
            half = median(needed)
            name = f"healthy, margin 1 point: {trial.name}, {split.name}, median canary visitors"
            aim = "" if limit is None else f"at most {limit}"
            held = None if limit is None else half <= limit
            yield Line(name, f"{half:g} ({done:.0%} promoted)", aim, held)


def _promoted(judge: Judge, trial: Trial, split: Split, key: int, number: int) -> float:
    """Canary visitors seen at the first look that would promote it; infinite for never."""
    run = _drawn(trial.world, split, key, number)
    _worsen(run, trial, np.random.default_rng([key, number, 1]))
    settings = Settings(
        trial.guards,
        policy=Policy.FOLLOW if trial.world.sticky else Policy.REQUEST,
        horizon=HORIZON,
        baseline=array("q", usual(trial.world).baseline),
    )
    for moment in np.linspace(0, split.span + 2 * HORIZON, LOOKS + 1)[1:].tolist():
        verdict = judge(settings, run.evidence(moment))
        if verdict.decision is Decision.PROMOTE or verdict.proven:
            return _visitors(run, moment)
    return math.inf


def _drawn(world: World, split: Split, key: int, number: int) -> Run:
    rng = np.random.default_rng([key, len(split.weights), split.weights[0], number])
    return (of_visitors if world.sticky else of_requests)(requests_of(rng, world, split), split)


def _visitors(run: Run, moment: float) -> float:
    it = run.requests
    upto = int(np.searchsorted(it.time, moment, side="right"))
    return float(len(np.unique(it.who[:upto][it.canary[:upto]])))
