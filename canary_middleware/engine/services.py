"""Calling services and called ones: believes what may be believed, signs what goes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from canary_middleware.core.model import Assignment, Cohort, Reason
from canary_middleware.core.service import (
    BAGGAGE,
    HEADER,
    KIND,
    Callers,
    Carried,
    Peers,
    Told,
    named,
    read,
    write,
)
from canary_middleware.core.snapshot import Snapshot
from canary_middleware.core.token import TokenCodec
from canary_middleware.engine.recorder import Recorder
from canary_middleware.engine.views import RequestView
from canary_middleware.errors import TokenError

FRESH: Final = 5.0
"""Seconds for which a signed context is used again."""
REMEMBERED: Final = 64
"""Sets of exposures whose context is remembered; a process has few."""
NOTHING: Final[Mapping[str, Told]] = {}


class Message(NamedTuple):
    """What a request to another service says.

    Attributes:
        carried: for the signed context.
        versions: for the baggage, labels by rollout.
    """

    carried: tuple[Carried, ...]
    versions: Mapping[str, str]


class Services:
    """Trust and signature of one process.

    Args:
        keys: oldest first.
        namespace: contexts of another one are foreign.
        callers: whom to believe.
        wall: wall clock, seconds.
        recorder: counts rare events; a fork gets a new one.

    Attributes:
        believes: anybody at all.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        namespace: str,
        callers: Callers,
        wall: Callable[[], float],
        recorder: Callable[[], Recorder],
    ) -> None:
        self.believes = bool(callers)
        self._codec = TokenCodec(keys, namespace, KIND)
        self._signed = callers.signed
        self._peers = Peers(callers.networks)
        self._wall = wall
        self._recorder = recorder
        self._written: dict[tuple[Carried, ...], tuple[float, str]] = {}

    def told(self, view: RequestView) -> Mapping[str, Told]:
        """What a trusted caller says of this request's visitor, by rollout."""
        found: Mapping[str, Told] = NOTHING
        # The peer first: who is not believed is not read, and the answer does not vary on it.
        if self._peers and self._peers.include(view.peer):
            found = named(view.header(BAGGAGE) or "")
        if self._signed:
            token = view.header(HEADER)
            if token:
                found = {**found, **self._read(token)}
        return found

    def _read(self, token: str) -> Mapping[str, Carried]:
        try:
            return read(self._codec, token.encode("latin-1", "replace"), self._wall())
        except TokenError as error:
            self._recorder().count(f"service_{error.why}")
            return {}

    def context(self, carried: tuple[Carried, ...]) -> str:
        """The signed header for these; signed once per set and :data:`FRESH` seconds."""
        now = self._wall()
        known = self._written.get(carried)
        if known is not None and 0 <= now - known[0] < FRESH:
            return known[1]
        if len(self._written) >= REMEMBERED:
            self._written.clear()
        token = write(self._codec, carried, now)
        self._written[carried] = now, token
        return token


def message(exposed: Iterable[Assignment], told: Mapping[str, Told], snapshot: Snapshot) -> Message:
    """What was decided here, then what a trusted caller told of rollouts that were not.

    Args:
        exposed: in the order of exposure.
        told: by rollout.
        snapshot: the newest. Of a rollout that is killed by now the context asks for stable,
            whatever was served; the baggage says what was served.
    """
    decided = {one.rollout: one for one in exposed}
    others = [one for one in told.values() if one.rollout not in decided]
    carried = [Carried(one.rollout, one.release, one.cohort, one.epoch) for one in decided.values()]
    carried += [one for one in others if isinstance(one, Carried)]
    versions = {one.rollout: one.version for one in decided.values()}
    versions |= {one.rollout: one.version for one in others if one.version is not None}
    return Message(tuple(_under_kills(one, snapshot) for one in carried), versions)


def _under_kills(carried: Carried, snapshot: Snapshot) -> Carried:
    lane = snapshot.by_name.get(carried.rollout)
    if lane is not None:
        killed = lane.gate is Reason.KILL_SWITCH
    else:  # a rollout of other services
        killed = (
            snapshot.document is not None and snapshot.document.killed(carried.rollout) is not None
        )
    return carried._replace(cohort=Cohort.STABLE) if killed else carried
