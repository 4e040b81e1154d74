"""FastAPI: two versions of a path with signatures of their own."""

from __future__ import annotations

from canary_middleware.context import SCOPE_KEY
from canary_middleware.errors import MissingExtraError

try:
    from fastapi.routing import APIRoute
    from starlette.routing import Match
    from starlette.types import Scope
except ImportError as error:
    raise MissingExtraError("fastapi", "fastapi") from error


def canary_route(rollout: str) -> type[APIRoute]:
    """A route class whose routes exist for canary visitors only.

    Each version keeps its own parameters, dependencies, models and validation: a merged signature
    would answer 422 to one version's valid requests. Include the canary's router first; for
    everybody else its routes do not match and the stable ones below them do::

        v2 = APIRouter(route_class=canary_route("checkout"))
        app.include_router(v2)
        app.include_router(v1)
    """

    class CanaryRoute(APIRoute):
        """Matches only where the visitor is on canary."""

        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            match, child = super().matches(scope)
            # A partial match (another method) must not hide the stable route's full one either.
            if match is Match.NONE:
                return match, child
            visit = scope.get(SCOPE_KEY)
            # Reading exposes, in both cohorts alike: the path is the same for both.
            if visit is not None and visit.expose(rollout).is_canary:
                return match, child
            return Match.NONE, {}

    return CanaryRoute
