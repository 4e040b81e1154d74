"""The one pin rule: what a policy remembers of a visitor, for how long, and what that decides.

A pin is a remembered assignment, in the signed cookie or in a claim of shared affinity. Which
cohorts a policy pins is a table; everything else follows from it: a pin that is held decides, and
whoever is assigned a cohort that is pinned gets a pin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.state import Phase

PINNED: Final[Mapping[Policy, frozenset[Cohort]]] = {
    Policy.FOLLOW: frozenset(),
    Policy.KEEP: frozenset({Cohort.CANARY}),
    Policy.SESSION: frozenset(Cohort),
    Policy.REQUEST: frozenset(),
}
"""The cohorts that a policy pins."""

RENEW: Final = 4
"""A session is prolonged when the first of so many parts of its life is over."""


class Pin(NamedTuple):
    """A remembered assignment of one release, in the epoch that it was made in.

    Attributes:
        cohort: what was assigned.
        period: in which it was drawn.
        until: wall-clock seconds after which it counts no more; 0 for the whole epoch.
    """

    cohort: Cohort
    period: int
    until: int = 0


def pinned(policy: Policy, phase: Phase | None) -> frozenset[Cohort]:
    """The cohorts that are pinned now; none of a release that is closed.

    Open sessions outlast a promotion, which is a weight of 100 %, and end with ``finish``.
    """
    return frozenset() if phase is Phase.FINISHED else PINNED[policy]


def holds(pins: frozenset[Cohort], pin: Pin | None, now: float) -> bool:
    """Whether a pin of the present epoch decides."""
    return pin is not None and pin.cohort in pins and (not pin.until or now < pin.until)


def renewed(
    pins: frozenset[Cohort], session: int, decided: Pin, held: Pin | None, now: float
) -> Pin | None:
    """What has to be remembered once ``decided`` was served; ``None`` if nothing new.

    Args:
        pins: from :func:`pinned`.
        session: seconds that a session lasts after its last sight; 0 where pins last the epoch.
        decided: cohort and period that were served.
        held: the visitor's pin, if it decided.
        now: wall-clock seconds.
    """
    if decided.cohort not in pins:
        return None
    if held is None:
        return decided._replace(until=int(now) + session if session else 0)
    if session and held.until - now < session - session / RENEW:
        return held._replace(until=int(now) + session)
    return None
