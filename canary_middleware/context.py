"""``current()``: which version serves this visitor? For the application; never raises."""

from __future__ import annotations

from typing import Final

from canary_middleware.core.active import active_visit
from canary_middleware.core.model import Assignment, Cohort, Reason

SCOPE_KEY: Final = "canary_middleware"
"""Where the visit is in an ASGI scope."""

ENVIRON_KEY: Final = "canary_middleware.visit"
"""Where the visit is in a WSGI environ."""


def current(rollout: str) -> Assignment:
    """The assignment of this visitor in one rollout. Reading it exposes the visitor to the rollout.

    Returns:
        The stable assignment with reason ``no_request`` outside of a request that any rollout
        covers, and for a name that no rollout has, which is logged once; ``out_of_scope`` where
        others cover the request and this rollout does not. docs/current.md has the attributes.
    """
    visit = active_visit.get()
    return visit.expose(rollout) if visit is not None else no_request(rollout)


def no_request(rollout: str) -> Assignment:
    """Stable, because there is nobody to decide about."""
    return Assignment(rollout, "", Cohort.STABLE, "", Reason.NO_REQUEST)
