"""The FastAPI shop: ``uvicorn --factory canary_middleware.demo.fastapi_shop:create_app``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from canary_middleware import current, versioned
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.demo.releases import charge
from canary_middleware.demo.shop import AsgiSearch, AsgiStamps, Shop
from canary_middleware.demo.words import CHARGES, CHECKOUT, PAY, SEARCH


def routes(shop: Shop) -> APIRouter:
    """The pages; every answer of a part names its version."""
    router = APIRouter()

    @router.get("/", response_class=HTMLResponse)
    async def home() -> str:
        return shop.page("", "Nothing on this page is on its way out.")

    async def new_checkout() -> str:
        await asyncio.sleep(0.01)  # a database, somewhere
        return shop.page(CHECKOUT.canary, "Pay with one click.")

    @router.get(CHECKOUT.path, response_class=HTMLResponse)
    @versioned(CHECKOUT.name, canary=new_checkout)
    async def checkout() -> str:
        await asyncio.sleep(0.01)
        return shop.page(CHECKOUT.stable, "Pay in three steps.")

    @router.get(SEARCH.path, response_class=HTMLResponse)  # the new one is another server
    async def search() -> str:
        await asyncio.sleep(0.01)
        return shop.page(SEARCH.stable, "Two robins and a wren.")

    @router.post(PAY.path)
    async def pay() -> dict[str, Any]:
        given = current(PAY.name)
        await asyncio.sleep(0.02)
        return {"paid": "yes", "version": given.version, CHARGES: charge(new=given.is_canary)}

    return router


def create_app(shop: Shop | None = None) -> FastAPI:
    """The application of one worker."""
    shop = shop or Shop("fastapi")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(shop.flush)  # uvicorn's workers run no atexit on SIGTERM

    app = FastAPI(title="Bird shop", lifespan=lifespan, openapi_url=None)
    app.include_router(routes(shop))
    app.add_middleware(AsgiStamps, shop=shop)
    app.add_middleware(
        CanaryMiddleware, canary=shop.canary, targets={SEARCH.name: AsgiSearch(shop)}
    )
    return app
