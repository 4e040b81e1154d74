"""What all processes measured of one release, summed up and judged: for agents and for people."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, runtime_checkable

from canary_middleware.core.judge import judge
from canary_middleware.core.merging import Fold, Shipped, Sums, matured
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.state import Entry
from canary_middleware.core.totals import Ledgers
from canary_middleware.core.verdict import Decision, Evidence, Settings, Verdict
from canary_middleware.errors import StoreError
from canary_middleware.stores.protocol import Firsts, Lease, StateStore, Totals, TotalsStore

LEASE: Final = 4.0
"""Seconds that a lease lasts."""
SILENT: Final = 3 * LEASE
"""Seconds without totals after which a process is taken for dead."""
WATCHERS: Final = 8
"""Processes beside the leader that look for a reason to roll back, on average."""
FRESH: Final = 5.0
"""Seconds within which somebody must have shipped totals, or there is nothing to go on by."""
NO_TOTALS: Final = "this store keeps no totals, so nothing is measured; see docs/stores.md"
LOWERED: Final = "its weight was lowered under policy keep, so it is not judged any more"


@runtime_checkable
class MeasuredStore(StateStore, TotalsStore, Lease, Firsts, Protocol):
    """A store that keeps everything that a measured rollout needs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a release at one moment; a reader's next reading changes the sums in it.

    Attributes:
        ledgers: sums over all processes, living or not, of the entry's run.
        evidence: what the judge was given.
        verdict: what it says.
        processes: how many ship totals.
        age: seconds since the oldest of those was written; ``None`` without any.
        fresh: some were written lately, and all of them can be read.
        refused: by id of a process, why its totals cannot be read; none of them counts.
    """

    ledgers: Ledgers
    evidence: Evidence
    verdict: Verdict
    processes: int = 0
    age: float | None = None
    fresh: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)


def read(store: StateStore, name: str, entry: Entry) -> Measured:
    """Read, sum up and judge once.

    Args:
        store: where the totals are.
        name: of the rollout.
        entry: the release and its run.

    Raises:
        StoreError: the store does not answer, or keeps no totals.
    """
    if not isinstance(store, MeasuredStore):
        raise StoreError(NO_TOTALS)
    return Reader(store, name, entry.release).read(entry)


def _next_thread() -> None:
    time.sleep(0)


class Reader:
    """Reads a release again and again, and decodes only what changed.

    Args:
        store: where the totals are.
        name: of the rollout.
        release: canary label.
        breathe: lets other threads have their turn.
    """

    def __init__(
        self,
        store: MeasuredStore,
        name: str,
        release: str,
        breathe: Callable[[], object] = _next_thread,
    ) -> None:
        self._store = store
        self._place = name, release
        self._sums = Sums(breathe)
        self._breathe = breathe

    def read(self, entry: Entry) -> Measured:
        """Everything that is known now.

        Raises:
            StoreError: the store does not answer.
        """
        found = self._store.read(*self._place)
        self._breathe()
        ages: list[float] = []
        sums = self._sums
        sums.update(entry.run, _shipped(found, ages))
        firsts = self._store.firsts(*self._place, entry.run)
        evidence = _evidence(entry, sums.total, firsts)
        self._breathe()
        return Measured(
            ledgers=sums.total,
            evidence=evidence,
            verdict=_judged(entry, evidence),
            processes=len(ages),
            age=max(ages, default=None),
            fresh=min(ages, default=math.inf) <= FRESH and not sums.unreadable,
            refused=sums.refused,
        )

    def fold(self, entry: Entry) -> bool:
        """Fold the processes that were silent when it was last read into one sum.

        Returns:
            Whether there were any, and the store still had them as they were read.

        Raises:
            StoreError: the store does not answer.
        """
        fold: Fold | None = self._sums.fold(entry)
        return fold is not None and self._store.fold(*self._place, fold.data, fold.boots, fold.old)


def _shipped(found: Iterable[Totals], ages: list[float]) -> Iterator[Shipped]:
    """As they are summed up; notes the ages of the living."""
    for boot, data, age in found:
        living = bool(boot) and age <= SILENT
        if living:
            ages.append(age)
        yield Shipped(boot, data, living)


# --- what the judge is given --------------------------------------------------------------------


def _judged(entry: Entry, evidence: Evidence) -> Verdict:
    lowered = len(evidence.weights) < len(entry.periods)
    verdict = judge(_settings(entry, exact=not lowered), evidence)
    if lowered and verdict.decision is Decision.PROMOTE:
        missing = (*verdict.missing, LOWERED)
        return replace(verdict, decision=Decision.INCONCLUSIVE, proven=False, missing=missing)
    return verdict


def _settings(entry: Entry, *, exact: bool) -> Settings:
    plan, baseline = entry.plan, entry.baseline
    return Settings(
        guards=entry.guards,
        policy=plan.policy,
        alpha=plan.course.alpha,
        horizon=plan.course.horizon,
        baseline=None if baseline is None else array("q", baseline.starts),
        exact=exact,
    )


def _evidence(
    entry: Entry, total: Ledgers, firsts: Mapping[tuple[str, int, Cohort], int]
) -> Evidence:
    weights = dict(_thrown(entry))
    slots = {slot: one for slot, one in total.slots.items() if slot.cell.period in weights}
    return Evidence(
        weights=weights,
        current=entry.period,
        entries={
            arm: one for arm, one in total.entries.items() if one.n and arm.cell.period in weights
        },
        firsts={key: count for key, count in firsts.items() if key[1] in weights},
        matured=matured(entry, slots, total.upto),
        betting=0 if entry.baseline is None else entry.baseline.since,
        capped={one.guard: one.since for one in entry.caps},
        seen=total.seen,
        before=sum(total.before),
    )


def _thrown(entry: Entry) -> Iterator[tuple[int, int]]:
    """Periods in which arms were thrown, with their weights.

    Under ``keep`` those after a decrease are none: who stays is not who was thrown there, and the
    evidence of before stands as it was (STATS section 1.6). A new epoch, such as that of a
    precaution, keeps nobody: all are drawn by weight again.
    """
    before, lowered = 0, False
    for period in entry.periods:
        if period.revision == entry.epoch:
            before, lowered = 0, False
        lowered |= entry.plan.policy is Policy.KEEP and period.weight < before
        before = period.weight
        if not lowered:
            yield period.revision, period.weight
