"""What an application's traffic is like, and what a bad release does to it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from canary_middleware.core.gauge import GATE, SLOW
from canary_middleware.core.outcomes import BUCKETS, STARTS

_NORMAL: Final = statistics.NormalDist()
_P99: Final = _NORMAL.inv_cdf(0.99)
DAY: Final = 86_400.0


@dataclass(frozen=True)
class Traffic:
    """Traffic of the paths in scope; the same on both versions.

    Attributes:
        visitors: per day.
        requests: of one visit, on average.
        people: who these visitors are; whoever comes again is known from the last time.
        visit: seconds of a visit.
        errors: share of requests that fail.
        p50: median seconds until an answer starts.
        p99: seconds that one in a hundred takes longer than.
        rates: by declared metric, share of visits in which it is observed.
    """

    visitors: float = 10_000.0
    requests: float = 3.0
    people: float = 0.0
    visit: float = 300.0
    errors: float = 0.01
    p50: float = 0.1
    p99: float = 0.5
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def crowd(self) -> float:
        """How many different people there are; by default everybody comes every third day."""
        return max(1.0, self.people or 3 * self.visitors)

    @property
    def anew(self) -> Traffic:
        """The same requests, each drawn by itself."""
        every = self.visitors * self.requests
        return replace(self, visitors=every, requests=1.0, people=math.inf)

    @property
    def rate(self) -> float:
        """Visitors per second."""
        return self.visitors / DAY

    @property
    def gate(self) -> float:
        """Seconds of age at which requests are booked (STATS section 4.4)."""
        return max(GATE, 5 * self.p99)

    @property
    def slow(self) -> float:
        """Seconds from which on an answer is slow."""
        return SLOW * self.p99

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm of a latency."""
        return max(0.01, math.log(self.p99 / self.p50) / _P99)

    def longer(self, seconds: float) -> float:
        """Share of stable's answers that take longer."""
        if seconds <= 0:
            return 1.0
        return 1 - _NORMAL.cdf(math.log(seconds / self.p50) / self.sigma)


@dataclass(frozen=True)
class Harm:
    """What a bad release does to a visitor of the canary.

    Attributes:
        name: for people.
        errors: added to the share of requests that fail.
        crash: every request fails.
        slower: factor of every latency.
        hanging: share of requests that take :data:`HANG` seconds more.
        breaks: share of visits in which what must never happen does.
    """

    name: str
    errors: float = 0.0
    crash: bool = False
    slower: float = 1.0
    hanging: float = 0.0
    breaks: float = 0.0


HANG: Final = 5.0
HEALTHY: Final = Harm("healthy")
REGRESSIONS: Final = (
    Harm("errors +1 pp", errors=0.01),
    Harm("errors +4 pp", errors=0.04),
    Harm("crash", crash=True),
    Harm("latency x1.5", slower=1.5),
    Harm("latency x2", slower=2.0),
    Harm("1% very slow", hanging=0.01),
    Harm("double charges 12%", breaks=0.12),
)


@dataclass(frozen=True)
class Side:
    """One version: the probabilities of what happens to its visitors.

    Attributes:
        traffic: in general.
        harm: what is wrong with it.
    """

    traffic: Traffic
    harm: Harm = HEALTHY

    @property
    def fails(self) -> float:
        """Of one request."""
        return 1.0 if self.harm.crash else min(1.0, self.traffic.errors + self.harm.errors)

    def longer(self, seconds: float) -> float:
        """Share of its answers that take longer."""
        usual = self.traffic.longer(seconds / self.harm.slower)
        hanging = self.traffic.longer((seconds - HANG) / self.harm.slower)
        return usual + self.harm.hanging * (hanging - usual)

    @cached_property
    def slow(self) -> float:
        """Share of its requests that count as slow."""
        return self.longer(self.traffic.slow)

    @cached_property
    def latency(self) -> tuple[float, ...]:
        """Cumulative shares over the buckets of a histogram; what is past the gate is the last."""
        gate = self.traffic.gate
        upto = [1 - self.longer(min(edge, gate)) if edge <= gate else None for edge in STARTS]
        known = [share for share in upto if share is not None]
        return (*known, *(known[-1] for _ in range(BUCKETS - 1 - len(known))), 1.0)
