"""The decision: one lane and one visitor in, one prebuilt assignment out; pure.

The order of the rules is the precedence of the design; each rule has exactly one reason word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE
from canary_middleware.core.model import Assignment, Reason, Visitor
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


def gate(lane: Lane, standing: Standing = FINE) -> Reason | None:
    """The reason that puts everybody on stable, if there is one; nobody is identified for it."""
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
    return lane.gate


def needs_bucket(lane: Lane) -> bool:
    """Whether the weight leaves anything to chance: at 0 and at 100 % nobody is drawn."""
    return 0 < lane.limit < SPACE


def route(
    lane: Lane,
    visitor: Visitor | None,
    drawn: Drawn | None,
    standing: Standing = FINE,
    trace: Trace | None = None,
) -> Assignment:
    """Decide for one visitor.

    Args:
        lane: the rollout under its present control state.
        visitor: who was identified, ``None`` for an anonymous visitor.
        drawn: what the bucket is drawn by; ``None`` where no id may be drawn.
        standing: see :class:`Standing`.
        trace: if given, one line is appended for every rule that was asked.

    Raises:
        Exception: whatever an audience's predicate raises; the caller turns it into ``error``.
    """
    reason = gate(lane, standing)
    if trace is not None:
        trace.append(f"gates: {reason.value if reason else 'open'}")
    return lane.stable[reason] if reason is not None else admit(lane, visitor, drawn, trace)


def admit(
    lane: Lane, visitor: Visitor | None, drawn: Drawn | None, trace: Trace | None = None
) -> Assignment:
    """As :func:`route` behind the gates."""
    if visitor is not None:
        member = _membership(lane.track, visitor)
        if trace is not None:
            trace.append(f"audience: {member.value if member else 'neither denied nor tester'}")
        if member is not None:
            return (lane.canary if member is Reason.TESTER else lane.stable)[member]
    return by_weight(lane, drawn, trace)


def _membership(track: Track, visitor: Visitor) -> Reason | None:
    if track.denied is not None and track.denied.includes(visitor):
        return Reason.DENIED
    if track.testers is not None and track.testers.includes(visitor):
        return Reason.TESTER
    return None


def by_weight(lane: Lane, drawn: Drawn | None, trace: Trace | None = None) -> Assignment:
    """The last rule: by bucket and weight."""
    limit = lane.limit
    if limit == 0 or limit == SPACE:
        below = limit == SPACE
    elif drawn is None:
        if trace is not None:
            trace.append("weight: this request may not draw a visitor id")
        return lane.stable[Reason.NO_VISITOR]
    else:
        bucket = lane.track.draws(drawn.kind + drawn.subject.encode("utf-8", "surrogatepass"))
        below = bucket < limit
        if trace is not None:
            trace.append(f"bucket: {bucket / SPACE:.6f}")
    if trace is not None:
        trace.append(f"weight: {limit / SPACE:.5%}, {'below' if below else 'not below'}")
    return lane.below if below else lane.above
