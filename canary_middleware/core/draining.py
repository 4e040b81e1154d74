"""What an open stream holds of a version, and whether that version has lost its visitor; pure.

A request that is answered at once belongs to the version that it was given. A stream outlives moves
of the rollout, so after each it is asked of it: would its visitor be given the same version now?

That is answered by routing itself, once more for the place at which the visitor stands, and not by
rules about phases. A rollback, a lowered or a raised weight, a promotion, a finish and a new
release are all told apart there already, policies hold whom they hold, and a move that is undone
gives back the answer of before. What it cannot tell is whether the move was a kill: the gate does.
"""

from __future__ import annotations

from typing import Final

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.model import Assignment, Cohort, Reason
from canary_middleware.core.pins import Pin
from canary_middleware.core.routing import Place, route
from canary_middleware.core.snapshot import Lane

FORCED: Final = frozenset({Reason.DENIED, Reason.OVERRIDE, Reason.TESTER, Reason.UPSTREAM})
"""Nothing that is drawn decided: whoever is there stays until the release is closed."""

DRAWN: Final = frozenset({Reason.PIN, Reason.WEIGHT})

LOCAL: Final = frozenset({Reason.ERROR, Reason.NOT_READY, Reason.STALE_CONTROL})
"""Something of one process or one request decided, which no move takes back."""


def place(given: Assignment, bucket: int | None, *, debug: bool = False) -> Place:
    """Where the visitor of an open stream stands.

    No audience is asked again: a predicate is the user's own, and this is nobody's request. A pin
    has no end: an open stream is a session that goes on. Whoever has no bucket keeps the version
    for as long as anybody is given it.

    Args:
        given: what the stream got.
        bucket: of its visitor; ``None`` where none is known.
        debug: a debug token gave it.
    """
    if given.reason in FORCED:
        return Place(override=given.cohort, debug=debug)
    if bucket is None or given.reason in LOCAL:
        bucket = 0 if given.is_canary else SPACE - 1
    return Place(bucket, Pin(given.cohort, given.period) if given.reason in DRAWN else None)


def lost(lane: Lane, given: Assignment, stands: Place, *, ready: bool = True) -> bool:
    """Whether the version has lost the visitor.

    Args:
        lane: the rollout under its present control state.
        given: what the stream got.
        stands: from :func:`place`.
        ready: the canary's target started here; where it did not, nobody can be lost to it.
    """
    if not ready and given.cohort is Cohort.STABLE:
        return False
    if given.epoch != lane.epoch:  # which voids all pins
        stands = stands._replace(pin=None)
    return route(lane, None, stands).cohort is not given.cohort
