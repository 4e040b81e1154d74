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


def observe(metric: str, value: float = 1.0) -> None:
    """Tell what happened to this visitor, for the guards that look at ``metric``; never raises.

    ``observe("charges")`` counts one, ``observe("revenue", 12.5)`` an amount; what one request
    observes adds up. It counts for every rollout that the request is exposed to and whose guards
    name the metric. Outside of a request nothing happens. What the first run of a request observed
    that stable answered in the end is dropped.

    Args:
        metric: as declared, such as ``Guard.rate("orders")``.
        value: finite, not negative.
    """
    visit = active_visit.get()
    if visit is not None:
        visit.observe(metric, value)


def no_request(rollout: str) -> Assignment:
    """Stable, because there is nobody to decide about."""
    return Assignment(rollout, "", Cohort.STABLE, "", Reason.NO_REQUEST)
