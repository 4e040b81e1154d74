"""What was found about a guard, in plain words. No number is made up: what was not counted is
left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from canary_middleware.core.guards import QUANTILES, Guard, Metric
from canary_middleware.core.outcomes import STARTS
from canary_middleware.core.verdict import Finding, Share

LONGEST: Final = 160.0
"""Seconds above which a latency is only known to be longer: histograms end there."""
_DID: Final[Mapping[Metric, str]] = {
    Metric.FAILURES: "failed",
    Metric.CLIENT_ERRORS: "got a 4xx",
    Metric.RETURNED: "came back",
}
_FEW: Final = 5
"""Events on stable below which nobody can say how many times as high something is."""
_MATURED: Final = frozenset({Metric.RETURNED, Metric.SHARE, Metric.MEAN})
"""Metrics that are known of visitors who have had their time only."""


def compared(
    found: Finding, guard: Guard, labels: tuple[str, str], seen: tuple[int, int] = (0, 0)
) -> str:
    """One guard, both versions: ``"7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"``.

    Args:
        found: what the judge says.
        guard: its declaration.
        labels: of the canary and of stable.
        seen: visitors of both, said beside counts that have no denominator of their own.
    """
    if guard.metric in _MATURED and not found.canary.of and not found.stable.of:
        return f"{guard.name}: nobody was measured for long enough yet"
    if guard.metric is Metric.LATENCY and found.canary.quantiles:
        return _latency(found, guard, labels, seen[0])
    if guard.metric is Metric.MEAN and found.canary.mean is not None:
        return _mean(found, labels)
    head, unit, tail = _frame(found, guard)
    canary = f"{_part(found.canary, unit)}{tail} on {labels[0]}{_beside(found.canary, seen[0])}"
    return f"{head}{canary}, {_part(found.stable)} on {labels[1]}{_beside(found.stable, seen[1])}"


def noticeable(found: Finding, guard: Guard) -> str:
    """The smallest effect that would have been seen: ``"errors 2.5 times as high"``."""
    ratio = found.detectable or 0.0
    if guard.metric is Metric.LATENCY:
        return f"{guard.name}: {ratio:.1f} times as many {found.unit} above stable's p99"
    if found.stable.events < _FEW:
        share = 100 * min(1.0, ratio * found.stable.rate)
        told = f"{share:.0f}" if share >= 9.95 else f"{share:.2g}"
        return f"{guard.name} in {told}% of {found.unit}"
    return f"{guard.name} {ratio:.1f} times as high"


def _beside(share: Share, seen: int) -> str:
    """How many there were, where it is not known of how many this is."""
    # First events are told at once, visitors when their answers are old enough.
    return f" ({seen:,} seen)" if seen >= max(1, share.events) and not share.of else ""


def _frame(found: Finding, guard: Guard) -> tuple[str, str, str]:
    """What stands before the numbers, what they count, and what those did."""
    if guard.metric is Metric.NEVER:
        subject, _, did = guard.name.partition("-")
        # A guard that is named as a sentence is read as one: orders-charged-twice.
        if did and subject.endswith("s"):
            return "", subject, f" {did.replace('-', ' ')}"
        if guard.name == guard.of:
            return "", found.unit, f" with {guard.of} above {guard.above:g}"
        return f"{guard.name.replace('-', ' ')}: ", found.unit, ""
    if guard.metric is Metric.LATENCY:
        return "", found.unit, " were slow"
    did = _DID.get(guard.metric, "")
    return ("", found.unit, f" {did}") if did else (f"{guard.of}: ", found.unit, "")


def _part(share: Share, unit: str = "") -> str:
    told = f"{share.events:,} of {share.of:,}" if share.of else f"{share.events:,}"
    one = (share.of or share.events) == 1
    return f"{told} {unit.removesuffix('s') if one else unit}".rstrip()


def _mean(found: Finding, labels: tuple[str, str]) -> str:
    sides = [
        f"{'unknown' if share.mean is None else f'{share.mean:.4g}'} on {label}"
        + (f" ({share.of:,})" if share.of else "")
        for share, label in zip((found.canary, found.stable), labels, strict=True)
    ]
    return f"{found.metric} per visitor: {', '.join(sides)}"


def _latency(found: Finding, guard: Guard, labels: tuple[str, str], seen: int) -> str:
    mine, others = found.canary.quantiles, found.stable.quantiles
    at = QUANTILES.index(guard.quantile) if guard.quantile in QUANTILES else _farthest(mine, others)
    count, unit = found.canary.of, found.unit
    of = f" of {count:,} {unit.removesuffix('s') if count == 1 else unit}" if count else ""
    if 0 < count < seen:
        of = f" of the {count:,} measured since the baseline"
    sides = (
        f"{_at(side, at)} on {name}" for side, name in zip((mine, others), labels, strict=True)
    )
    return f"{QUANTILES[at]}{of} {', '.join(sides)}"


def _farthest(mine: tuple[float | None, ...], others: tuple[float | None, ...]) -> int:
    """Where the two distributions lie farthest apart."""
    ratios = [(a or 0.0) / b if b else 0.0 for a, b in zip(mine, others, strict=False)]
    return ratios.index(max(ratios)) if ratios else len(QUANTILES) - 1


def _at(quantiles: tuple[float | None, ...], index: int) -> str:
    value = quantiles[index] if index < len(quantiles) else None
    return "unknown" if value is None else latency(value)


def latency(seconds: float) -> str:
    """A time until an answer: ``"310 ms"``, ``"2.4 s"``; of the first bucket ``"< 1 ms"``."""
    if seconds >= LONGEST:
        return f"over {LONGEST:.0f} s"
    if seconds <= STARTS[0]:
        return f"< {1000 * STARTS[0]:g} ms"
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def promised(guard: Guard) -> str:
    """What is proven by a promotion: ``"errors at most 1 point worse"``."""
    margin = (guard.margin or "").replace(" ", "").removesuffix("%")
    if guard.metric is Metric.MEAN:
        return f"{guard.name} worse by at most {margin}% of its cap"
    points = f"{margin} point" if margin == "1" else f"{margin} points"
    if guard.metric is Metric.LATENCY:
        return f"visitors above stable's {guard.quantile or 'p99'} at most {points} more"
    return f"{guard.name} at most {points} worse"


def lasting(seconds: float) -> str:
    """How long something took: ``"2 h"``, ``"90 s"``, ``"10 min"``."""
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size < 1):
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
