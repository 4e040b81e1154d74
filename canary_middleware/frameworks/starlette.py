"""Starlette and FastAPI: which version serves this request, and who is signed in."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from canary_middleware.context import SCOPE_KEY, no_request
from canary_middleware.core.active import ActiveVisit
from canary_middleware.core.model import Assignment
from canary_middleware.engine.views import RequestView


class HasScope(Protocol):
    """A Starlette ``Request``, ``WebSocket`` or ``HTTPConnection``."""

    @property
    def scope(self) -> MutableMapping[str, Any]:
        """The ASGI scope."""


def assignment_from(request: HasScope, rollout: str) -> Assignment:
    """As :func:`canary_middleware.current`, by the request instead of the context."""
    visit: ActiveVisit | None = request.scope.get(SCOPE_KEY)
    return no_request(rollout) if visit is None else visit.expose(rollout)


def session_subject(key: str) -> Callable[[RequestView], str | None]:
    """``identify`` by a value that Starlette's SessionMiddleware keeps, such as ``"user_id"``.

    Rollouts that dispatch to a target are routed before the application runs: for them
    SessionMiddleware has to be outside of ours (added after it). Rollouts that are read with
    ``current()`` find the session in either order.
    """

    def identify(view: RequestView) -> str | None:
        session = view.native.get("session")
        value = session.get(key) if session is not None else None
        return None if value is None else str(value)

    return identify
