"""Who may spend how much of alpha: formula (16), rule by rule.

Bets of one ledger are revealed together, so their e-values may be averaged, (13). Different ledgers
reveal a visitor's arm at different moments; an average over them would be no martingale in any
common history, so they share alpha by a union bound. Either way a bet with the weight w rolls back
alone at E >= 1/(alpha w), and all weights of a plan sum to 1.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from canary_middleware.core.evalues import (
    FEWER,
    FIRST,
    HIGHER,
    LATE,
    LOWER,
    MORE,
    SELDOM,
    UNHEARD,
    Prior,
)
from canary_middleware.core.guards import Guard, Metric, Worse
from canary_middleware.core.model import Policy
from canary_middleware.core.sums import FAILED, SLOW


class Source(enum.Enum):
    """The three ledgers of STATS 4.2."""

    ENTRIES = "entries"
    FIRSTS = "firsts"
    MATURED = "matured"


class Part(NamedTuple):
    """What a family of guards may spend in one ledger.

    Attributes:
        source: the ledger.
        kind: of first events; ``""``: each guard its own. ``None`` outside that ledger.
        weight: of the family, before the weights of a plan are scaled to sum to 1.
    """

    source: Source
    kind: str | None
    weight: float


class Bet(NamedTuple):
    """One e-value of one guard.

    Attributes:
        guard: whose.
        source: its ledger.
        kind: of first events.
        ledger: bets with the same name are averaged.
        log_weight: log of its share of alpha, in nats.
        slack: what is still no regression, relatively.
        anew: whether each request is a throw of its own.
    """

    guard: Guard
    source: Source
    kind: str
    ledger: str
    log_weight: float
    slack: float
    anew: bool


Family = frozenset[Metric]
BUSINESS: Final = frozenset({Metric.SHARE, Metric.MEAN, Metric.RETURNED})
_ERRORS: Final = frozenset({Metric.FAILURES})
_CLIENTS: Final = frozenset({Metric.CLIENT_ERRORS})
_LATENCY: Final = frozenset({Metric.LATENCY})
_NEVER: Final = frozenset({Metric.NEVER})

STICKY: Final[Mapping[Family, tuple[Part, ...]]] = {
    _ERRORS: (Part(Source.ENTRIES, None, 0.12), Part(Source.FIRSTS, FAILED, 0.27)),
    _CLIENTS: (Part(Source.ENTRIES, None, 0.12),),
    _LATENCY: (Part(Source.ENTRIES, None, 0.18), Part(Source.FIRSTS, SLOW, 0.17)),
    _NEVER: (Part(Source.FIRSTS, "", 0.12),),
    BUSINESS: (Part(Source.MATURED, None, 0.14),),
}
"""Where a visitor keeps their version; STATS 4.3, with more for answers that are very slow."""
PER_REQUEST: Final[Mapping[Family, tuple[Part, ...]]] = {
    _ERRORS: (Part(Source.ENTRIES, None, 0.33),),
    _CLIENTS: (Part(Source.ENTRIES, None, 0.15),),
    _LATENCY: (Part(Source.ENTRIES, None, 0.25),),
    # With little less a third event would be needed at 5 %, see UNHEARD.
    _NEVER: (Part(Source.MATURED, None, 0.31),),
    # Nobody comes back to the same version, so nothing is bet on that.
    BUSINESS - {Metric.RETURNED}: (Part(Source.MATURED, None, 0.12),),
}
"""Where every request is drawn anew: one history, so one average (STATS 1.4).

Whatever one family gets another lacks: these bring the mean of canary requests to at most 1.6 times
the information limit for each, with nothing left over.
"""


def prior_of(bet: Bet) -> Prior:
    """The alternatives of a bet on events; latency of entries and means have curves instead."""
    metric = bet.guard.metric
    if metric is Metric.NEVER:
        return UNHEARD if bet.anew else SELDOM
    if bet.source is Source.FIRSTS:
        return LATE if metric is Metric.LATENCY else FIRST
    if metric in BUSINESS and bet.guard.worse is Worse.LOWER:
        return FEWER if bet.anew else LOWER
    return MORE if bet.anew else HIGHER


@lru_cache(maxsize=64)
def bets(guards: tuple[Guard, ...], policy: Policy) -> tuple[Bet, ...]:
    """All bets of a plan; guards that only warn have a whole alpha each, outside the budget."""
    found = list(_scaled(_of(tuple(guard for guard in guards if guard.breaches), policy)))
    for guard in guards:
        if not guard.breaches:
            alone = _scaled(_of((guard,), policy))
            found += [bet._replace(ledger=f"{bet.ledger} of {guard.name}") for bet in alone]
    return tuple(found)


def _of(guards: tuple[Guard, ...], policy: Policy) -> list[tuple[Bet, float]]:
    found = []
    per_request = policy is Policy.REQUEST
    for family, parts in (PER_REQUEST if per_request else STICKY).items():
        members = [guard for guard in guards if guard.metric in family and guard.weight > 0]
        for part in parts:
            for guard in members:
                kind = guard.name if part.kind == "" else part.kind or ""
                ledger = f"{part.source.value} {kind}".rstrip()
                ledger = "requests" if per_request else ledger
                bet = Bet(guard, part.source, kind, ledger, 0.0, guard.slack, per_request)
                found.append((bet, part.weight * guard.weight / len(members)))
    return found


def _scaled(found: list[tuple[Bet, float]]) -> list[Bet]:
    total = sum(weight for _, weight in found)
    return [bet._replace(log_weight=math.log(weight / total)) for bet, weight in found]
