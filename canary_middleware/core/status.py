"""What a person wants to see at once: values that every surface shows in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canary_middleware.core.declared import Waiting
from canary_middleware.core.drift import Odd, Scoped
from canary_middleware.core.records import OpenStreams, ProcessReport
from canary_middleware.core.state import Document, Entry, Kill, Phase


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """One rollout: its current release, all that are remembered, and the kill in force."""

    name: str
    current: Entry | None
    entries: tuple[Entry, ...]
    killed: Kill | None

    @property
    def stable_rolled_back(self) -> bool:
        """Whether the stable side of the current release is a release that was rolled back."""
        back = [entry.release for entry in self.entries if entry.phase is Phase.ROLLED_BACK]
        return self.current is not None and self.current.stable in back


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a person wants to see at once.

    Attributes:
        document: the state; ``None`` when nothing was ever started or killed.
        kill_key: reason in the plain kill key, ``None`` without one.
        kills: kills in force by scope, the plain key included.
        rollouts: by name.
        processes: who lives, with the revision that each follows.
        waiting: declared releases that are idle.
        odd: declarations that differ from what is in force.
        scopes: who has what in scope, of releases whose processes do not agree.
        warnings: what of the store's server endangers the state.
    """

    document: Document | None
    kill_key: str | None
    kills: Mapping[str, Kill]
    rollouts: tuple[RolloutStatus, ...]
    processes: tuple[ProcessReport, ...]
    waiting: tuple[Waiting, ...]
    odd: tuple[Odd, ...]
    warnings: tuple[str, ...] = ()
    scopes: tuple[Scoped, ...] = ()

    def behind(self, process: ProcessReport) -> bool:
        """Whether a process does not follow the present state."""
        return self.document is not None and process.revision != self.document.revision

    @property
    def streams(self) -> tuple[OpenStreams, ...]:
        """Streams that are open in all processes together, by rollout and version."""
        found: dict[tuple[str, str], OpenStreams] = {}
        for one in (one for process in self.processes for one in process.streams):
            key = (one.rollout, one.version)
            found[key] = found[key].joined(one) if key in found else one
        return tuple(found[key] for key in sorted(found))

    def silence(self, rollout: str, label: str) -> str:
        """See :func:`silence`."""
        return silence(self.processes, rollout, label)

    @property
    def declared(self) -> frozenset[tuple[str, str]]:
        """Rollout and canary label of everything that a process declares."""
        plans = (process.plans.items() for process in self.processes)
        return frozenset((name, plan.canary) for items in plans for name, plan in items)

    @property
    def known(self) -> frozenset[str]:
        """Every rollout in the state or in a process."""
        names = {name for name, _ in self.declared}
        return frozenset(names.union(rollout.name for rollout in self.rollouts))


def silence(processes: Sequence[ProcessReport], rollout: str, label: str) -> str:
    """That a version does not answer, where and why, as a sentence; nothing if it does."""
    declaring = [process for process in processes if rollout in process.plans]
    silent = [
        why
        for process in declaring
        for name, version, why in process.silent
        if (name, version) == (rollout, label)
    ]
    if not silent:
        return ""
    where = f"in {len(silent)} of {len(declaring)} processes"
    reason = f" ({max(silent)})" if any(silent) else ""
    return f"{label} does not answer its probe {where}{reason}"
