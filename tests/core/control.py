"""Control states and lanes for tests, written down instead of reached by verbs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from canary_middleware.core.model import Rollout
from canary_middleware.core.snapshot import Lane, Track, compile_snapshot
from canary_middleware.core.state import (
    EVERYTHING,
    Document,
    Entry,
    Kill,
    Phase,
    Plan,
    RolloutState,
)
from canary_middleware.core.weight import FULL

SECRET = bytes(range(32))
CHECKOUT = Rollout("checkout", stable="1", canary="2")
KILL = Kill(by="me", why="smoke", at=1.0, revision=7)


def entry(phase: Phase = Phase.PAUSED, weight: int = FULL // 2, **changes: Any) -> Entry:
    """The entry of release 2."""
    plain = Entry("2", "1", phase, weight, -1, 3, 4, 1.0, "because", Plan("1", "2"))
    return replace(plain, **changes)


def document(*entries: Entry, current: str | None = None, rollout: str = "checkout") -> Document:
    """A document of one rollout; the first entry is the current one unless said otherwise."""
    named = current or (entries[0].release if entries else None)
    state = RolloutState(named, {found.release: found for found in entries})
    return Document("lineage", 5, rollouts={rollout: state})


def killed(before: Document, scope: str = EVERYTHING) -> Document:
    """The same, under a kill."""
    return replace(before, revision=before.revision + 1, kills={scope: KILL})


def lane(found: Document | None, rollout: Rollout = CHECKOUT) -> Lane:
    """The lane of a rollout under a document."""
    track = Track.of(rollout, "shop", SECRET)
    return compile_snapshot([track], found).by_name[rollout.name]
