"""What this process remembers of shared affinity, and when it does not ask for more.

No I/O: the shells ask the store, the agent's chores write what may wait.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from canary_middleware.core.circuit import Circuit
from canary_middleware.core.claims import Ask, Claim, claim_key, contend
from canary_middleware.core.model import Assignment, Cohort, Policy
from canary_middleware.core.snapshot import Lane

REMEMBERED: Final = 16_384
"""Claims kept in a process; the ones that were seen least lately go first."""
WAITING: Final = 16_384
"""Claims and sightings that wait to be written; beyond that they are dropped and counted."""
SHARE: Final = 3
"""A claim is believed for this part of its life in the store, then the store is asked again."""


MAX_KEYS: Final = 4_096
"""Subjects whose keys are remembered."""
MAX_SUBJECT: Final = 256
"""Characters of a subject whose key is remembered; clients make up longer ones."""

STABLE: Final = Cohort.STABLE


class Entry:
    """One remembered claim.

    Attributes:
        rollout: whose.
        claim: as the store said.
        period: in which it said so.
        until: monotonic seconds after which the store is asked again.
        life: milliseconds for which the store keeps it after its last sight.
        seen: it has been used since the store was told last.
        used: monotonic seconds of the last use.
        memo: the mark of a snapshot, and what the claim gave under it.
    """

    __slots__ = ("claim", "life", "memo", "period", "rollout", "seen", "until", "used")

    def __init__(self, ask: Ask, claim: Claim, now: float) -> None:
        self.rollout = ask.rollout
        self.claim = claim
        self.period = ask.period
        self.until = now + ask.life / 1000 / SHARE
        self.used = now
        self.memo: tuple[object, Assignment | None] = (None, None)
        self.life = ask.life
        self.seen = False


@dataclass(frozen=True, slots=True)
class Sightings:
    """Claims that were used, to be prolonged together.

    Attributes:
        rollout: whose.
        life: milliseconds from now on.
        keys: which.
    """

    rollout: str
    life: int
    keys: tuple[str, ...]


class Claims:
    """A bounded memory of claims, and the circuit to the store that they come from.

    Args:
        clock: monotonic seconds.
        count: counts a rare event.
    """

    def __init__(self, clock: Callable[[], float], count: Callable[[str], None]) -> None:
        self._clock = clock
        self._count = count
        self._lock = Lock()
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._keys: dict[tuple[bytes, bytes, str], str] = {}
        self._hot: dict[str, Entry] = {}
        self._later: dict[str, Ask] = {}
        self.circuit = Circuit()

    def __len__(self) -> int:
        return len(self._entries)

    def key(self, lane_key: bytes, kind: bytes, subject: str) -> str:
        """:func:`claim_key`, remembered: it costs as much as all that follows."""
        found = self._keys.get((lane_key, kind, subject))
        if found is None:
            found = claim_key(lane_key, kind, subject)
            if len(self._keys) >= MAX_KEYS:
                self._keys.clear()
            if len(subject) <= MAX_SUBJECT:
                self._keys[lane_key, kind, subject] = found
        return found

    def fresh(self, lane: Lane, key: str) -> Entry | None:
        """As :meth:`known`, without a question having been made: for who has one subject only."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        claim = entry.claim
        if now >= entry.until or claim.epoch != lane.epoch or claim.lineage != lane.lineage:
            return None
        if lane.policy is Policy.KEEP and claim.cohort is STABLE and entry.period != lane.period:
            return None  # it becomes canary, or another process has made it that meanwhile
        entry.used = now
        if not entry.seen:
            self._note(key, entry)
        return entry

    def known(self, ask: Ask) -> Claim | None:
        """The answer, if this process has it: then no store is asked."""
        entry = self._entries.get(ask.key)
        if entry is None:
            return None
        now = self._clock()
        if now >= entry.until:
            return None
        # What the rule would change has to be written by the store; and where a stable claim may
        # have become canary since, another process may have seen to that.
        if contend(entry.claim, None, ask) is not entry.claim:
            return None
        if ask.raises and entry.claim.cohort is STABLE and entry.period != ask.period:
            return None
        entry.used = now
        if not entry.seen:
            self._note(ask.key, entry)
        return entry.claim

    def remembered(self, key: str) -> Claim | None:
        """What this process holds, however long ago it heard so: better than nothing."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if now - entry.used >= entry.life / 1000:
            return None
        entry.used = now  # a sight, also while the store does not answer
        return entry.claim

    def _note(self, key: str, entry: Entry) -> None:
        with self._lock:
            if len(self._hot) < WAITING:
                entry.seen = True
                self._hot[key] = entry
            if key in self._entries:
                self._entries.move_to_end(key)

    def learn(self, asks: Sequence[Ask], winners: Sequence[Claim]) -> None:
        """Remember what the store said."""
        with self._lock:
            now = self._clock()
            for ask, claim in zip(asks, winners, strict=True):
                self._put(ask, claim, now)

    def _put(self, ask: Ask, claim: Claim, now: float) -> Entry:
        entry = self._entries[ask.key] = Entry(ask, claim, now)
        self._entries.move_to_end(ask.key)
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)
        return entry

    def later(self, ask: Ask, served: Claim | None = None) -> None:
        """Let the agent tell the store of a subject, and believe it in the meantime.

        Args:
            ask: what to tell.
            served: what was decided because the store did not answer, which is asked again at the
                next sight; ``None`` for a subject that nobody else can know yet.
        """
        with self._lock:
            now = self._clock()
            entry = self._put(ask, served or contend(None, None, ask), now)
            waits = len(self._later) < WAITING
            if waits:
                self._later[ask.key] = ask
            if served is not None or not waits:
                entry.until = now
        if not waits:
            self._count("claims_dropped")

    def take(self, most: int) -> list[Ask]:
        """Questions that waited, at most so many; they are the caller's now."""
        with self._lock:
            keys = [key for key, _ in zip(self._later, range(most), strict=False)]
            return [self._later.pop(key) for key in keys]

    def give_back(self, asks: Iterable[Ask]) -> None:
        """They could not be asked; the next round tries again."""
        with self._lock:
            for ask in asks:
                if len(self._later) < WAITING:
                    self._later.setdefault(ask.key, ask)

    def sightings(self, most: int) -> list[Sightings]:
        """What was used since the last call, in portions of at most ``most``."""
        with self._lock:
            hot, self._hot = self._hot, {}
        portions: dict[tuple[str, int], list[str]] = {}
        for key, entry in hot.items():
            entry.seen = False
            portions.setdefault((entry.rollout, entry.life), []).append(key)
        return [
            Sightings(rollout, life, tuple(keys[at : at + most]))
            for (rollout, life), keys in portions.items()
            for at in range(0, len(keys), most)
        ]

    def forget(self, rollout: str, keys: Sequence[str]) -> None:
        """Somebody revoked these claims; none named: all of the rollout."""
        with self._lock:
            gone = keys or [key for key, entry in self._entries.items() if entry.rollout == rollout]
            for key in gone:
                self._entries.pop(key, None)
                self._hot.pop(key, None)
                self._later.pop(key, None)

    def lost(self, keys: Sequence[str]) -> None:
        """The store does not have these any more: the next sight of each brings it back."""
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is not None:
                    entry.until = -math.inf

    def doubt(self) -> None:
        """Pushes were missed, and one of them may have revoked any claim.

        What the store was not told yet cannot have been revoked there.
        """
        with self._lock:
            kept = [(key, self._entries[key]) for key in self._later if key in self._entries]
            self._entries = OrderedDict(kept)
            self._hot = {}

    def counts(self) -> Mapping[str, int]:
        """How many claims are remembered, by rollout."""
        with self._lock:
            found: dict[str, int] = {}
            for entry in self._entries.values():
                found[entry.rollout] = found.get(entry.rollout, 0) + 1
            return found
