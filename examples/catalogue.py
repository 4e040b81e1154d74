"""What the example shops sell and the orders they took: the data that both versions share."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Final


@dataclass(frozen=True, slots=True)
class Product:
    """One thing to buy; ``price`` in cents."""

    id: str
    name: str
    price: int


PRODUCTS: Final = {
    product.id: product
    for product in (
        Product("seed", "A bag of millet", 450),
        Product("perch", "An oak perch", 1290),
        Product("cage", "An open door", 9900),
    )
}


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it was taken.

    Attributes:
        id: chosen by the client, so that sending it again is harmless.
        version: of the checkout that took it.
        total: cents.
    """

    id: str
    version: str
    total: int


class Orders:
    """Takes each order id once, whichever version it comes through."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._lock = Lock()

    def take(self, order: Order) -> Order:
        """The order under this id: this one, or the one that was there before."""
        with self._lock:
            return self._orders.setdefault(order.id, order)

    def find(self, order_id: str) -> Order | None:
        """The order under this id."""
        return self._orders.get(order_id)


def known(ids: Iterable[str]) -> list[str]:
    """Those of the ids that are in the catalogue."""
    return [product_id for product_id in ids if product_id in PRODUCTS]


def total(ids: Iterable[str]) -> int:
    """Cents for these products."""
    return sum(PRODUCTS[product_id].price for product_id in ids)


def money(cents: int) -> str:
    """Cents as people write them."""
    return f"{cents / 100:.2f} EUR"


def page(title: str, *parts: str) -> str:
    """A small HTML page; the parts are HTML."""
    style = '<link rel="stylesheet" href="/static/shop.css">'
    return (
        f"<!doctype html>\n<title>{html.escape(title)}</title>{style}\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n"
    )


def product_list() -> str:
    """The catalogue as HTML."""
    items = (
        f'<li><a href="/product/{p.id}">{p.name}</a> {money(p.price)}</li>'
        for p in PRODUCTS.values()
    )
    return f"<ul>{''.join(items)}</ul>"


def put_in_cart(product: Product) -> str:
    """The button that buys, as HTML."""
    return (
        f"<p>{money(product.price)}</p>"
        f'<form method="post" action="/cart/{product.id}">'
        "<button>Put it in the cart</button></form>"
    )


STYLE: Final = "body { font-family: sans-serif; max-width: 40em; margin: 2em auto }\n"
FOREVER: Final = "public, max-age=31536000, immutable"
