"""A gateway in FastAPI: some pages of its own, everything else from one of two servers.

    uvicorn examples.gateway.app:app --port 8000 --no-date-header --no-server-header

README.md says how to start the two servers. Without pages of its own a gateway needs no FastAPI:
``servers`` is an ASGI application that can be served as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from canary_middleware import Rollout
from canary_middleware.asgi import CanaryMiddleware
from examples.settings import canary_from_environment

SHOP = Rollout("shop", stable="1.4.2", canary="1.5.0")

canary = canary_from_environment(SHOP)
servers = CanaryMiddleware(
    os.environ.get("SHOP_STABLE", "http://127.0.0.1:9001"),
    canary=canary,
    targets={"shop": os.environ.get("SHOP_CANARY", "http://127.0.0.1:9002")},
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """A mounted application is not told when the server starts and ends."""
    await canary.arrive()
    yield
    await asyncio.to_thread(canary.stop)


app = FastAPI(title="Gateway", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)


@app.get("/gateway/health")
async def health() -> dict[str, str]:
    """A page of the gateway: it has an answer also when no server is there."""
    return {"gateway": "up"}


app.mount("/", servers)  # last: what is above comes first
