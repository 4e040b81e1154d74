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

from canary_middleware.core.bucket import SPACE, Draws, draws, lane_key, threshold
from canary_middleware.core.cookie import pin_tag
from canary_middleware.core.gauge import Gauge
from canary_middleware.core.model import (
    Assignment,
    Audience,
    Cohort,
    Memory,
    Policy,
    Reason,
    Rollout,
)
from canary_middleware.core.pins import pinned
from canary_middleware.core.scope import Prefixes, Scope
from canary_middleware.core.state import ACTIVE, Document, Entry, Kill, Phase, Plan
from canary_middleware.core.weight import FULL, parse_weight

REMEMBERED_PATHS: Final = 512
"""Paths whose lanes a snapshot remembers."""

REMEMBERED_LENGTH: Final = 256
"""Characters of a path and method that are worth remembering; visitors make up longer ones."""

Describe = Callable[[Assignment], Mapping[str, Any]]
"""Builds the span attributes of an assignment; telemetry passes it in."""

# Only these reasons can put somebody on canary; for the others no canary assignment exists at all.
CANARY_REASONS = frozenset({
    Reason.OVERRIDE, Reason.TESTER, Reason.UPSTREAM, Reason.PIN, Reason.WEIGHT,
})  # fmt: skip

REMEMBERED_PINS: Final = 64
"""Assignments by pins that a lane keeps; a pin names one of the few periods of its epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The part of a lane that configuration fixes: it outlives every control state."""

    rollout: Rollout
    scope: Scope
    key: bytes = field(repr=False)  # secret: a repr ends up in logs
    draws: Draws
    rescue_methods: frozenset[str]
    rescue_keyed: Prefixes | None
    rescue_share: int
    prefix: str
    denied: Audience | None
    testers: Audience | None
    audience: bool

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
            rescue_keyed=Prefixes.of(rollout.rescue.keyed) if rollout.rescue.keyed else None,
            rescue_share=parse_weight(rollout.rescue.budget),
            prefix=rollout.paths[0],
            denied=rollout.denied or None,
            testers=rollout.testers or None,
            audience=bool(rollout.denied or rollout.testers),
        )


