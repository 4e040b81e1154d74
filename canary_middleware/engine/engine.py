"""The engine of one process: configuration compiled once, control state swapped in, visits made."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

from canary_middleware.context import no_request
from canary_middleware.core.codec import printable
from canary_middleware.core.cookie import CookieFormat
from canary_middleware.core.model import Assignment, Cohort, Reason, Rollout, Visitor
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.override import HEADER
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.service import Callers
from canary_middleware.core.snapshot import Describe, Snapshot, Track, compile_snapshot
from canary_middleware.core.state import Document, Kill
from canary_middleware.engine.claims import Claims
from canary_middleware.engine.drilling import Drills
from canary_middleware.engine.identity import Visitors
from canary_middleware.engine.measuring import Measuring
from canary_middleware.engine.overrides import Overrides
from canary_middleware.engine.recorder import Faults, Recorder
from canary_middleware.engine.services import Services
from canary_middleware.engine.streams import Streams
from canary_middleware.engine.views import RequestView
from canary_middleware.engine.visit import Visit

logger = logging.getLogger("canary_middleware")

Identify = Callable[[RequestView], "Visitor | str | Awaitable[Visitor | str | None] | None"]


class Observer(Protocol):
    """What telemetry does with a visit. Must not raise; the engine calls it on the request path."""

    @property
    def describe(self) -> Describe:
        """Span attributes of an assignment, prebuilt when a snapshot is compiled."""

    def watch(self, engine: Engine) -> None:
        """Publish what the engine counts for as long as it lives."""

    def entered(self, visit: Visit) -> None:
        """A covered request arrived; ``visit.span`` and ``visit.leave`` may be set."""

    def exposed(self, visit: Visit, assignment: Assignment) -> None:
        """A rollout mattered for the first time in this request."""

    def repeated(self, visit: Visit, given: Mapping[str, Assignment]) -> None:
        """A superseded request runs again; ``given`` is what its first run's rollouts serve now."""

    def drilled(self, visit: Visit, fault: str) -> None:
        """A drill injects a fault into this answer."""

    def finished(
        self, visit: Visit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        """A visit with exposures, or with something to leave, is over; ``booked`` was counted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine needs beside the rollouts; the facade checks it."""

    namespace: str
    keys: tuple[bytes, ...] = field(repr=False)
    bucket_secret: bytes = field(default=b"", repr=False)
    cookie: CookieFormat = field(default_factory=lambda: CookieFormat("canary"))
    identify: Identify | None = None
    vary: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    callers: Callers = field(default_factory=Callers)
    max_staleness: float | None = None
    kill_grace: float = 5.0
    drain: float = 600.0
    debug: bool = False
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom


class Engine:
    """Holds the snapshot that requests read, and everything that outlives a request.

    Attributes:
        snapshot: replaced as a whole; read once per decision.
        document: the adopted control state.
        confirmed_at: monotonic seconds of its last confirmation, minus infinity at first.
        confirmed_in: seconds that the store took for it.
        killed_at: monotonic seconds at which the kill of a rollout was heard, by rollout.
        unready: rollouts whose target did not start; they serve stable.
        plain: nothing but the cookie decides: nobody is identified, no calling service is believed
            and every target is ready.
        metrics: declared names of what :func:`canary_middleware.observe` may be told.
        services: whom to believe about a visitor, and what to tell.
        observer: telemetry, or ``None``.
        claims: what this process remembers of shared affinity.
        streams: event streams and WebSockets that are open.
        measuring: the ledgers of what is measured against guards.
        drills: faults to inject; ``None`` while no release has any.
        overrides: reads override tokens; ``None`` where no way of carrying them is on.
    """

    def __init__(self, rollouts: Sequence[Rollout], settings: Settings) -> None:
        self.settings = settings
        self.namespace = settings.namespace
        self.rollouts = tuple(rollouts)
        self.clock = settings.clock
        self.identify = settings.identify
        # Whether it came or not: a cached answer of one who had it is no answer for the others.
        self.vary = settings.vary + ((HEADER,) if "header" in settings.overrides else ())
        self.max_staleness = settings.max_staleness
        self.observer: Observer | None = None
        self.drills: Drills | None = None
        self.unready: frozenset[str] = frozenset()
        self.silences: Mapping[str, str] = {}
        self.services = Services(
            settings.keys,
            settings.namespace,
            settings.callers,
            settings.wall,
            lambda: self.recorder,
        )
        self.plain = self._is_plain()
        self.metrics = frozenset(
            guard.of for rollout in self.rollouts for guard in rollout.guards if guard.of
        )
        self.confirmed_at = -math.inf
        self.confirmed_in = math.inf
        self.killed_at: Mapping[str, float] = {}
        self.document: Document | None = None
        self._local_kill: Kill | None = None
        self._on_kill: tuple[Callable[[], None], ...] = ()
        self._tracks = tuple(
            Track.of(rollout, settings.namespace, settings.bucket_secret)
            for rollout in self.rollouts
        )
        self.after_fork()

    def after_fork(self) -> None:
        """Everything that must not be shared with a parent process: locks and counts."""
        self._lock = Lock()
        self.recorder = Recorder()
        self.streams = Streams()
        self.faults = Faults(self.recorder, debug=self.settings.debug)
        settings = self.settings
        self.visitors = Visitors(
            settings.keys,
            settings.cookie,
            settings.bucket_secret[:64] or b"canary_middleware binding",
            settings.wall,
            settings.random,
            lambda: self.recorder,
        )
        self.measuring = Measuring(
            self.recorder, settings.clock, settings.wall, lambda: self.snapshot
        )
        self.claims = Claims(settings.clock, self.recorder.count)
        self.overrides = self._overrides() if settings.overrides else None
        self.snapshot = self._compiled()

    def _overrides(self) -> Overrides:
        settings = self.settings
        return Overrides(
            settings.overrides,
            settings.keys,
            settings.cookie,
            {rollout.name: rollout.canary for rollout in self.rollouts},
            settings.wall,
            lambda: self.recorder,
        )

    # --- control state --------------------------------------------------------------------------

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        """Make a control state the one that requests see; one assignment swaps it in."""
        with self._lock:
            self.document = document
            self._local_kill = local_kill
            before = self.snapshot
            after = self._compiled(before)
            killed = _newly_killed(before, after)
            if killed:  # first, for whoever sees the kill in the snapshot asks since when
                self.killed_at = {**self.killed_at, **dict.fromkeys(killed, self.clock())}
            self.snapshot = after
            self.drills = Drills.of(self, after, self.drills)
        if killed:
            self.recorder.count("in_flight_at_kill", self.canaries_running())
            for listener in self._on_kill:
                self._tell(listener)
        if after.lanes != before.lanes:  # lanes that are as they were are the same objects
            self.streams.review()

    def _tell(self, listener: Callable[[], None]) -> None:
        try:
            listener()
        except Exception as error:  # it may talk to event loops that are gone
            logger.warning("a part of the application did not take in the kill", exc_info=error)

    def canaries_running(self) -> int:
        """Exposures to a canary that have not ended."""
        running = self.recorder.in_flight()
        return sum(count for series, count in running.items() if series.cohort is Cohort.CANARY)

    def confirm(self, now: float) -> None:
        """The store was asked at ``now`` (monotonic), and says that this is the current state."""
        self.confirmed_in = self.clock() - now
        self.confirmed_at = now

    def stale(self) -> bool:
        """Whether the dead-man's switch has tripped."""
        limit = self.max_staleness
        return limit is not None and self.clock() - self.confirmed_at > limit

    def on_kill(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` (from the listening thread) whenever a kill was heard."""
        self._on_kill = (*self._on_kill, listener)

    def streaming(self) -> tuple[OpenStreams, ...]:
        """Streams that are open, by rollout and version."""
        return self.streams.counts(self.clock())

    def set_ready(self, name: str, *, ready: bool) -> None:
        """Open or close the canary arm of a rollout in this process."""
        with self._lock:
            others = self.unready - {name}
            self.unready = others if ready else others | {name}
            self.plain = self._is_plain()

    def tell_silence(self, name: str, why: str) -> None:
        """Another server does not answer its probe, for this reason; for none, it does.

        Args:
            name: of the rollout whose target it is; empty for the wrapped application.
            why: in a few words.
        """
        with self._lock:
            others = {other: said for other, said in self.silences.items() if other != name}
            self.silences = {**others, name: why} if why else others

    def silent(self) -> tuple[tuple[str, str, str], ...]:
        """Versions that do not answer now: rollout, label, and why, if that is known."""
        stable = self.silences.get("")
        found = []
        for one in self.rollouts:
            if stable:
                found.append((one.name, one.stable, stable))
            if one.name in self.silences or one.name in self.unready:
                found.append((one.name, one.canary, self.silences.get(one.name, "")))
        return tuple(found)

    def _is_plain(self) -> bool:
        return self.identify is None and not self.services.believes and not self.unready

    def describe_with(self, observer: Observer | None) -> None:
        """Attach telemetry."""
        with self._lock:
            self.observer = observer
            self.snapshot = self._compiled()

    def chance(self) -> int:
        """A bucket for one request, which nobody remembers (policy ``request``)."""
        return int.from_bytes(self.settings.random(8), "big") >> 11

    def _compiled(self, before: Snapshot | None = None) -> Snapshot:
        describe = self.observer.describe if self.observer else None
        return compile_snapshot(self._tracks, self.document, self._local_kill, describe, before)

    # --- requests -------------------------------------------------------------------------------

    def may_observe(self, metric: object, value: object) -> bool:
        """Whether some guard looks at a metric and the value is one; told once where it is not."""
        if not (isinstance(metric, str) and metric in self.metrics):
            shown = printable(str(metric), 64)
            declared = ", ".join(sorted(self.metrics)) or "none"
            self.faults.warn(
                f"unknown_metric:{shown}",
                "observe(%r): no guard of any rollout looks at it; declared are: %s (logged once)",
                shown, declared,
            )  # fmt: skip
            return False
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 <= value < math.inf
        ):
            self.faults.warn(
                f"bad_observation:{metric}",
                "observe(%r, %r): not a finite number of zero or more; dropped (logged once)",
                metric, value,
            )  # fmt: skip
            return False
        return True

    def not_covered(self, name: str) -> Assignment:
        """What ``current(name)`` answers where the rollout does not cover the request."""
        lane = self.snapshot.by_name.get(name)
        if lane is not None:
            return lane.stable[Reason.OUT_OF_SCOPE]
        shown = str(name)[:64]
        self.faults.warn(
            f"unknown_rollout:{shown}",
            "current(%r): no such rollout; declared are %s (logged once)",
            shown,
            ", ".join(rollout.name for rollout in self.rollouts),
        )
        return no_request(name)


def _newly_killed(before: Snapshot, after: Snapshot) -> list[str]:
    killed = [lane.name for lane in after.lanes if lane.gate is Reason.KILL_SWITCH]
    return [name for name in killed if before.by_name[name].gate is not Reason.KILL_SWITCH]
