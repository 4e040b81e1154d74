"""A lane's plan compiled for measuring: what requests look at, and what their bookings need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Final, NamedTuple

from canary_middleware.core.cookie import pin_tag
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.model import Policy
from canary_middleware.core.state import Baseline, Entry
from canary_middleware.core.totals import VALUES, Slot, quantile

GATE: Final = 1.0
"""Seconds, least age at which an outcome is booked (STATS section 4.4)."""
UNKNOWN_GATE: Final = 5.0
"""The same while nobody knows how long stable takes."""
SLOW: Final = 2.0
"""An answer is slow that takes so many times stable's p99."""
SLOW_KIND: Final = "slow"
"""Name of that event in the ledger of first events; no guard can have it."""


class Watch(NamedTuple):
    """What one guard makes of a declared metric.

    Attributes:
        guard: which.
        bit: of the guard among the matured ones.
    """

    guard: Guard
    bit: int

    def bad(self, total: float) -> bool:
        """Whether a request observed more than it may."""
        return self.guard.metric is Metric.NEVER and total > self.guard.above

    def hit(self, total: float) -> int | None:
        """The bucket that a visitor with this value is counted in, ``None`` for no event."""
        if self.guard.metric is Metric.NEVER:
            return 0 if self.bad(total) else None
        if self.guard.metric is Metric.SHARE:
            return 0
        return value_bucket(total, self.guard.cap)


def value_bucket(value: float, cap: float) -> int:
    """0 to 15: in sixteenths of the cap, or by powers of two where no cap is known."""
    if cap > 0:
        return max(0, math.ceil(min(value / cap, 1.0) * VALUES) - 1)
    return 0 if value < 1 else min(VALUES - 1, math.frexp(value)[1])


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """How one release is measured in its present state.

    Attributes:
        rollout: its name.
        release: its canary label.
        run: revision of its start.
        begun: wall-clock seconds of it.
        slot: seconds of a slot of matured visitors.
        horizon: seconds in which a visitor matures.
        weights: by revision of a period, its weight.
        ends: by revision of a period that is over, the wall-clock seconds of its end.
        gate: age in seconds at which an outcome is booked.
        slow: seconds after which an answer is slow; infinite while nobody knows.
        timeout: seconds after which an answer that did not start is a time-out.
        tag: what a visitor's sight stands under in the cookie.
        key: under which visitors are hashed; secret.
        lineage: of the control state.
        per_request: every exposure is a throw of its own (policy ``request``).
        failures: bits of the guards that count failing visitors.
        failing: their names.
        returned: bits of the guards that count visitors who come back.
        returning: their names.
        watches: by declared metric.
    """

    rollout: str
    release: str
    run: int
    begun: float
    slot: float
    horizon: float
    weights: Mapping[int, int]
    ends: Mapping[int, float]
    gate: float
    slow: float
    timeout: float
    tag: str
    key: bytes = field(repr=False)
    lineage: str
    per_request: bool
    failures: int
    failing: tuple[str, ...]
    returned: int
    returning: tuple[str, ...]
    watches: Mapping[str, tuple[Watch, ...]]

    @classmethod
    def of(cls, rollout: str, entry: Entry, lineage: str, key: bytes) -> Gauge:
        """Compile an entry whose plan has guards."""
        plan = entry.plan
        matured = {guard.name: bit for bit, guard in enumerate(plan.matured)}
        usual = usual_p99(entry.baseline)
        return cls(
            rollout=rollout,
            release=entry.release,
            run=entry.run,
            begun=entry.begun,
            slot=plan.slot,
            horizon=plan.course.horizon,
            weights={one.revision: one.weight for one in entry.periods},
            ends={one.revision: after.at for one, after in pairwise(entry.periods)},
            gate=gate_of(entry),
            slow=math.inf if usual is None else SLOW * usual,
            timeout=plan.course.timeout,
            tag=pin_tag(key, rollout, lineage, entry.run),
            key=key,
            lineage=lineage,
            per_request=plan.policy is Policy.REQUEST,
            failures=_bits(plan.guards, matured, Metric.FAILURES),
            failing=_names(plan.guards, Metric.FAILURES),
            returned=_bits(plan.guards, matured, Metric.RETURNED),
            returning=_names(plan.guards, Metric.RETURNED),
            watches=_watches(entry.guards, matured),
        )

    def slot_at(self, wall: float) -> int:
        """The slot of a moment; 0 stands for all that have matured long ago."""
        return 1 + max(0, int((wall - self.begun) / self.slot))

    def matures(self, slot: Slot) -> bool:
        """Whether a slot's visitors mature before their period ends; others never count."""
        if slot.cell.period not in self.weights:
            return False
        ripe = self.begun + slot.number * self.slot + self.horizon
        return not slot.number or ripe <= self.ends.get(slot.cell.period, math.inf)

    def unit(self, kind: bytes, subject: str) -> int:
        """Keyed hash of whose coin it is, 53 bits; reveals nobody."""
        data = kind + subject.encode("utf-8", "surrogatepass")
        digest = blake2b(data, key=self.key, digest_size=8, person=b"canary-first").digest()
        return int.from_bytes(digest, "big") >> 11


def gate_of(entry: Entry) -> float:
    """Seconds of age at which an outcome is booked."""
    usual = usual_p99(entry.baseline)
    wait = UNKNOWN_GATE if usual is None else max(GATE, 5 * usual)
    return min(wait, entry.plan.course.timeout)


def usual_p99(baseline: Baseline | None) -> float | None:
    """Seconds that one in a hundred of stable's answers took longer than, once that is known."""
    return None if baseline is None else quantile(baseline.starts, 0.99)


def _bits(guards: tuple[Guard, ...], matured: Mapping[str, int], metric: Metric) -> int:
    return sum(1 << matured[guard.name] for guard in guards if guard.metric is metric)


def _names(guards: tuple[Guard, ...], metric: Metric) -> tuple[str, ...]:
    return tuple(guard.name for guard in guards if guard.metric is metric)


def _watches(
    guards: tuple[Guard, ...], matured: Mapping[str, int]
) -> Mapping[str, tuple[Watch, ...]]:
    found: dict[str, tuple[Watch, ...]] = {}
    for guard in guards:
        if guard.of:
            found[guard.of] = (*found.get(guard.of, ()), Watch(guard, matured[guard.name]))
    return found
