"""One measured exposure on its way to the ledgers: what has to be known until it is booked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from canary_middleware.core.gauge import Gauge
from canary_middleware.core.model import Assignment
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.throw import Sight

OPEN: Final = -1
"""Kind of an outcome that nobody knows yet."""
DROPPED: Final = -2
"""Kind of one that shall not be booked."""
WAITING: Final = -3
"""Kind of one that nobody knows yet, as the client has not sent its body."""


class Arrival:
    """The first exposed request of a visitor in a period: one throw of the coin.

    Attributes:
        assignment: what the coin said.
        gauge: of its lane.
        unit: keyed hash of whose coin it is; 0 where every request has its own.
        sight: what the cookie keeps of it.
        begun: monotonic seconds of the request's arrival.
        sole: the coin was drawn for this request, so that no other one can have entered by it.
        start: seconds until the answer started; negative before.
        kind: how it ended, by :class:`OutcomeClass`; from the start of the answer on its status.
    """

    __slots__ = ("assignment", "begun", "gauge", "kind", "sight", "sole", "start", "unit")

    def __init__(
        self,
        assignment: Assignment,
        gauge: Gauge,
        unit: int,
        sight: Sight,
        begun: float,
        *,
        sole: bool = False,
    ) -> None:
        self.assignment = assignment
        self.gauge = gauge
        self.unit = unit
        self.sight = sight
        self.begun = begun
        self.sole = sole
        self.start = -1.0
        self.kind: int = OPEN


class Event(NamedTuple):
    """Something of a visitor's that may count: a failure, a slow answer, a declared metric.

    Attributes:
        due: monotonic seconds at which it is booked.
        assignment: of the exposure.
        gauge: of its lane.
        unit: as in :class:`Arrival`.
        sight: what the cookie keeps, for the ledger of matured visitors; ``None`` for nothing.
        wall: wall-clock seconds.
        failed: the request failed.
        slow: it took long to start.
        again: it was not the visitor's first request in this period.
        observed: by declared metric, the sum within the request.
        told: of those, what was told of the request before.
        drilled: a drill hit it; only counted, for who rehearses.
    """

    due: float
    assignment: Assignment
    gauge: Gauge
    unit: int
    sight: Sight | None
    wall: float
    failed: bool = False
    slow: bool = False
    again: bool = False
    observed: Mapping[str, float] = {}
    told: Mapping[str, float] = {}
    drilled: bool = False


FAILED: Final = frozenset({
    OutcomeClass.SERVER_ERROR, OutcomeClass.EXCEPTION, OutcomeClass.TIMEOUT, OutcomeClass.RESCUED,
})  # fmt: skip
