"""What a promotion needs: per guard, evidence that the canary is worse by less than its margin.

Failures and business metrics are proven on matured visitors, latency on entries (STATS 4.2). Every
guard must pass at :data:`ALPHA` by itself; that needs no correction, for all of them must (Berger
1982).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from canary_middleware.core.caps import no_cap, values
from canary_middleware.core.curves import VALUE_MIDDLES, quantile_bucket, tail_share
from canary_middleware.core.guards import QUANTILES, Guard, Metric, Worse
from canary_middleware.core.mixtures import Cells, Table
from canary_middleware.core.model import Cohort
from canary_middleware.core.noninferiority import log_margin, log_mean_margin, visitors_needed
from canary_middleware.core.sums import Histograms, Sums, total
from canary_middleware.core.telling import lasting
from canary_middleware.core.verdict import Evidence, Settings
from canary_middleware.core.weight import FULL, format_weight, parse_weight

ALPHA: Final = 0.05
"""Probability that a release exactly at a margin is ever promoted as proven."""
NEEDED: Final = math.log(1 / ALPHA)
LEVELS: Final = dict(zip(QUANTILES, (0.5, 0.9, 0.99), strict=True))
WIDER: Final = {"p99": 1.0, "p90": 3.0, "p50": 5.0}
"""Margins at stable's quantiles, as multiples of that at p99: 5, 3 and 1 points (STATS 1.5)."""
BASELINE: Final = 200
"""Answers of stable from which on its latency is known (STATS section 1.3)."""
_HAVE: Final = {Metric.LATENCY: "are slower", Metric.MEAN: "have a value"}


class Proof(NamedTuple):
    """How far a guard is from being proven.

    Attributes:
        log_m: log e-value of "worse by less than the margin", where a guard has several such claims
            of the first that is not proven; ``None`` where there is no rule.
        missing: what is missing, in words; ``""`` for nothing.
    """

    log_m: float | None = None
    missing: str = ""

    @property
    def proven(self) -> bool:
        """Whether it is enough."""
        return self.log_m is not None and self.log_m >= NEEDED


@lru_cache(maxsize=64)
def _points(margin: str | None) -> float | None:
    return None if margin is None else parse_weight(margin) / FULL


class Claim(NamedTuple):
    """One share that is to be proven.

    Attributes:
        cells: events that are worse, and the rest.
        delta: margin as a difference of shares.
        centre: the share expected beforehand.
        log_m: where it was computed otherwise, for means.
    """

    cells: Cells
    delta: float
    centre: float
    log_m: float | None = None

    @property
    def proof(self) -> float:
        """Log M, formula (15)."""
        if self.log_m is not None:
            return self.log_m
        return log_margin(self.cells, self.delta, self.centre)


def prove(guard: Guard, sums: Sums, settings: Settings, rho: float) -> Proof:
    """What can be said of one guard so far.

    Args:
        guard: with a margin, or nothing is asked of it.
        sums: the evidence.
        settings: with the baseline that latency is compared by.
        rho: weight of the present period as a share, for the estimate of what is missing.
    """
    delta = _points(guard.margin)
    if not delta or not settings.exact or guard.metric not in _CLAIMS:
        return Proof()
    if guard.metric is Metric.LATENCY and settings.baseline is None:
        return Proof(0.0, _unmeasured(sums.evidence))
    if guard.metric is Metric.MEAN and not guard.cap:
        return Proof(0.0, no_cap(guard, sums.evidence.matured))
    least = math.inf
    for claim in _CLAIMS[guard.metric](guard, delta, sums):
        least = min(least, claim.proof)
        if least < NEEDED:
            return Proof(least, _lacking(least, claim, guard, rho, _who(guard, sums, settings)))
    return Proof(least)


def _who(guard: Guard, sums: Sums, settings: Settings) -> str:
    """Who is counted for a proof: not all that are measured, but for client errors."""
    if sums.per_request:
        return "canary requests"
    if guard.metric is Metric.CLIENT_ERRORS:
        return "canary visitors"
    if guard.metric is Metric.LATENCY:
        return "canary visitors compared"  # those from the baseline on
    return f"canary visitors followed for {lasting(settings.horizon)}"


def _lacking(log_m: float, claim: Claim, guard: Guard, rho: float, who: str) -> str:
    events, stable_events, others, stable_others = total(claim.cells)
    seen, stable = events + others, stable_events + stable_others
    if not 0 < rho < 1:
        return f"{seen:,} {who} so far, and no more are drawn now"
    rate = stable_events / stable if stable else claim.centre
    full = _visitors(rho, claim.delta, claim.centre, round(rate, 4)) * rho
    if full == math.inf:
        return _narrow(claim, guard, rho, rate)
    more = full * min(1.5, 1 - log_m / NEEDED)
    if not seen:
        return f"none of about {_rounded(more)} {who} so far"
    if more <= seen / 10:
        # The estimate is too rough for "about 3,200 of 3,200".
        return f"about {_rounded(max(1.0, seen / 10))} more {who}"
    return f"about {_rounded(seen)} of {_rounded(seen + more)} {who} so far"


