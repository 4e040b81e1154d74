"""What is kept beside the control state: the audit trail, and the reports of processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from canary_middleware.core.facts import Facts
from canary_middleware.core.state import Plan


@dataclass(frozen=True, slots=True)
class Audit:
    """One line of history, written in the same atomic step as the change that it tells of.

    Attributes:
        at: wall-clock seconds since the epoch.
        by: who did it.
        action: the verb, or ``kill``, ``kill-file``, ``restore``, ``revoke``.
        scope: a rollout, or ``"*"`` for the namespace.
        old: the state before, in a few words.
        new: the state after.
        why: the reason given.
        revision: of the document that it made.
        evidence: what was known when the controller did it, as JSON has it; see
            :mod:`canary_middleware.core.evidence`. Empty for what people do.
    """

    at: float
    by: str
    action: str
    scope: str
    old: str
    new: str
    why: str
    revision: int
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """Streams that are open on one version of a rollout.

    Attributes:
        rollout: its name.
        version: the label.
        open: how many there are.
        losing: those of them whose visitor has another version by now.
        within: seconds until the last of these is ended; ``None`` without any.
    """

    rollout: str
    version: str
    open: int
    losing: int = 0
    within: float | None = None

    def joined(self, other: OpenStreams) -> OpenStreams:
        """Those of two processes."""
        ends = [end for end in (self.within, other.within) if end is not None]
        return replace(
            self,
            open=self.open + other.open,
            losing=self.losing + other.losing,
            within=max(ends, default=None),
        )


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What one process says of itself every few seconds; the store forgets it when it goes silent.

    Attributes:
        id: random, drawn anew after a fork.
        host: its host name.
        pid: its process id there.
        kind: ``asgi`` or ``wsgi``.
        revision: of the control state that it follows; -1 when it has none.
        staleness: seconds since the store confirmed that state; ``None`` when it never did.
        plans: by rollout, what it declares.
        in_flight: canary requests running.
        at: wall-clock seconds of the store when it was written; 0 before.
        kill_file: text of the kill file that its host has; ``None`` without one.
        streams: what is open there, by rollout and version.
        silent: versions that do not answer this process, because a target did not start or its
            server does not answer its probe: rollout, label, and why if that is known.
        facts: what it says of itself for ``canary doctor``; ``None`` from an older version.
    """

    id: str
    host: str
    pid: int
    kind: str
    revision: int
    staleness: float | None
    plans: Mapping[str, Plan] = field(default_factory=dict)
    in_flight: int = 0
    at: float = 0.0
    kill_file: str | None = None
    streams: tuple[OpenStreams, ...] = ()
    silent: tuple[tuple[str, str, str], ...] = ()
    facts: Facts | None = None
