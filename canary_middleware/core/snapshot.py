"""The compiled picture that requests read: every rollout with the control state it is under.

A snapshot is immutable and swapped as a whole behind one attribute, so a request that holds one
sees one consistent world. Everything a request could need is built here, once per change, never per
request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from canary_middleware.core.bucket import Draws, draws, lane_key, threshold
from canary_middleware.core.model import Assignment, Audience, Cohort, Reason, Rollout
from canary_middleware.core.scope import Scope
from canary_middleware.core.state import ACTIVE, Document, Entry, Kill, Phase
from canary_middleware.core.weight import FULL, parse_weight

REMEMBERED_PATHS: Final = 512
"""Paths whose lanes a snapshot remembers."""

REMEMBERED_LENGTH: Final = 256
"""Characters of a path and method that are worth remembering; visitors make up longer ones."""

Describe = Callable[[Assignment], Mapping[str, Any]]
"""Builds the span attributes of an assignment; telemetry passes it in."""

# Only these reasons can put somebody on canary; for the others no canary assignment exists at all.
CANARY_REASONS = (Reason.TESTER, Reason.WEIGHT)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The part of a lane that configuration fixes: it outlives every control state."""

    rollout: Rollout
    scope: Scope
    key: bytes = field(repr=False)  # secret: a repr ends up in logs
    draws: Draws
    rescue_methods: frozenset[str]
    rescue_share: int
    prefix: str
    denied: Audience | None
    testers: Audience | None

    @classmethod
    def of(cls, rollout: Rollout, namespace: str, secret: bytes) -> Track:
        """Compile one rollout."""
        key = lane_key(secret, namespace, rollout.name, rollout.canary)
        return cls(
            rollout=rollout,
            scope=Scope.of(rollout.paths, rollout.exclude, rollout.methods),
            key=key,
            draws=draws(key),
            rescue_methods=frozenset(rollout.rescue.methods),
            rescue_share=parse_weight(rollout.rescue.budget),
            prefix=rollout.paths[0],
            denied=rollout.denied or None,
            testers=rollout.testers or None,
        )


class Assignments(dict[Reason, Assignment]):
    """Assignments by reason, each built when it is first asked for.

    A kill waits in every process until a snapshot is compiled, and of the reasons that there are a
    lane meets two or three.
    """

    __slots__ = ("_build",)

    def __init__(self, build: Callable[[Reason], Assignment]) -> None:
        super().__init__()
        self._build = build

    def __missing__(self, reason: Reason) -> Assignment:
        return self.setdefault(reason, self._build(reason))  # threads may meet here


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """A rollout compiled for deciding.

    Attributes:
        name: the rollout's.
        track: what configuration fixes.
        gate: the reason that decides for everybody, before anyone asks who the visitor is.
        active: whether the dead-man's switch applies.
        limit: buckets below it are on canary.
        stable: the stable assignment of every reason.
        canary: the canary assignment of the reasons that can give one.
        below: ``canary[WEIGHT]``, at hand because enum members are slow keys.
        above: ``stable[WEIGHT]``, likewise.
        closed: ``stable[gate]``, ``None`` while nothing decides for everybody.
    """

    name: str
    track: Track
    entry: Entry | None
    kill: Kill | None
    gate: Reason | None
    active: bool
    limit: int
    stable: Mapping[Reason, Assignment]
    canary: Mapping[Reason, Assignment]
    below: Assignment = field(init=False, repr=False)
    above: Assignment = field(init=False, repr=False)
    closed: Assignment | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "below", self.canary[Reason.WEIGHT])
        object.__setattr__(self, "above", self.stable[Reason.WEIGHT])
        object.__setattr__(self, "closed", self.stable[self.gate] if self.gate else None)


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The lanes that cover a request; one per combination of lanes, shared by all such requests.

    Attributes:
        lanes: in the order of declaration.
        names: their rollouts.
        replay_methods: methods that at least one of them lets run twice.
    """

    lanes: tuple[Lane, ...]
    names: frozenset[str]
    replay_methods: frozenset[str]

    @classmethod
    def of(cls, lanes: tuple[Lane, ...]) -> Match:
        """The match of these lanes."""
        methods = frozenset[str]().union(*(lane.track.rescue_methods for lane in lanes))
        return cls(lanes, frozenset(lane.name for lane in lanes), methods)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All lanes under one control state.

    Attributes:
        document: what it was compiled from.
        lanes: in the order of declaration.
        by_name: the same by rollout.
        below: what every covered path starts with; a first check that costs one call.
        mark: what a visitor's memory of this snapshot is known by, without keeping all of it alive.
    """

    document: Document | None
    lanes: tuple[Lane, ...]
    by_name: Mapping[str, Lane]
    below: tuple[str, ...]
    mark: object = field(default_factory=object)
    _matches: dict[int, Match] = field(default_factory=dict)
    _by_path: dict[tuple[str, str], Match | None] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        """Revision of the control state, 0 while none was ever seen."""
        return self.document.revision if self.document else 0

    def match(self, path: str, method: str) -> Match | None:
        """The lanes whose scope holds this request; ``None`` for most of most applications."""
        try:
            return self._by_path[path, method]
        except KeyError:
            return self._find(path, method)

    def _find(self, path: str, method: str) -> Match | None:
        mask = 0
        bit = 1
        for lane in self.lanes:
            if lane.track.scope.covers(path, method):
                mask += bit
            bit += bit
        match = (self._matches.get(mask) or self._remember(mask)) if mask else None
        # Whoever sends ever new paths fills this once and then pays for the search, nobody else.
        if len(self._by_path) < REMEMBERED_PATHS and len(path) + len(method) <= REMEMBERED_LENGTH:
            self._by_path[path, method] = match
        return match

    def _remember(self, mask: int) -> Match:
        lanes = tuple(lane for index, lane in enumerate(self.lanes) if mask >> index & 1)
        return self._matches.setdefault(mask, Match.of(lanes))


