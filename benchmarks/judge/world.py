"""What the judge is shown: traffic, its nuisances, and what a bad release does to it.

Sticky visitors are those of the published simulation: four hours, half of the visitors in one
session and half spread over the day, activity by a power law, one in a hundred failing half of
their requests and all others one in two hundred, half of the variance of latency in the visitor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from canary_middleware.core.guards import Guard
from canary_middleware.core.weight import FULL

HOURS: Final = 4.0
SPAN: Final = 3600 * HOURS
"""Seconds of a run."""
HORIZON: Final = 900
CHARGES: Final = "charges"
ORDERS: Final = "orders"
GUARDS: Final = (*Guard.defaults(), Guard.never(CHARGES), Guard.rate(ORDERS))
"""The one configuration for false and for missed alarms."""


@dataclass(frozen=True, slots=True)
class Split:
    """Weights in 0.001 % one after the other, in equal parts of the run.

    Attributes:
        name: in the table.
        weights: see above.
        visitors: sticky visitors in the run.
        requests: in a run in which every request is drawn anew.
        span: seconds of the run.
    """

    name: str
    weights: tuple[int, ...]
    visitors: int
    requests: int
    span: float = SPAN

    @property
    def starts(self) -> tuple[float, ...]:
        """Seconds at which its periods begin."""
        return tuple(index * self.span / len(self.weights) for index in range(len(self.weights)))

    @property
    def periods(self) -> dict[int, int]:
        """Weights by revision."""
        return dict(enumerate(self.weights, start=1))


FIVE: Final = Split("5%", (FULL // 20,), 8000, 10_000)
HALF: Final = Split("50%", (FULL // 2,), 3000, 6_000)
RAMP: Final = Split("ramp", (FULL // 100, FULL // 20, FULL // 4, FULL // 2), 6200, 10_000)
SPLITS: Final = (FIVE, HALF, RAMP)


@dataclass(frozen=True, slots=True)
class World:
    """Traffic of a healthy release.

    Attributes:
        name: in the table.
        sticky: visitors come back and stay where they are; else every request is drawn anew.
        usual: share of requests that fail.
        chronic: share of visitors who fail half of their requests.
        zipf: exponent of the number of requests of a visitor.
        most: requests of one visitor.
        single: share of visitors who come for one session; the others are spread over the day.
        wave: load and errors follow the hours.
        incident: for a twentieth of the time everything fails twenty times as often.
        drift: errors become ten times as many, and answers slower, until the end.
        retries: requests that follow at once on a failure.
        leaving: share of visitors who leave for good after a failure.
        sign_in: share of visitors with a second device, whose draw is overruled later.
        deleting: probability per request that the visitor returns as somebody else; a failure
            adds a half.
        orders: share of requests that order.
        twice: share of requests that charge twice.
        heavy: share of requests with a latency from a power law with a mean of ten.
    """

    name: str
    sticky: bool = True
    usual: float = 0.005
    chronic: float = 0.01
    zipf: float = 1.5
    most: int = 50
    single: float = 0.5
    wave: bool = False
    incident: bool = False
    drift: bool = False
    retries: int = 0
    leaving: float = 0.0
    sign_in: float = 0.0
    deleting: float = 0.0
    orders: float = 0.025
    twice: float = 0.002
    heavy: float = 0.0

    @property
    def anew(self) -> World:
        """The same with a throw of the coin for every request."""
        return replace(self, sticky=False, usual=self.usual + self.chronic / 2, chronic=0.0,
                       retries=0, leaving=0.0, sign_in=0.0, deleting=0.0)  # fmt: skip


BASE: Final = World("sticky visitors")
NULLS: Final = (
    World("0.1 % errors", chronic=0.0, usual=0.001),
    World("1 % errors", chronic=0.0, usual=0.01),
    World("5 % errors", chronic=0.0, usual=0.05),
    World("daily wave", wave=True),
    World("incident x20 on both", incident=True),
    World("Zipf visitors, 1 % chronic", zipf=1.1),
    World("retry storms", retries=5, leaving=0.5),
    World("conversions and drift", drift=True),
    World("sign-ins", sign_in=0.5),
    World("deleted cookies", deleting=0.2),
    World("conversion 5 %", orders=0.025, twice=0.0),
    World("heavy-tailed latency", heavy=0.02),
)
PER_REQUEST: Final = tuple(NULLS[index].anew for index in (0, 1, 2, 3, 4, 7, 10, 11))


@dataclass(frozen=True, slots=True)
class Harm:
    """What a bad release does on the canary.

    Attributes:
        name: in the table.
        failing: share of requests that fail, of those visitors who do not fail chronically.
        crash: every request fails.
        twice: share of requests that charge twice.
        slower: factor of every latency.
        hanging: share of requests that take five seconds more.
        orders: factor of the share of requests that order.
    """

    name: str
    failing: float | None = None
    crash: bool = False
    twice: float | None = None
    slower: float = 1.0
    hanging: float = 0.0
    orders: float = 1.0


HEALTHY: Final = Harm("healthy")
