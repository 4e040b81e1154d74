"""The decision: one lane and one visitor in, one prebuilt assignment out; pure.

The order of the rules is the precedence of the design; each rule has exactly one reason word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE
from canary_middleware.core.model import Assignment, Cohort, Reason, Visitor
from canary_middleware.core.pins import Pin, holds
from canary_middleware.core.snapshot import Lane, Track

Trace = list[str]


class Drawn(NamedTuple):
    """What a bucket is drawn by: the anonymous id of the cookie or an identified subject."""

    kind: bytes
    subject: str

    @classmethod
    def anonymous(cls, visitor_id: str) -> Drawn:
        """By the random id of a signed cookie."""
        return cls(ANONYMOUS, visitor_id)

    @classmethod
    def identified(cls, visitor: Visitor) -> Drawn:
        """By the subject that ``identify`` returned."""
        return cls(IDENTIFIED, visitor.subject)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process knows beside the control state.

    Attributes:
        stale: the last confirmation of the control state is too old.
        failed: finding out who the visitor is raised an error.
        ready: the canary's target started.
    """

    stale: bool = False
    failed: bool = False
    ready: bool = True


FINE = Standing()


class Place(NamedTuple):
    """Everything about a visitor that one lane asks for.

    Attributes:
        drawn: what the bucket is drawn by, or the bucket itself where a claim or chance gave it;
            ``None`` where no id may be drawn.
        pin: what is remembered of the present epoch.
        overruled: the visitor's own draw lost to an older claim, so that nothing is measured.
        now: wall-clock seconds.
        override: the cohort that a signed override names.
        debug: it is a debug token, which opens a rollout that nobody has started.
        upstream: the cohort that a trusted caller names.
    """

    drawn: Drawn | int | None = None
    pin: Pin | None = None
    overruled: bool = False
    now: float = 0.0
    override: Cohort | None = None
    debug: bool = False
    upstream: Cohort | None = None


NOWHERE: Final = Place()
UNSTARTED: Final = frozenset({Reason.IDLE, Reason.ROLLED_BACK})


def gate(lane: Lane, standing: Standing = FINE, *, debug: bool = False) -> Reason | None:
    """The reason that puts everybody on stable, if there is one; nobody is identified for it.

    Args:
        lane: the rollout under its present control state.
        standing: see :class:`Standing`.
        debug: a debug token is there for which no start is needed.
    """
    if lane.gate is Reason.KILL_SWITCH:
        return lane.gate
    if standing.stale and lane.active:
        return Reason.STALE_CONTROL
    if standing.failed:
        return Reason.ERROR
    if lane.gate is Reason.OTHER_RELEASE:
        return lane.gate
    if not standing.ready:
        return Reason.NOT_READY
    return None if debug and lane.gate in UNSTARTED else lane.gate


def route(
    lane: Lane,
    visitor: Visitor | None,
    place: Place = NOWHERE,
    standing: Standing = FINE,
    trace: Trace | None = None,
) -> Assignment:
    """Decide for one visitor.

    Args:
        lane: the rollout under its present control state.
        visitor: who was identified, ``None`` for an anonymous visitor.
        place: see :class:`Place`.
        standing: see :class:`Standing`.
        trace: if given, one line is appended for every rule that was asked.

    Raises:
        Exception: whatever an audience's predicate raises; the caller turns it into ``error``.
    """
    reason = gate(lane, standing, debug=place.debug)
    if trace is not None:
        trace.append(f"gates: {reason.value if reason else 'open'}")
    return lane.stable[reason] if reason is not None else admit(lane, visitor, place, trace)


def admit(
    lane: Lane, visitor: Visitor | None, place: Place, trace: Trace | None = None
) -> Assignment:
    """As :func:`route` behind the gates."""
    track = lane.track
    # Most rollouts have no audience, and most requests bring nothing: one look less at each.
    if track.audience or place.override is not None or place.upstream is not None:
        reason, cohort = _forced(track, visitor, place)
        if trace is not None:
            _explain(trace, visitor, reason, cohort)
        if reason is not None:
            return (lane.canary if cohort is Cohort.CANARY else lane.stable)[reason]
    elif trace is not None:
        _explain(trace, visitor, None, Cohort.STABLE)
    pin = place.pin
    if pin is not None and holds(lane.pins, pin, place.now):
        if trace is not None:
            trace.append(f"pin: {pin.cohort.value}, drawn in period {pin.period}")
        return lane.held(pin.cohort, pin.period, measured=not place.overruled)
    assignment = by_weight(lane, place.drawn, trace)
    if place.overruled and assignment.reason is Reason.WEIGHT:
        return lane.held(assignment.cohort, assignment.period, measured=False)
    return assignment


MEMBERS: Final = frozenset({Reason.DENIED, Reason.TESTER})
NEITHER: Final = "audience: neither denied nor tester"


def _explain(trace: Trace, visitor: Visitor | None, reason: Reason | None, cohort: Cohort) -> None:
    if visitor is not None:
        trace.append(f"audience: {reason.value}" if reason in MEMBERS else NEITHER)
    if reason is not None and reason not in MEMBERS:
        trace.append(f"{reason.value}: {cohort.value}")


def _forced(track: Track, visitor: Visitor | None, place: Place) -> tuple[Reason | None, Cohort]:
    """The first rule above pin and weight that decides, and what it says."""
    if visitor is not None and track.denied is not None and track.denied.includes(visitor):
        return Reason.DENIED, Cohort.STABLE
    if place.override is not None:
        return Reason.OVERRIDE, place.override
    if visitor is not None and track.testers is not None and track.testers.includes(visitor):
        return Reason.TESTER, Cohort.CANARY
    if place.upstream is not None:
        return Reason.UPSTREAM, place.upstream
    return None, Cohort.STABLE


def by_weight(lane: Lane, drawn: Drawn | int | None, trace: Trace | None = None) -> Assignment:
    """The last rule: by bucket and weight."""
    limit = lane.limit
    if limit == 0 or limit == SPACE:
        below = limit == SPACE
    elif drawn is None:
        if trace is not None:
            trace.append("weight: this request may not draw a visitor id")
        return lane.stable[Reason.NO_VISITOR]
    else:
        bucket = bucket_of(lane, drawn)
        below = bucket < limit
        if trace is not None:
            trace.append(f"bucket: {bucket / SPACE:.6f}")
    if trace is not None:
        trace.append(f"weight: {limit / SPACE:.5%}, {'below' if below else 'not below'}")
    return lane.below if below else lane.above


def bucket_of(lane: Lane, drawn: Drawn | int) -> int:
    """The place of a visitor in [0, ``SPACE``)."""
    if isinstance(drawn, int):
        return drawn
    return lane.track.draws(drawn.kind + drawn.subject.encode("utf-8", "surrogatepass"))
