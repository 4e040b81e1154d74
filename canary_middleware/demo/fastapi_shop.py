"""The FastAPI shop: ``uvicorn --factory canary_middleware.demo.fastapi_shop:create_app``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from canary_middleware import current, versioned
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.demo.shop import AsgiStamps, Shop
from canary_middleware.demo.words import CANARY, ROLLOUT, STABLE


def routes(shop: Shop) -> APIRouter:
    """The pages; every answer of the checkout names its version."""
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return shop.page("", "Nothing on this page is on its way out.")

    async def new_checkout() -> str:
        await asyncio.sleep(0.015)  # a database, somewhere
        return shop.page(CANARY, "Pay with one click.")

    @router.get("/checkout", response_class=HTMLResponse)
    @versioned(ROLLOUT, canary=new_checkout)
    async def checkout() -> str:
        await asyncio.sleep(0.01)
        return shop.page(STABLE, "Pay in three steps.")

    @router.post("/checkout/orders")
    async def order() -> dict[str, str]:
        version = current(ROLLOUT).version
        await asyncio.sleep(0.05)
        return {"paid": "yes", "version": version}

    return router


def create_app() -> FastAPI:
    """The application of one worker."""
    shop = Shop("fastapi")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(shop.flush)  # uvicorn's workers run no atexit on SIGTERM

    app = FastAPI(title="Bird shop", lifespan=lifespan, openapi_url=None)
    app.include_router(routes(shop))
    app.add_middleware(AsgiStamps, shop=shop)
    app.add_middleware(CanaryMiddleware, canary=shop.canary)
    return app
