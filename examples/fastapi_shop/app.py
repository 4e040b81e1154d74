"""A small shop whose checkout is on its way from 1.4.2 to 1.5.0, in FastAPI.

    uvicorn examples.fastapi_shop.app:app --port 8000

Open http://localhost:8000, put something in the cart, and check out. Which checkout you get is
yours to keep; a private window is another visitor. ``examples/settings.py`` says what can be set.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from canary_middleware import Canary, Rollout, current
from canary_middleware.asgi import CanaryMiddleware
from examples.catalogue import (
    FOREVER,
    PRODUCTS,
    STYLE,
    Orders,
    known,
    money,
    page,
    product_list,
    put_in_cart,
    total,
)
from examples.fastapi_shop import checkout
from examples.settings import canary_from_environment

CHECKOUT = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/cart", "/checkout"))

pages = APIRouter(default_response_class=HTMLResponse)
Cart = Annotated[str, Cookie()]


@pages.get("/")
async def home() -> str:
    """Outside of the rollout: not touched by the middleware, so it may be public."""
    return page("Bird shop", product_list())


@pages.get("/product/{product_id}")
async def product(product_id: str) -> str:
    if product_id not in PRODUCTS:
        raise HTTPException(404, "no such product")
    found = PRODUCTS[product_id]
    return page(found.name, put_in_cart(found))


@pages.post("/cart/{product_id}")
async def put(product_id: str, cart: Cart = "") -> RedirectResponse:
    if product_id not in PRODUCTS:
        raise HTTPException(404, "no such product")
    answer = RedirectResponse("/cart", status_code=303)
    answer.set_cookie("cart", ".".join([*known(cart.split(".")), product_id]), samesite="lax")
    return answer


@pages.get("/cart")
async def show_cart(cart: Cart = "") -> str:
    """One handler for both versions, which asks."""
    ids = known(cart.split("."))
    names = ", ".join(PRODUCTS[product_id].name for product_id in ids) or "nothing yet"
    hint = "delivery tomorrow" if current("checkout").is_canary else "delivery in three days"
    return page(
        "Your cart",
        f"<p>{names}: {money(total(ids))}, {hint}</p>",
        '<p><a href="/checkout">Check out</a></p>',
        f"<footer>checkout {current('checkout').version}</footer>",
    )


@pages.get("/static/shop.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": FOREVER})


def create_app(canary: Canary) -> FastAPI:
    """The shop with the middleware around it."""
    app = FastAPI(title="Bird shop")
    app.state.orders = Orders()
    app.include_router(pages)
    app.include_router(checkout.canary)  # first: for everybody else its routes do not match
    app.include_router(checkout.stable)
    app.add_middleware(CanaryMiddleware, canary=canary)
    return app


app = create_app(canary_from_environment(CHECKOUT))
