"""What a process makes of the control state it holds and the one it loaded.

Three rules, the same for loads, pushes and snapshots on disk:

* of one lineage the higher revision is the base, at a tie the store's; the base is the store's when
  the lineage is foreign;
* a kill on either side stays, unless the base holds one for its scope or names it as lifted;
* whatever then differs from the store is written there by compare-and-swap on what was loaded.

So an empty database, a fail-over to an older replica, a fork and a foreign lineage never lift a
kill, and all processes end on one document, because every write raises the revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from canary_middleware.core.state import EVERYTHING, Document, Kill
from canary_middleware.core.transitions import strike

KILL_KEY: Final = "kill key"
"""``by`` of a kill that was struck with the plain kill key."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What to do next.

    Attributes:
        document: what the process follows from now on.
        restore: whether the store lacks it; then write it, expecting what was loaded.
        note: why it is restored, for the audit trail; empty when it is not.
    """

    document: Document | None
    restore: bool = False
    note: str = ""


def decide(held: Document | None, loaded: Document | None) -> Adoption:
    """Merge what a process holds with what the store holds; see the rules above."""
    if held is None or held == loaded:
        return Adoption(loaded)
    if loaded is None:
        return Adoption(held, restore=True, note="the store was empty")
    behind = loaded.lineage == held.lineage and loaded.revision < held.revision
    base, other = (held, loaded) if behind else (loaded, held)
    kept = {scope: kill for scope, kill in other.kills.items() if not _answered(base, other, scope)}
    if kept:
        scopes = ", ".join(sorted(kept))
        return Adoption(_with(base, kept), restore=True, note=f"kept the kill of {scopes}")
    if behind:
        return Adoption(held, restore=True, note=f"the store went back to {loaded.revision}")
    return Adoption(loaded)


def with_kill_key(
    document: Document | None, reason: str | None, *, lineage: str, now: float
) -> Document | None:
    """What a state means while the plain kill key stands beside it.

    Args:
        document: the state.
        reason: text of the key; ``None`` when there is no key.
        lineage: for a new document, where there is no state to kill.
        now: wall-clock seconds since the epoch.
    """
    if reason is None or (document and EVERYTHING in document.kills):
        return document
    document = document or Document(lineage)
    return strike(document, EVERYTHING, by=KILL_KEY, why=reason, now=now)


def _answered(base: Document, other: Document, scope: str) -> bool:
    if scope in base.kills:
        return True
    comparable = base.lineage == other.lineage
    return comparable and base.lifted.get(scope, -1) >= other.kills[scope].revision


def _with(base: Document, kept: Mapping[str, Kill]) -> Document:
    # Stamped anew: in this document the kill is younger than anything that was ever lifted.
    revision = base.revision + 1
    stamped = {scope: replace(kill, revision=revision) for scope, kill in kept.items()}
    return replace(base, revision=revision, kills={**base.kills, **stamped})
