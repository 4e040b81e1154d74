"""The checkout in two versions: pairs of functions with equal parameters behind one route each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, abort, jsonify, request
from flask.wrappers import Response

from canary_middleware import versioned
from examples.catalogue import PRODUCTS, Order, Orders, known, money, page, total

ORDER_ID: Final = re.compile(r"[\w-]{1,64}")


def form_with_express() -> str:
    express = request.args.get("express") == "true"
    return page(
        "Checkout",
        f"<p>{money(cart_total() + 500 * express)}</p>",
        '<p><a href="?express=true">Deliver it tomorrow, 5.00 EUR</a></p>',
        "<footer>checkout 1.5.0</footer>",
    )


@versioned("checkout", canary=form_with_express)
def form() -> str:
    return page("Checkout", f"<p>{money(cart_total())}</p>", "<footer>checkout 1.4.2</footer>")


def read_quantities(wanted: Mapping[str, Any]) -> Order:
    """1.5.0 takes quantities and may deliver faster."""
    quantities = wanted.get("quantities")
    if not isinstance(quantities, dict) or not quantities or known(quantities) != [*quantities]:
        abort(422)
    if not all(type(count) is int and 1 <= count <= 100 for count in quantities.values()):
        abort(422)
    price = sum(PRODUCTS[name].price * count for name, count in quantities.items())
    return Order(order_id(wanted), "1.5.0", price + 500 * (wanted.get("express") is True))


@versioned("checkout", canary=read_quantities)
def read_order(wanted: Mapping[str, Any]) -> Order:
    """1.4.2 takes products. Versioned code need not be a route."""
    products = wanted.get("products")
    if not isinstance(products, list) or not products or known(map(str, products)) != products:
        abort(422)
    return Order(order_id(wanted), "1.4.2", total(products))


class Checkout:
    """The routes below ``/checkout``.

    Args:
        orders: shared by both versions.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def blueprint(self) -> Blueprint:
        """The routes, to be registered."""
        routes = Blueprint("checkout", __name__, url_prefix="/checkout")
        routes.get("")(form)
        routes.post("/orders")(self.order)
        routes.get("/orders/<order>")(self.find)
        return routes

    def order(self) -> Response:
        wanted = request.get_json()
        if not isinstance(wanted, dict):
            abort(422)
        return receipt(self._orders.take(read_order(wanted)))

    def find(self, order: str) -> Response:
        return receipt(self._orders.find(order) or abort(404))


def cart_total() -> int:
    """Cents for what this visitor put in the cart."""
    return total(known(request.cookies.get("cart", "").split(".")))


def order_id(wanted: Mapping[str, Any]) -> str:
    """The id under which the order is taken once."""
    found = wanted.get("order_id")
    if not isinstance(found, str) or not ORDER_ID.fullmatch(found):
        abort(422)
    return found


def receipt(order: Order) -> Response:
    """An order as JSON."""
    return jsonify(order_id=order.id, version=order.version, total=order.total)
