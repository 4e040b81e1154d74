"""Log lines that say which version wrote them.

Reads the active visit; exposes nobody, and knows no visitor.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from canary_middleware.core.active import active_visit
from canary_middleware.core.model import Assignment
from canary_middleware.telemetry import names


class CanaryFilter(logging.Filter):
    """Gives every record rollout, version and cohort of the visit that wrote it.

    Put it on a handler, so that the records of every logger pass it::

        handler.addFilter(CanaryFilter())
        handler.setFormatter(logging.Formatter("%(canary_version)s %(message)s"))

    Outside of an exposed visit the three are ``-``, so that a format never fails.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        vars(record).update(_fields(_first()))
        return True


def add_canary(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: the same three keys, only inside of an exposed visit."""
    assignment = _first()
    if assignment is not None:
        event_dict.update(_fields(assignment))
    return event_dict


def _first() -> Assignment | None:
    visit = active_visit.get()
    return next(iter(visit.exposed.values()), None) if visit is not None else None


def _fields(assignment: Assignment | None) -> dict[str, str]:
    if assignment is None:
        return {names.LOG_ROLLOUT: "-", names.LOG_VERSION: "-", names.LOG_COHORT: "-"}
    return {
        names.LOG_ROLLOUT: assignment.rollout,
        names.LOG_VERSION: assignment.version,
        names.LOG_COHORT: assignment.cohort.value,
    }
