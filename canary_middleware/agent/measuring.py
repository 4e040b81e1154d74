"""The part of the chores that measures: book, ship, judge, act, all in one turn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from canary_middleware.agent.gating import Gating
from canary_middleware.agent.leading import TICK, Leading, measured
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.recording import RecordedStore, Recording
from canary_middleware.agent.shipping import Counted, Release, Shipping
from canary_middleware.agent.troubles import Troubles
from canary_middleware.core.state import Document, Entry
from canary_middleware.core.verdict import Verdict
from canary_middleware.measures import NO_TOTALS, MeasuredStore
from canary_middleware.stores.protocol import StateStore


class Measures(Counted, Protocol):
    """The part of the engine that counts."""

    def book(self, now: float) -> None:
        """Book everything that is old enough at ``now``, monotonic seconds."""

    def judged(self, rollout: str, release: str, verdict: Verdict) -> None:
        """What the judge says of all processes together."""


class Measuring:
    """One turn after the other, in the chores' thread.

    Args:
        store: where totals go; one without them measures nothing, and that is said once.
        measures: what this process counts; asked for anew, as a forked child has another.
        followed: the document that is followed now.
        adopt: follows what was written.
        owner: random id of this process.
        name: of this process, for history.
        loops: event loops of the application.
        count: counts a rare event; see docs/telemetry.md.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        chance: uniform in [0, 1).
        gates: asks webhooks that must agree; by default nobody is asked, and none agrees.
    """

    def __init__(
        self,
        store: StateStore,
        measures: Callable[[], Measures],
        *,
        followed: Callable[[], Document | None],
        adopt: Callable[[Document], object],
        owner: str,
        name: str,
        loops: Loops,
        count: Callable[[str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        chance: Callable[[], float] = random.random,
        gates: Gating | None = None,
    ) -> None:
        self._measures = measures
        self._followed = followed
        self._loops = loops
        self._clock = clock
        self._troubles = troubles = Troubles()
        self._shared: _Shared | None = None
        if isinstance(store, MeasuredStore):
            self._shared = _Shared(
                Shipping(
                    store, measures, owner=owner, loops=loops, troubles=troubles, count=count,
                    clock=clock,
                ),
                Leading(
                    store, owner=owner, name=name, followed=followed, adopt=adopt,
                    troubles=troubles, count=count, judged=self._judged, clock=clock, wall=wall,
                    chance=chance, gates=gates or Gating("", None),
                ),
            )  # fmt: skip
        self._recording: Recording | None = None
        if isinstance(store, RecordedStore):
            self._recording = Recording(
                store, owner=owner, followed=followed, troubles=troubles, count=count, clock=clock,
                wall=wall,
            )  # fmt: skip

    @property
    def tick(self) -> float:
        """Seconds until the next turn is due; infinite where that of the poll will do."""
        return TICK if any(measured(self._followed())) else math.inf

    @property
    def troubles(self) -> tuple[str, ...]:
        """What fails now."""
        return self._troubles.present

    def turn(self, *, online: bool) -> None:
        """Book what is due; with a store that answers, ship it, judge, act and record.

        Args:
            online: the store answered when it was last looked at.
        """
        self._loops.look()
        self._measures().book(self._clock())
        if self._shared is None:
            for name, _ in measured(self._followed()):
                self._troubles.begin(name, NO_TOTALS)
        elif online:
            shipping, leading = self._shared
            shipping.turn(dict(self._underway()), leading.processes)
            leading.turn()
            if self._recording is not None:
                self._recording.turn(leading.many)

    def _judged(self, rollout: str, release: str, verdict: Verdict) -> None:
        self._measures().judged(rollout, release, verdict)

    def leave(self, *, online: bool) -> None:
        """This process ends: what was counted since the last turn is not lost, nor is the lease."""
        if self._shared is None or not online:
            return
        shipping, leading = self._shared
        self._measures().book(self._clock())
        shipping.finish(dict(self._underway()))
        leading.leave()
        if self._recording is not None:
            self._recording.leave()

    def _underway(self) -> Iterator[tuple[Release, Entry]]:
        for name, entry in measured(self._followed()):
            yield (name, entry.release), entry


class _Shared(NamedTuple):
    shipping: Shipping
    leading: Leading
