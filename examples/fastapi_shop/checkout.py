"""The checkout in two versions, each with its own parameters, models and validation.

1.4.2 takes an order id and products. 1.5.0 takes quantities and may deliver faster. A request of
one is not valid for the other, which is why they are two routers and not a handler with an ``if``.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from canary_middleware.frameworks.fastapi import canary_route
from examples.catalogue import PRODUCTS, Order, Orders, known, money, page, total

stable = APIRouter(prefix="/checkout")
canary = APIRouter(prefix="/checkout", route_class=canary_route("checkout"))

Cart = Annotated[str, Cookie()]
OrderId = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]


class StableOrder(BaseModel):
    order_id: OrderId
    products: list[str] = Field(min_length=1, max_length=100)


class CanaryOrder(BaseModel):
    order_id: OrderId
    quantities: dict[str, Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1)
    express: bool = False


class Receipt(BaseModel):
    order_id: str
    version: str
    total: int


@stable.get("", response_class=HTMLResponse)
async def form(cart: Cart = "") -> str:
    sum_of_cart = money(total(known(cart.split("."))))
    return page("Checkout", f"<p>{sum_of_cart}</p>", "<footer>checkout 1.4.2</footer>")


@canary.get("", response_class=HTMLResponse)
async def form_with_express(cart: Cart = "", express: bool = False) -> str:
    sum_of_cart = money(total(known(cart.split("."))) + 500 * express)
    return page(
        "Checkout",
        f"<p>{sum_of_cart}</p>",
        '<p><a href="?express=true">Deliver it tomorrow, 5.00 EUR</a></p>',
        "<footer>checkout 1.5.0</footer>",
    )


@stable.post("/orders")
async def order(wanted: StableOrder, request: Request) -> Receipt:
    unknown(wanted.products)
    return taken(request, Order(wanted.order_id, "1.4.2", total(wanted.products)))


@canary.post("/orders")
async def order_quantities(wanted: CanaryOrder, request: Request) -> Receipt:
    unknown(list(wanted.quantities))
    price = sum(PRODUCTS[name].price * count for name, count in wanted.quantities.items())
    return taken(request, Order(wanted.order_id, "1.5.0", price + 500 * wanted.express))


@stable.get("/orders/{order_id}")
async def find_order(order_id: str, request: Request) -> Receipt:
    """One handler for both versions: the data is shared."""
    found = orders_of(request).find(order_id)
    if found is None:
        raise HTTPException(404, "no such order")
    return Receipt(order_id=found.id, version=found.version, total=found.total)


def unknown(products: list[str]) -> None:
    """Refuse an order for what the shop does not sell."""
    if known(products) != products:
        raise HTTPException(422, "no such product")


def taken(request: Request, wanted: Order) -> Receipt:
    """The receipt of an order; the same one however often it is sent."""
    order = orders_of(request).take(wanted)
    return Receipt(order_id=order.id, version=order.version, total=order.total)


def orders_of(request: Request) -> Orders:
    orders: Orders = request.app.state.orders
    return orders