class Assignments(dict[Reason, Assignment]):
    """Assignments by reason, each built when it is first asked for.

    A kill waits in every process until a snapshot is compiled, and of the reasons that there are a
    lane meets two or three.
    """

    __slots__ = ("_allowed", "_build")

    def __init__(
        self, build: Callable[[Reason], Assignment], allowed: frozenset[Reason] = frozenset(Reason)
    ) -> None:
        super().__init__()
        self._build = build
        self._allowed = allowed

    def __missing__(self, reason: Reason) -> Assignment:
        if reason not in self._allowed:
            raise KeyError(reason)
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
        lineage: of the control state; ``""`` while none was ever seen.
        policy: who stays when the weight moves, as it was frozen by ``start``.
        pins: the cohorts that the policy pins now.
        session: seconds that a pin lasts after its last sight; 0 for the whole epoch.
        shared: whether places are remembered in the store.
        life: milliseconds for which the store remembers a subject.
        draws: whether chance or a pin leaves anything to decide, so that a visitor needs a place.
        tag: what a visitor's pin stands under in the cookie; ``""`` where there is none.
        simple: nothing but the bucket decides, which is quick and can be remembered.
        gauge: how it is measured; ``None`` where nothing is compared, or nobody drawn.
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
    lineage: str
    policy: Policy
    pins: frozenset[Cohort]
    session: int
    shared: bool
    life: int
    draws: bool
    tag: str
    simple: bool
    gauge: Gauge | None
    stable: Mapping[Reason, Assignment]
    canary: Mapping[Reason, Assignment]
    below: Assignment = field(init=False, repr=False)
    above: Assignment = field(init=False, repr=False)
    closed: Assignment | None = field(init=False, repr=False)
    _held: dict[tuple[Cohort, int, bool], Assignment] = field(default_factory=dict, repr=False)

    def held(self, cohort: Cohort, period: int, *, measured: bool = True) -> Assignment:
        """The assignment of a pin: what was drawn in ``period`` is booked there."""
        found = self._held.get((cohort, period, measured))
        if found is None:
            side = self.canary if cohort is Cohort.CANARY else self.stable
            gauge = self.gauge if measured else None
            found = replace(side[Reason.PIN], period=period, measured=measured, gauge=gauge)
            if len(self._held) < REMEMBERED_PINS:
                self._held[cohort, period, measured] = found
        return found

    @property
    def epoch(self) -> int:
        """Revision of the last event that voids all pins; 0 of a release that never started."""
        return self.entry.epoch if self.entry else 0

    @property
    def period(self) -> int:
        """Revision of the last change of weight or label."""
        return self.entry.period if self.entry else 0

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
        shared: those whose places are in the store, which have to be asked for in time.
        replay_methods: methods that at least one of them lets run twice.
        keyed: whether one of them lets other methods, where the client gives them a key.
    """

    lanes: tuple[Lane, ...]
    names: frozenset[str]
    shared: tuple[Lane, ...]
    replay_methods: frozenset[str]
    keyed: bool

    @classmethod
    def of(cls, lanes: tuple[Lane, ...]) -> Match:
        """The match of these lanes."""
        methods = frozenset[str]().union(*(lane.track.rescue_methods for lane in lanes))
        shared = tuple(lane for lane in lanes if lane.shared)
        keyed = any(lane.track.rescue_keyed for lane in lanes)
        return cls(lanes, frozenset(lane.name for lane in lanes), shared, methods, keyed)


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
    lineage = document.lineage if document and entry else ""
    present = gate, kill, entry, lineage
    if old is not None and (old.gate, old.kill, old.entry, old.lineage) == present:
        return old
    plan = entry.plan if entry else Plan.from_rollout(rollout)
    weight = FULL if entry and entry.phase in SERVING else entry.weight if entry else 0
    epoch, period = (entry.epoch, entry.period) if entry else (0, 0)
    phase, limit = entry.phase if entry else None, threshold(weight)
    gauge = None
    if entry and phase in ACTIVE and plan.guards and 0 < limit < SPACE:
        gauge = Gauge.of(rollout.name, entry, lineage, track.key)

    def give(cohort: Cohort, version: str, reason: Reason) -> Assignment:
        # Not by `replace`: this is what a kill waits for in every process.
        given = Assignment(
            rollout.name, rollout.canary, cohort, version, reason, epoch, period, weight,
            measured=reason is Reason.WEIGHT,
            gauge=gauge if reason is Reason.WEIGHT else None,
        )  # fmt: skip
        return replace(given, attributes=describe(given)) if describe else given

    session = plan.session if plan.policy is Policy.SESSION else 0
    shared = plan.affinity is Memory.SHARED
    return Lane(
        name=rollout.name,
        track=track,
        entry=entry,
        kill=kill,
        gate=gate,
        active=phase in ACTIVE,
        limit=limit,
        lineage=lineage,
        policy=plan.policy,
        pins=pinned(plan.policy, phase),
        session=session,
        shared=shared,
        life=1000 * (session or plan.claim_life),
        draws=_draws(plan.policy, limit, phase, shared=shared),
        tag=pin_tag(track.key, rollout.name, lineage, epoch) if plan.policy in PINNING else "",
        simple=plan.policy is Policy.FOLLOW and not shared,
        gauge=gauge,
        stable=Assignments(partial(give, Cohort.STABLE, rollout.stable)),
        canary=Assignments(partial(give, Cohort.CANARY, rollout.canary), CANARY_REASONS),
    )


SERVING = frozenset({Phase.PROMOTED, Phase.FINISHED})
PINNING = frozenset({Policy.KEEP, Policy.SESSION})


def _draws(policy: Policy, limit: int, phase: Phase | None, *, shared: bool) -> bool:
    """At 0 and at 100 % nobody is drawn, unless what is served now has to hold at other weights."""
    if policy is Policy.REQUEST:
        return False
    if 0 < limit < SPACE:
        return True
    # A claim has to be asked for even where none would be made: its pin may hold.
    session = policy is Policy.SESSION
    if phase is Phase.PROMOTED:  # which open sessions outlast
        return session and shared
    return phase in ACTIVE and (session or (policy is Policy.KEEP and (limit > 0 or shared)))


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
