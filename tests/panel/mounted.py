"""A FastAPI application with a canary around it and the panel in it, below a prefix."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from canary_middleware import Canary, Rollout, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.panel import Person, Role, panel

canary = Canary(
    # Everything is covered: without `exclude` the panel would be sent to the second version, too.
    Rollout("site", stable="1", canary="2", paths=["/"], exclude=["/ops"]),
    namespace=os.environ["CANARY_NAMESPACE"],
    store=os.environ["CANARY_STORE"],
    secret_keys=["a key for tests that is long enough, surely"],
    secure=False,
)


async def who(request: Request) -> Person | None:
    """The application's own session; here a header that says who it is."""
    assert request.state.person == "of the host"  # what the application keeps there is untouched
    name = request.headers.get("x-user", "")
    if name == "broken":
        raise RuntimeError("the session store is away")
    if name == "strange":
        return name  # type: ignore[return-value]  # what a check must not return
    return Person(name, Role.OPERATE if name == "olga" else Role.VIEW) if name else None


def slowly(request: Request) -> Person | None:
    """The same as a plain function, with a name that is none."""
    return Person("mallory (panel, from 10.0.0.1)\n" + "x" * 500, Role.OPERATE)


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"person": "of the host"}


host = FastAPI(lifespan=life)
host.mount("/ops/canary", panel(canary, check=who))
host.mount("/ops/plain", panel(canary, check=slowly))


@host.get("/")
def index(request: Request) -> dict[str, str]:
    """What visitors see."""
    return {"version": current("site").version, "person": request.state.person}


async def second(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the second version")(scope, receive, send)


app = CanaryMiddleware(host, canary, targets={"site": second})