def _narrow(claim: Claim, guard: Guard, rho: float, rate: float) -> str:
    """Where no number of visitors would do, as far as it looks by now."""
    margin = f"a margin of {format_weight(round(claim.delta * FULL))}"
    # What must not fall is proven by those who lack it.
    share = 1 - rate if claim.centre == 1 else rate
    where = f"where {share:.1%} {_HAVE.get(guard.metric, 'have the event')}"
    if _visitors(0.5, claim.delta, claim.centre, round(rate, 4)) < math.inf:
        here = format_weight(round(rho * FULL))
        return f"not at {here}: {margin} needs a higher weight {where}"
    return f"not yet: {margin} is narrow {where}"


def _unmeasured(evidence: Evidence) -> str:
    stable = [one for arm, one in evidence.entries.items() if arm.cohort is Cohort.STABLE]
    missing = BASELINE - max(evidence.before, sum(sum(one.latency) for one in stable))
    if missing <= 0:
        return "no baseline yet"
    return f"no baseline yet, {missing} of {BASELINE} answers of stable are missing"


def _rounded(count: float) -> str:
    """Two digits, for nobody knows more: ``"2,100"``."""
    return f"{float(f'{count:.2g}'):,.0f}"


@lru_cache(maxsize=512)
def _visitors(rho: float, delta: float, centre: float, rate: float) -> float:
    return visitors_needed(rho, delta, centre, rate, ALPHA)


# --- by metric -----------------------------------------------------------------------------------


def _failures(guard: Guard, delta: float, sums: Sums) -> list[Claim]:
    if sums.per_request:
        return [Claim(sums.failures, delta, 0.0)]
    return [Claim(sums.hits(guard.name), delta, 0.0)]


def _client_errors(guard: Guard, delta: float, sums: Sums) -> list[Claim]:
    return [Claim(sums.client_errors, delta, 0.0)]


def _latency(guard: Guard, delta: float, sums: Sums) -> Iterator[Claim]:
    """Slower than stable's quantile; for the whole distribution at each of them."""
    if guard.quantile in LEVELS:
        yield _slower(guard.quantile, delta, sums)
        return
    for name, wider in WIDER.items():
        yield _slower(name, min(0.3, delta * wider), sums)


def _slower(quantile: str, delta: float, sums: Sums) -> Claim:
    at, usual = _beyond(sums.baseline or b"", LEVELS[quantile])
    return Claim(sums.slower(at), delta, usual)


@lru_cache(maxsize=64)
def _beyond(baseline: bytes, level: float) -> tuple[int, float]:
    """The first bucket beyond a quantile of stable, and how much of stable lies there."""
    counts = array("q", baseline)
    at = quantile_bucket(counts, level)
    return at, tail_share(counts, at)


def _hits(guard: Guard, delta: float, sums: Sums) -> list[Claim]:
    """A share that must not fall is the complement that must not rise."""
    cells = sums.hits(guard.name)
    if guard.worse is Worse.HIGHER or guard.metric is Metric.NEVER:
        return [Claim(cells, delta, 0.0)]
    return [Claim([(rho, _complement(table)) for rho, table in cells], delta, 1.0)]


def _mean(guard: Guard, delta: float, sums: Sums) -> list[Claim]:
    cells = values(guard, sums)
    rising = guard.worse is Worse.HIGHER
    parts = [1 - value for value in VALUE_MIDDLES] if rising else VALUE_MIDDLES
    centre = 0.0 if rising else 1.0
    return [
        Claim(_having(cells, rising), delta, centre, log_mean_margin(cells, parts, delta, centre))
    ]


def _having(cells: Histograms, rising: bool) -> Cells:
    """Who had a value and who had none: enough to say how many more are needed, roughly."""
    tables = [
        (rho, Table(sum(canary[1:]), sum(stable[1:]), canary[0], stable[0]))
        for rho, (canary, stable) in cells
    ]
    return tables if rising else [(rho, _complement(table)) for rho, table in tables]


def _complement(table: Table) -> Table:
    canary, stable, canary_others, stable_others = table
    return Table(canary_others, stable_others, canary, stable)


_CLAIMS: Final[Mapping[Metric, Callable[[Guard, float, Sums], Iterable[Claim]]]] = {
    Metric.FAILURES: _failures,
    Metric.CLIENT_ERRORS: _client_errors,
    Metric.LATENCY: _latency,
    Metric.RETURNED: _hits,
    Metric.SHARE: _hits,
    Metric.MEAN: _mean,
    Metric.NEVER: _hits,
}
