"""A gateway whose canary is another server: the application of :mod:`.streams`."""

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from canary_middleware import Canary, Rollout
from canary_middleware.asgi import CanaryMiddleware

canary = Canary(
    Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=["/checkout"]),
    secret_keys=["k" * 32],
    secure=False,
    autostart="100%",
    kill_grace=0.5,
)


async def kill(request: Request) -> Response:
    """Strike everything."""
    canary.store.kill("*", by="test", why="test", now=0.0)
    return PlainTextResponse("killed")


stable = Starlette(routes=[Route("/kill", kill, methods=["POST"])])
app = CanaryMiddleware(stable, canary, targets={"checkout": os.environ["CANARY_TEST_UPSTREAM"]})
