"""False and missed alarms: the lines of the table, each with what was measured and its limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from benchmarks.judge.limits import of_harm
from benchmarks.judge.observe import ALPHAS, Case, Observer, Seen
from benchmarks.judge.world import (
    BASE,
    FIVE,
    HALF,
    NULLS,
    PER_REQUEST,
    RAMP,
    SPLITS,
    Harm,
    Split,
    World,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        name: what was measured.
        measured: as text.
        limit: likewise.
        held: whether it holds; ``None`` for what has no limit.
    """

    name: str
    measured: str
    limit: str
    held: bool | None

    def __str__(self) -> str:
        mark = "    " if self.held is None else "ok  " if self.held else "MISS"
        return f"{mark} {self.name:<64} {self.measured:>24}  {self.limit}"


Show = Callable[[Line], None]

# --- healthy releases --------------------------------------------------------------------------


def false_alarms(observer: Observer, runs: int) -> Iterator[Line]:
    """Every null, watched continuously, under every split."""
    total: dict[float, list[bool]] = {alpha: [] for alpha in ALPHAS}
    for key, world in enumerate((*NULLS, *PER_REQUEST)):
        for split in SPLITS:
            found = [observer.look(Case(world, split, key=key), one) for one in range(runs)]
            for alpha in ALPHAS:
                wrong = [seen[alpha].found for seen in found]
                total[alpha] += wrong
                yield _false(_title(world, split, alpha), wrong, alpha)
    for alpha, wrong in total.items():
        yield _false(f"false rollbacks, all nulls, alpha {alpha:.0%}", wrong, alpha)


def _title(world: World, split: Split, alpha: float) -> str:
    traffic = "sticky" if world.sticky else "request"
    return f"false rollbacks {alpha:.0%}: {world.name}, {traffic}, {split.name}"


def _false(name: str, wrong: Sequence[bool], alpha: float) -> Line:
    limit = alpha + 2 * math.sqrt(alpha * (1 - alpha) / len(wrong))
    share = sum(wrong) / len(wrong)
    return Line(name, f"{share:.2%} of {len(wrong):,}", f"at most {limit:.2%}", share <= limit)


# --- bad releases, every request drawn anew ------------------------------------------------------

ANEW = replace(BASE.anew, usual=0.01, twice=0.001)
ORDERING = replace(ANEW, orders=0.08)
CLEAN = replace(ANEW, twice=0.0)

RATIOS = (
    ("errors", 1.6, ANEW, Harm("errors 1 to 3 %", failing=0.03)),
    ("errors", 1.6, replace(ANEW, usual=0.005), Harm("errors 0.5 to 2.2 %", failing=0.022)),
    ("errors", 1.6, replace(ANEW, usual=0.03), Harm("errors 3 to 5.7 %", failing=0.057)),
    ("errors", 1.6, ANEW, Harm("errors 1 to 9 %", failing=0.09)),
    ("business", 1.6, CLEAN, Harm("double charges 0 to 12 %", twice=0.12)),
    ("business", 1.6, ANEW, Harm("double charges 0.1 to 3 %", twice=0.03)),
    ("business", 1.6, ORDERING, Harm("orders 8 to 5.2 %", orders=0.65)),
    ("latency", 1.6, ANEW, Harm("latency x1.27", slower=1.27)),
    ("latency", 1.6, ANEW, Harm("latency x1.5", slower=1.5)),
    ("latency", 1.6, ANEW, Harm("latency x1.8", slower=1.8)),
    ("tail", 2.0, ANEW, Harm("1 % of requests +5 s", hanging=0.01)),
    ("tail", 2.0, ANEW, Harm("2.5 % of requests +5 s", hanging=0.025)),
)
"""Kind, limit, traffic, harm: effects that no prior contains."""


def detection(observer: Observer, runs: int) -> Iterator[Line]:
    """Mean canary requests until rollback ÷ information limit, and crashes, at alpha 1 %."""
    for key, (kind, limit, world, harm) in enumerate(RATIOS, start=100):
        for split in (FIVE, HALF):
            yield _ratio(observer, Case(world, split, harm, key), kind, limit, runs)
    for split, limit in ((FIVE, 2), (HALF, 6)):
        case = Case(ANEW, replace(split, requests=2000), Harm("crash", crash=True), 130)
        needed = median(_needed(observer, case, runs, "requests"))
        name = f"crash, median canary requests, request, {split.name}"
        yield Line(name, f"{needed:g}", f"at most {limit}", needed <= limit)


def _ratio(observer: Observer, case: Case, kind: str, limit: float, runs: int) -> Line:
    rho = case.split.weights[0] / 100_000
    least = of_harm(case.world, case.harm, rho)
    enough = int(min(400_000, max(2000, 8 * least / rho)))
    case = replace(case, split=replace(case.split, requests=enough))
    looks = [observer.look(case, one)[0.01] for one in range(runs)]
    mean = fmean(one.requests for one in looks)
    missed = sum(not one.found for one in looks)
    name = f"{kind}: {case.harm.name}, request, {case.split.name}, mean {mean:.0f} / {least:.0f}"
    ratio = mean / least
    text = f"{ratio:.2f}" + (f" ({missed} of {runs} missed)" if missed else "")
    return Line(name, text, f"at most {limit}", ratio <= limit and missed <= 0.02 * runs)


def _needed(observer: Observer, case: Case, runs: int, unit: str) -> list[float]:
    looks = [observer.look(case, one)[0.01] for one in range(runs)]
    return [_count(one, unit) if one.found else math.inf for one in looks]


def _count(seen: Seen, unit: str) -> float:
    return float(seen.visitors if unit == "visitors" else seen.requests)


# --- bad releases, sticky visitors ---------------------------------------------------------------

LEAVING = replace(BASE, retries=5, leaving=0.5)
SINGLE = replace(BASE, twice=0.0)
STICKY: Sequence[tuple[World, Harm, tuple[int, int, int]]] = (
    (BASE, Harm("1 to 3 % of requests", failing=0.025), (170, 460, 165)),
    (BASE, Harm("1 to 5 % of requests", failing=0.045), (100, 250, 68)),
    (LEAVING, Harm("crash", crash=True), (3, 7, 3)),
    (SINGLE, Harm("double charges 12 %", twice=0.12), (20, 80, 10)),
    (BASE, Harm("latency x1.5", slower=1.5), (50, 90, 54)),
    (BASE, Harm("1 % of requests +5 s", hanging=0.01), (140, 440, 120)),
)


def sticky_detection(observer: Observer, runs: int) -> Iterator[Line]:
    """Median canary visitors until rollback, at alpha 1 %."""
    for key, (world, harm, limits) in enumerate(STICKY, start=200):
        for split, limit in zip((FIVE, HALF, RAMP), limits, strict=True):
            needed = _needed(observer, Case(world, split, harm, key), runs, "visitors")
            name = f"{harm.name}, sticky, {split.name}, median canary visitors"
            half = median(needed)
            yield Line(name, f"{half:g}", f"at most {limit}", half <= limit)


def broken(lines: Iterable[Line]) -> bool:
    """Whether something does not hold."""
    return any(line.held is False for line in lines)
