"""Rows of a rollout's tables: both versions, and what each guard knows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from canary_middleware.core.evidence import Told
from canary_middleware.core.guards import QUANTILES, Action, Guard, Metric
from canary_middleware.core.model import Cohort
from canary_middleware.core.telling import latency, promised
from canary_middleware.core.verdict import Finding, Share
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.overview.scene import Side, View
from canary_middleware.overview.wording import percent

_MOST: Final = math.log(1e6)
"""E-values above are told as being above."""


class Version(NamedTuple):
    """One side of a rollout, in words.

    Attributes:
        kind: ``canary`` or ``stable``.
        label: of the version.
        weight: its share of visitors, from 0 to 1.
        share: the same in words.
        exposed: visitors that were measured on it.
        requests: all of them.
        errors: of them.
        error_share: as a share.
        client_errors: 4xx.
        quantiles: p50, p95, p99.
        observed: a metric's name and how often it was observed.
    """

    kind: str
    label: str
    weight: float
    share: str
    exposed: str
    requests: str
    errors: str
    error_share: str
    client_errors: str
    quantiles: tuple[str, ...]
    observed: tuple[tuple[str, str], ...]


class Judged(NamedTuple):
    """One guard, in words and as two bars.

    Attributes:
        name: of the guard.
        warns: it never rolls back.
        canary: its side.
        stable: the other.
        back: from 0 to 1, how far the evidence is on its way to a rollback.
        back_word: the same in words.
        back_of: the e-value, and the one that rolls back.
        back_kind: ``worse``, ``suspect`` or ``calm``.
        on: likewise to a promotion; ``None`` where nothing has to be proven.
        on_word: in words.
        on_of: the e-value, and the one that a promotion needs.
        asks: what a promotion asks of it.
        sentence: both versions in one line, and what is missing.
    """

    name: str
    warns: bool
    canary: str
    stable: str
    back: float
    back_word: str
    back_of: str
    back_kind: str
    on: float | None
    on_word: str
    on_of: str
    asks: str
    sentence: str


def versions(view: View) -> list[Version]:
    """Canary and stable; nothing where nobody counts."""
    visitors = view.numbers.verdict.visitors if view.numbers else (0, 0)
    guards = view.entry.guards if view.entry else ()
    return [
        _version(side, exposed, guards)
        for side, exposed in zip(view.sides(), visitors, strict=False)
    ]


def _version(side: Side, exposed: int, guards: tuple[Guard, ...]) -> Version:
    return Version(
        kind="canary" if side.cohort is Cohort.CANARY else "stable",
        label=side.version,
        weight=side.share / FULL,
        share=format_weight(side.share),
        exposed=f"{exposed:,}",
        requests=f"{side.requests:,}",
        errors=f"{side.errors:,}",
        error_share=_part(side.errors, side.requests),
        client_errors=_part(side.client_errors, side.requests),
        quantiles=tuple("-" if one is None else latency(one) for one in side.quantiles),
        observed=tuple(_observed(side, guards)),
    )


def _part(count: int, of: int) -> str:
    return percent(count / of) if count and of else "0%" if of else "-"


def _observed(side: Side, guards: tuple[Guard, ...]) -> Iterator[tuple[str, str]]:
    for guard in guards:
        if guard.name in side.observed:
            times, bad = side.observed[guard.name]
            above = f", {bad:,} above {guard.above:g}" if guard.metric is Metric.NEVER else ""
            yield guard.of or guard.name, f"{times:,}{above}"


def judged(told: Told) -> list[Judged]:
    """Every guard with what was found."""
    return [_judged(told, one, told.guards[one.guard]) for one in told.verdict.findings]


def _judged(told: Told, found: Finding, guard: Guard) -> Judged:
    back = 1.0 if found.breach else _towards(found.log_e, found.threshold)
    proves = found.proof is not None or found.proven
    on = (1.0 if found.proven else _towards(found.proof or 0.0, found.needed)) if proves else None
    missing = f"; {found.missing}" if found.missing else ""
    return Judged(
        name=found.guard,
        warns=found.action is not Action.BREACH,
        canary=_share(found.canary, guard),
        stable=_share(found.stable, guard),
        back=back,
        back_word="worse" if found.breach else f"{100 * back:.0f}%",
        back_of=_odds(found.log_e, found.threshold),
        back_kind="worse" if found.breach else "suspect" if found.suspect else "calm",
        on=on,
        on_word="proven" if found.proven else "-" if on is None else f"{100 * on:.0f}%",
        on_of="" if found.proof is None else _odds(found.proof, found.needed),
        asks="only warns" if found.action is not Action.BREACH else _asks(guard),
        sentence=f"{told.compared(found)}{missing}",
    )


def _odds(log_e: float, needed: float) -> str:
    """E-values as odds: how much better "worse" explains what was seen than "not worse" does."""
    if log_e < math.log(0.01):
        return f"evidence under 0.01 of {math.exp(needed):,.0f}"
    found = math.exp(min(log_e, _MOST))
    more = "over " if log_e > _MOST else ""
    told = f"{found:,.0f}" if found >= 9.95 else f"{found:.2g}"
    return f"evidence {more}{told} of {math.exp(min(needed, _MOST)):,.0f}"


def _asks(guard: Guard) -> str:
    return promised(guard) if guard.margin is not None else "no margin to prove"


def _towards(value: float, needed: float) -> float:
    """Below 1: only what is there is full."""
    return min(max(value / needed if needed > 0 else 0.0, 0.0), 0.99)


def _share(share: Share, guard: Guard) -> str:
    if guard.metric is Metric.LATENCY and share.quantiles:
        at = QUANTILES.index(guard.quantile) if guard.quantile in QUANTILES else -1
        value = share.quantiles[at]
        return f"{QUANTILES[at]} {'-' if value is None else latency(value)}"
    if share.mean is not None:
        return f"{share.mean:.4g}"
    if share.of:
        return f"{share.events:,} of {share.of:,}"
    return f"{share.events:,}" if share.events else "-"
