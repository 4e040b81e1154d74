"""What pages show, asked from a store in one go; blocks, so it runs in a thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from canary_middleware import measures, verbs
from canary_middleware.core.records import Audit
from canary_middleware.core.state import EVERYTHING
from canary_middleware.core.status import RolloutStatus, Status
from canary_middleware.overview.gathering import Read, view
from canary_middleware.overview.scene import View
from canary_middleware.stores import StateStore

LATEST: Final = 12
"""Lines of history on a rollout's own page."""


@dataclass(frozen=True, slots=True)
class Look:
    """A namespace at one moment.

    Attributes:
        namespace: its name.
        at: wall-clock seconds.
        status: everything but numbers.
        views: its rollouts, by name.
    """

    namespace: str
    at: float
    status: Status
    views: Mapping[str, View]

    @property
    def revision(self) -> int:
        """Of the control state; 0 where nothing was ever started."""
        return self.status.document.revision if self.status.document else 0

    def releases(self, name: str) -> RolloutStatus | None:
        """All that is remembered of a rollout; ``None`` if it was never started."""
        return next((one for one in self.status.rollouts if one.name == name), None)


def look(store: StateStore, namespace: str, read: Read = measures.read) -> Look:
    """Everything that any page shows, but history and charts.

    Raises:
        StoreError: the store does not answer, or its state cannot be read.
    """
    found = verbs.status(store)
    views = {name: view(store, found, name, read) for name in sorted(found.known)}
    return Look(namespace, time.time(), found, views)


def lines(store: StateStore, name: str, limit: int = LATEST) -> list[Audit]:
    """The latest history of a rollout with what happened to everything, newest first."""
    found = [*verbs.history(store, name, limit), *verbs.history(store, EVERYTHING, limit)]
    return sorted(found, key=lambda line: (line.revision, line.at), reverse=True)[:limit]
