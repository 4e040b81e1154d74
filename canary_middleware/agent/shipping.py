"""Ships what this process counted: totals, which only grow, and first events."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from canary_middleware.agent.leading import TICK, pace
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.precaution import Pulses
from canary_middleware.agent.troubles import Attempts, Troubles
from canary_middleware.core.codec_totals import MAX_TOTALS, encode_fitting
from canary_middleware.core.state import Entry
from canary_middleware.core.totals import Ledgers
from canary_middleware.engine.tally import Question
from canary_middleware.errors import StoreError
from canary_middleware.measures import MeasuredStore
from canary_middleware.stores.protocol import First

logger = logging.getLogger("canary_middleware")

REPEAT_EVERY: Final = 2.0
"""Seconds after which totals are shipped although nothing was counted: time went on."""
IDLE_EVERY: Final = 5.0
"""Seconds between two shipments of what nobody waits for."""

Release = tuple[str, str]
Batch = tuple[str, str, int, list[First]]


class Counted(Protocol):
    """What the engine counted."""

    def ledgers(self) -> Mapping[Release, Ledgers]:
        """By rollout and release, a copy of what this process counted."""

    def questions(self) -> Sequence[Question]:
        """Entries of which the store shall say whether another process booked them."""

    def settle(self, question: Question, firsts: Sequence[bool]) -> None:
        """What it said."""

    def overdue(self, rollout: str, seconds: float) -> int:
        """Requests that wait for the start of their answer for longer than that."""

    def take_firsts(self) -> Sequence[Batch]:
        """First events that the store was not told of: rollout, release, run, events."""

    def put_back(self, batch: Batch) -> None:
        """The store did not take them."""

    def restart(self, rollout: str, release: str) -> None:
        """Count from zero: what was shipped is in a sum now."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was last shipped of a release, and when (monotonic seconds)."""

    ledgers: Ledgers
    at: float


class Shipping:
    """See the module.

    Args:
        store: where it goes.
        counted: what this process counts; asked for anew, as a forked child has another.
        owner: random id of this process.
        loops: event loops of the application.
        troubles: tells what fails.
        count: counts a rare event; see docs/telemetry.md.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: MeasuredStore,
        counted: Callable[[], Counted],
        *,
        owner: str,
        loops: Loops,
        troubles: Troubles,
        count: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._counted = counted
        self._owner = owner
        self._loops = loops
        self._count = count
        self._clock = clock
        self._attempts = partial(Attempts, troubles=troubles, count=count, clock=clock)
        # Of each release its own: one that is refused must not keep the others waiting.
        self._totals: dict[Release, Attempts] = {}
        self._entries = Attempts("entries", troubles, count, clock)
        self._asked_at = -math.inf
        self._firsts = Attempts("first events", troubles, count, clock)
        self._boots: dict[Release, str] = {}
        self._sent: dict[Release, _Sent] = {}
        self._pulses = Pulses()

    def turn(self, underway: Mapping[Release, Entry], processes: Callable[[str, str], int]) -> None:
        """Ship what is due.

        Args:
            underway: releases that are judged.
            processes: how many ship a release: the more, the more rarely each does.
        """
        busiest = max((processes(*release) for release in underway), default=0)
        if self._clock() - self._asked_at >= pace(busiest, leads=False) - TICK / 2:
            self._ask_of_entries()
        for release, ledgers in self._counted().ledgers().items():
            entry = underway.get(release)
            self._take_pulse(release, ledgers, entry)
            soon = pace(processes(*release), leads=False) - TICK / 2
            if self._is_due(release, ledgers, soon if entry is not None else None):
                self._ship(release, ledgers)
        self._ship_firsts()

    def finish(self, underway: Mapping[Release, Entry]) -> None:
        """Ship all that there is, due or not."""
        self._ask_of_entries()
        for release, ledgers in self._counted().ledgers().items():
            if release in underway or release in self._sent:
                self._ship(release, ledgers)
        self._ship_firsts()

    # --- private --------------------------------------------------------------------------------

    def _take_pulse(self, release: Release, ledgers: Ledgers, entry: Entry | None) -> None:
        precaution = entry.plan.precaution if entry is not None else None
        if precaution is not None:
            stall, now = self._loops.stalls(precaution.window), self._clock()
            overdue = self._counted().overdue(release[0], precaution.p99)
            ledgers.pulse = self._pulses.pulse(release, ledgers, precaution, now, stall, overdue)

    def _is_due(self, release: Release, ledgers: Ledgers, soon: float | None) -> bool:
        sent = self._sent.get(release)
        if sent is None:
            return soon is not None or bool(ledgers.seen or any(ledgers.before))
        waited = self._clock() - sent.at
        if soon is not None and waited >= max(soon, REPEAT_EVERY):
            return True
        if waited < (IDLE_EVERY if soon is None else soon):
            return False
        return replace(ledgers, upto=sent.ledgers.upto) != sent.ledgers

    def _ship(self, release: Release, ledgers: Ledgers) -> None:
        attempts = self._totals.get(release)
        if attempts is None:
            attempts = self._totals[release] = self._attempts(f"shipping {release[0]}")
        attempts.make(partial(self._put, release, ledgers))

    def _put(self, release: Release, ledgers: Ledgers) -> None:
        data = encode_fitting(ledgers)
        if len(data) > MAX_TOTALS:
            raise StoreError(f"totals take {len(data)} bytes of at most {MAX_TOTALS}")
        boot = self._boots.get(release, self._owner)
        if self._store.put(*release, boot, data):
            self._sent[release] = _Sent(ledgers, self._clock())
            return
        # Silent for so long that somebody took this process for dead and folded its totals.
        self._boots[release] = secrets.token_hex(8)
        self._sent.pop(release, None)
        self._counted().restart(*release)
        self._count("totals_folded")
        logger.info("%s: totals of this process were folded while it was silent", release[0])

    def _ask_of_entries(self) -> None:
        self._asked_at = self._clock()
        for question in self._counted().questions():
            self._entries.make(partial(self._ask, question))

    def _ask(self, question: Question) -> None:
        where = question.rollout, question.release, question.run, question.batch
        firsts = self._store.enter(*where, question.entered)
        self._counted().settle(question, firsts)

    def _ship_firsts(self) -> None:
        if not self._firsts.allowed:
            return
        for batch in self._counted().take_firsts():
            if not self._firsts.make(partial(self._store.first, *batch)):
                self._counted().put_back(batch)
