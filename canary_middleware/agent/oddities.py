"""Says in the log of a process what it declares otherwise than the others, once each."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from canary_middleware.core.drift import Difference, differences, listed
from canary_middleware.core.state import Document, Plan

logger = logging.getLogger("canary_middleware")


class Oddities:
    """What was told so far."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Difference, ...]] = {}

    def look(self, plans: Mapping[str, Plan], document: Document | None) -> None:
        """Compare what this process declares with what is in force."""
        for rollout, plan in plans.items():
            found = differences(rollout, plan, document)
            if found and found != self._told.get(rollout):
                what = listed(found)
                logger.warning("%s: this process declares %s; see `canary status`", rollout, what)
            self._told[rollout] = found
