"""Flask: which version serves this request, and who is signed in."""

from __future__ import annotations

from collections.abc import Callable

from canary_middleware.context import ENVIRON_KEY, no_request
from canary_middleware.core.active import ActiveVisit
from canary_middleware.core.model import Assignment
from canary_middleware.engine.views import RequestView
from canary_middleware.errors import MissingExtraError

try:
    from flask import Flask, Request, has_request_context, request, session
except ImportError as error:
    raise MissingExtraError("flask", "flask") from error


def assignment_from(request: Request, rollout: str) -> Assignment:
    """As :func:`canary_middleware.current`, by the request instead of the context."""
    visit: ActiveVisit | None = request.environ.get(ENVIRON_KEY)
    return no_request(rollout) if visit is None else visit.expose(rollout)


def session_subject(app: Flask, key: str) -> Callable[[RequestView], str | None]:
    """``identify`` by a value in Flask's session, such as ``"user_id"``.

    Inside the application the session of the request is read, so a rollout that is first asked for
    after a sign-in sees it. A rollout with a target is routed before Flask runs: there the session
    is opened through the application's own session interface.
    """

    def identify(view: RequestView) -> str | None:
        if has_request_context() and request.environ is view.native:
            value = session.get(key)
        else:
            opened = app.session_interface.open_session(app, app.request_class(view.native))
            value = opened.get(key) if opened is not None else None
        return None if value is None else str(value)

    return identify