def compile_snapshot(
    tracks: Sequence[Track],
    document: Document | None,
    local_kill: Kill | None = None,
    describe: Describe | None = None,
    before: Snapshot | None = None,
) -> Snapshot:
    """Join configuration and control state.

    Args:
        tracks: one per declared rollout.
        document: the adopted control state, ``None`` while unknown (everybody is on stable).
        local_kill: a kill that holds for this host only.
        describe: see :data:`Describe`.
        before: of the same tracks and description; lanes that are as they were are taken over.
    """
    old: Mapping[str, Lane] = before.by_name if before else {}
    lanes = tuple(
        _lane(track, document, local_kill, describe, old.get(track.rollout.name))
        for track in tracks
    )
    # A prefix without its trailing slash lets "/checkout-old" through to `covers`: refused there.
    below = tuple(path.rstrip("/") or "/" for track in tracks for path in track.rollout.paths)
    return Snapshot(document, lanes, {lane.name: lane for lane in lanes}, below)


def _lane(
    track: Track,
    document: Document | None,
    local_kill: Kill | None,
    describe: Describe | None,
    old: Lane | None,
) -> Lane:
    rollout = track.rollout
    entry = document.entry(rollout.name, rollout.canary) if document else None
    kill = local_kill or (document.killed(rollout.name) if document else None)
    gate = _gate(rollout, document, entry, kill)
    if old is not None and (old.gate, old.kill, old.entry) == (gate, kill, entry):
        return old
    weight = FULL if entry and entry.phase in SERVING else entry.weight if entry else 0
    epoch, period = (entry.epoch, entry.period) if entry else (0, 0)

    def give(cohort: Cohort, version: str, reason: Reason) -> Assignment:
        # Not by `replace`: this is what a kill waits for in every process.
        given = Assignment(
            rollout.name, rollout.canary, cohort, version, reason, epoch, period, weight
        )
        return replace(given, attributes=describe(given)) if describe else given

    return Lane(
        name=rollout.name,
        track=track,
        entry=entry,
        kill=kill,
        gate=gate,
        active=entry is not None and entry.phase in ACTIVE,
        limit=threshold(weight),
        stable=Assignments(partial(give, Cohort.STABLE, rollout.stable)),
        canary={reason: give(Cohort.CANARY, rollout.canary, reason) for reason in CANARY_REASONS},
    )


SERVING = frozenset({Phase.PROMOTED, Phase.FINISHED})


def _gate(
    rollout: Rollout, document: Document | None, entry: Entry | None, kill: Kill | None
) -> Reason | None:
    if kill is not None:
        return Reason.KILL_SWITCH
    if entry is None:
        state = document.rollouts.get(rollout.name) if document else None
        current = state.current if state else None
        return Reason.IDLE if current in (None, rollout.canary) else Reason.OTHER_RELEASE
    if entry.phase is Phase.IDLE:
        return Reason.IDLE
    return Reason.ROLLED_BACK if entry.phase is Phase.ROLLED_BACK else None
