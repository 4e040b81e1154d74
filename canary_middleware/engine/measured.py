"""The side of a visit that is measured: who was thrown onto which side, and what came of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from canary_middleware.core.bucket import threshold
from canary_middleware.core.gauge import Gauge
from canary_middleware.core.model import Assignment, Cohort
from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.routing import Drawn, bucket_of
from canary_middleware.core.snapshot import Lane
from canary_middleware.core.throw import Interval, Sight
from canary_middleware.engine.sighting import DROPPED, FAILED, OPEN, WAITING, Arrival, Event
from canary_middleware.engine.sights import Sighted
from canary_middleware.engine.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from canary_middleware.engine.visit import Visit

_ENDED: Final = (OutcomeClass.EXCEPTION, OutcomeClass.ABORTED)
"""The server answers now; or the client has left, and longer than until now nobody waited."""

IN_TIME, OVERDUE, TIMED_OUT = range(3)
LONG: Final = 1.0
"""Seconds of waiting for a client that are nothing out of the ordinary."""
LARGEST: Final = 1e15
"""What a request can observe of one metric, at most."""


class Measured(Sighted):
    """What a visit leaves in the ledgers.

    Attributes:
        begun: monotonic seconds of the arrival.
        head: seconds until the answer started; negative before.
        arrivals: throws of the coin that this request made, or ``None``.
        returned: rollouts in which this was not the visitor's first request of the period.
        observed: sums of declared metrics by name, or ``None``.
        overdue: how long the answer has not started: past the gate, past the time-out.
        upload: what the client has to do with it; ``None`` while nobody has asked for the body.
        slow: seconds from which on some measured exposure finds the answer slow.
        measured: some exposure is compared between the versions.
    """

    __slots__ = (
        "arrivals", "begun", "crowded", "exposed", "finished", "head", "measured", "observed",
        "outer", "overdue", "returned", "slow", "started", "status", "upload",
    )  # fmt: skip

    begun: float
    head: float
    started: bool
    finished: bool
    status: int
    arrivals: list[Arrival] | None
    returned: set[str] | None
    observed: dict[str, float] | None
    overdue: int
    slow: float
    measured: bool
    upload: Upload | None
    exposed: dict[str, Assignment]
    outer: Visit | None
    crowded: bool

    # --- the throw -------------------------------------------------------------------------------

    def _throw(self, lane: Lane, assignment: Assignment, drawn: Drawn | int | None) -> bool:
        """Note a measured exposure: the first one of a visitor in a period is a throw.

        Args:
            lane: that decided.
            assignment: what it decided.
            drawn: what the bucket was drawn by, or the bucket.

        Returns:
            Whether the same cookie has nothing more to tell in this period.
        """
        gauge = assignment.gauge
        if gauge is None:
            return True
        if self.started:
            return False  # too late for the cookie, so that it would count again
        if gauge.per_request:
            self._arrive(assignment, gauge, 0, Sight(assignment.period - gauge.run, 0))
            return False
        if drawn is None:
            return False
        sight = self._sight(gauge)
        period = assignment.period - gauge.run
        if period < 0:
            return True  # who is pinned since an earlier run was not thrown in this one
        # A later period than ours is one that this process has not heard of yet.
        if sight is not None and sight.period >= period:
            self._come_again(lane.name, gauge, sight, period)
            return True
        # Images and scripts of a page come at once, each with the cookie of before.
        if not self._may_draw():
            return False
        self._enter(assignment, gauge, self._fresh(lane, gauge, assignment, drawn, sight))
        return True

    def _enter(self, assignment: Assignment, gauge: Gauge, fresh: Sight) -> None:
        """Keep the sight of a new period; an arrival, if the coin was thrown for it."""
        if self._keep_sight(gauge, fresh) and fresh.counted:
            weight = gauge.weights.get(assignment.period)
            if weight is not None and fresh.cell(gauge.run).interval.throws(weight):
                self._arrive(assignment, gauge, self._unit(gauge), fresh)

    def _fresh(
        self,
        lane: Lane,
        gauge: Gauge,
        assignment: Assignment,
        drawn: Drawn | int,
        sight: Sight | None,
    ) -> Sight:
        """The sight of a period that this visitor was not seen in before."""
        period = assignment.period - gauge.run
        slot = gauge.slot_at(self.engine.settings.wall())
        if sight is None:
            # Whoever is drawn by who they are may have come before, without a cookie.
            counted = not self._by_subject()
            return Sight(period, slot, counted=counted)
        weight = gauge.weights.get(gauge.run + sight.period)
        if weight is None:  # a period so old that its weight is forgotten
            return Sight(period, slot, counted=False)
        below = bucket_of(lane, drawn) < threshold(weight)
        side = Cohort.CANARY if below else Cohort.STABLE
        left = Interval(sight.lo, sight.hi).after(weight, side)
        if left.lo >= left.hi:  # a cookie of other buckets: nothing is known of this one
            return Sight(period, slot, counted=False)
        return Sight(period, slot, left.lo, left.hi)

    def _arrive(self, assignment: Assignment, gauge: Gauge, unit: int, sight: Sight) -> None:
        # Who came without a cookie was drawn just now, and by nobody else.
        sole = self.engine.visitors.known(self.view.cookie_header()) is None
        arrival = Arrival(assignment, gauge, unit, sight, self.begun, sole=sole)
        if self.arrivals is None:
            self.arrivals = []
        self.arrivals.append(arrival)
        self.engine.measuring.arrived(arrival)

    def _come_again(self, name: str, gauge: Gauge, sight: Sight, period: int) -> None:
        if sight.period != period or not gauge.returned & ~sight.seen:
            return
        if self.returned is None:
            self.returned = set()
        self.returned.add(name)
        self._mark(gauge, sight, gauge.returned)

    # --- what came of it -------------------------------------------------------------------------

    def answer(self, status: int) -> None:
        """The answer starts."""
        self.head = start = self._age(self.engine.clock())
        if self.arrivals is not None:
            kind = self.blamed(classify(status))
            for arrival in self.arrivals:
                if arrival.kind in (OPEN, WAITING):
                    arrival.start, arrival.kind = start, kind
        if self.observed is not None or status >= 500:
            self._seen_now()

    def _seen_now(self) -> None:
        """Before the cookie is written: what this answer counts for, so that it counts once."""
        if self.observed is None and self.status < 500:
            return
        for assignment in [*self.exposed.values()]:
            gauge = assignment.gauge
            if gauge is None or gauge.per_request:
                continue
            sight = self._sight(gauge)
            if sight is None:
                continue
            self._mark(gauge, sight, self._bits(gauge))

    def _bits(self, gauge: Gauge) -> int:
        bits = gauge.failures if self.blamed(classify(self.status)) in FAILED else 0
        for name, total in (self.observed or {}).items():
            for watch in gauge.watches.get(name, ()):
                if watch.hit(total) is not None:
                    bits |= 1 << watch.bit
        return bits

    def observe(self, metric: str, value: float) -> None:
        """Add to a declared metric of this request; see :func:`canary_middleware.observe`."""
        if self.outer is not None:
            self.outer.observe(metric, value)
        if not self.engine.may_observe(metric, value):
            return
        if self.observed is None:
            self.observed = {}
        before = self.observed.get(metric)
        # Bounded before it is added: a whole number can be larger than any float.
        self.observed[metric] = min((before or 0.0) + min(value, LARGEST), LARGEST)
        if self.finished:  # a task that goes on behind the answer
            late = {metric: self.observed[metric]}
            told = {} if before is None else {metric: before}
            booked = [*self.exposed.values()]
            self._happen(booked, failed=False, slow=False, observed=late, told=told)

    def _over(self, booked: Iterable[Assignment], kind: OutcomeClass) -> None:
        """The request ended: what it tells of its visitor."""
        if self.arrivals is not None:
            for arrival in self.arrivals:
                if arrival.kind == DROPPED or self.overdue:
                    continue
                arrival.kind = kind
                if arrival.start < 0 and kind in _ENDED:
                    arrival.start = self._took(self.engine.clock())
        failed = kind in FAILED and not self.overdue
        self._happen(booked, failed=failed, slow=not self.overdue, observed=self.observed)

    def _happen(
        self,
        booked: Iterable[Assignment],
        *,
        failed: bool,
        slow: bool,
        observed: Mapping[str, float] | None,
        told: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        engine = self.engine
        now, wall = engine.clock(), engine.settings.wall()
        for one in booked:
            gauge = one.gauge
            if gauge is None:
                continue
            declared = {
                name: total for name, total in (observed or {}).items() if name in gauge.watches
            }
            event = Event(
                due=max(now, self.begun + gauge.gate),
                assignment=one,
                gauge=gauge,
                unit=self._unit(gauge),
                sight=self._before(gauge),
                wall=wall,
                failed=failed,
                slow=slow and self._took(now) > gauge.slow,
                again=self.returned is not None and one.rollout in self.returned,
                observed=declared,
                told=told,
            )
            if event.failed or event.slow or event.again or declared:
                engine.measuring.happened(event)

    def drilled(self, one: Assignment) -> None:
        """Count the visitor of an exposure that a drill hit, apart from all that is evidence."""
        if one.gauge is not None:
            unit, wall = self._unit(one.gauge), self.engine.settings.wall()
            event = Event(self.engine.clock(), one, one.gauge, unit, None, wall, drilled=True)
            self.engine.measuring.happened(event)

    def listen(self) -> Upload:
        """The application is about to ask for the request's body."""
        if self.upload is None:
            self.upload = Upload(self.engine.clock)
        return self.upload

    def blamed(self, kind: OutcomeClass) -> OutcomeClass:
        """The kind of an outcome: no failure of a version that somebody else has caused."""
        excused = kind in FAILED and (self.crowded or self.is_clients())
        return OutcomeClass.ABORTED if excused else kind

    def is_clients(self) -> bool:
        """Whether a failure is the client's: it left, sent what nobody can read, or took its time.

        A server that tires of an upload answers 500 or 408 as it likes. Who waited for a body for
        most of the request, and for long, and has not got all of it, waited for the client.
        """
        upload = self.upload
        if upload is None or upload.broken:
            return upload is not None
        if upload.over or not self.view.has_body():
            return False
        now = self.engine.clock()
        waited = upload.waited(now)
        return waited >= LONG and 2 * waited >= now - self.begun

    def _age(self, now: float) -> float:
        """Seconds since the arrival, without those in which the application waited for the body."""
        return now - self.begun - (0.0 if self.upload is None else self.upload.waited(now))

    def _took(self, now: float) -> float:
        return self.head if self.head >= 0 else self._age(now)

    def waits(self, now: float) -> float:
        """Seconds for which the answer has not started, but for those that the client took."""
        return 0.0 if self.head >= 0 or self.started or self.finished else self._age(now)

    def look(self, now: float) -> None:
        """Asked by the agent while the request runs: an answer that does not start is a failure."""
        age = self._age(now)
        if self.head >= 0 or self.started or self.finished:
            return
        self._excuse(age)
        booked = [one for one in [*self.exposed.values()] if one.gauge is not None]
        if not booked:
            return
        if self.overdue == IN_TIME and age >= max(one.gauge.gate for one in booked):
            self.overdue = OVERDUE
            self._happen(booked, failed=True, slow=True, observed=None)
        if self.overdue == OVERDUE and age >= max(one.gauge.timeout for one in booked):
            self.overdue = TIMED_OUT
            self.engine.recorder.end([*self.exposed.values()], OutcomeClass.TIMEOUT, age)

    def _excuse(self, age: float) -> None:
        """Whoever is waited for at the time of booking makes nobody fail, or slow."""
        waiting = self.upload is not None and self.upload.waiting
        before, after = (OPEN, WAITING) if waiting else (WAITING, OPEN)
        for arrival in self.arrivals or ():
            if arrival.kind == before:
                arrival.kind = after
                arrival.start = -1.0
            if arrival.kind == WAITING:
                arrival.start = age

    def _drop(self, lost: Iterable[Assignment], kind: OutcomeClass) -> None:
        """The first run of a superseded request ended: a failure, unless a kill ended it."""
        rescued = kind is OutcomeClass.RESCUED
        for arrival in self.arrivals or ():
            if any(arrival.assignment is one for one in lost):
                arrival.kind = kind if rescued else DROPPED
                arrival.start = self._took(self.engine.clock())
        if rescued:
            self._happen(lost, failed=True, slow=True, observed=None)

    def _hand_over(self, second: Measured) -> None:
        """What the first run of a superseded request leaves to be answered for by the second."""
        left = [arrival for arrival in self.arrivals or () if arrival.kind in (OPEN, WAITING)]
        second.arrivals = left or None
        second.measured = self.measured
        second.returned, second.marks = self.returned, self.marks
        second.overdue = self.overdue
