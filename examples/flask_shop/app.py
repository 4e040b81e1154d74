"""A small shop whose checkout is on its way from 1.4.2 to 1.5.0, in Flask.

    gunicorn --threads 8 --bind 127.0.0.1:8000 examples.flask_shop.app:app

Open http://localhost:8000, put something in the cart, and check out. Which checkout you get is
yours to keep; a private window is another visitor. ``examples/settings.py`` says what can be set.
"""

from __future__ import annotations

from flask import Flask, Response, abort, redirect, request
from werkzeug.wrappers import Response as Answer

from canary_middleware import Canary, Rollout, current
from canary_middleware.wsgi import CanaryMiddleware
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
from examples.flask_shop.checkout import Checkout
from examples.settings import canary_from_environment

CHECKOUT = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/cart", "/checkout"))


def home() -> str:
    """Outside of the rollout: not touched by the middleware, so it may be public."""
    return page("Bird shop", product_list())


def product(product_id: str) -> str:
    found = PRODUCTS.get(product_id) or abort(404)
    return page(found.name, put_in_cart(found))


def put(product_id: str) -> Answer:
    if product_id not in PRODUCTS:
        abort(404)
    ids = known(request.cookies.get("cart", "").split("."))
    answer = redirect("/cart", 303)
    answer.set_cookie("cart", ".".join([*ids, product_id]), samesite="Lax")
    return answer


def show_cart() -> str:
    """One handler for both versions, which asks."""
    ids = known(request.cookies.get("cart", "").split("."))
    names = ", ".join(PRODUCTS[product_id].name for product_id in ids) or "nothing yet"
    hint = "delivery tomorrow" if current("checkout").is_canary else "delivery in three days"
    return page(
        "Your cart",
        f"<p>{names}: {money(total(ids))}, {hint}</p>",
        '<p><a href="/checkout">Check out</a></p>',
        f"<footer>checkout {current('checkout').version}</footer>",
    )


def style() -> Response:
    return Response(STYLE, mimetype="text/css", headers={"Cache-Control": FOREVER})


def create_app(canary: Canary) -> Flask:
    """The shop with the middleware around it."""
    app = Flask(__name__, static_folder=None)
    app.get("/")(home)
    app.get("/product/<product_id>")(product)
    app.post("/cart/<product_id>")(put)
    app.get("/cart")(show_cart)
    app.get("/static/shop.css")(style)
    app.register_blueprint(Checkout(Orders()).blueprint())
    app.wsgi_app = CanaryMiddleware(app.wsgi_app, canary=canary)  # type: ignore[method-assign]  # Flask's own way to wrap an application
    return app


app = create_app(canary_from_environment(CHECKOUT))
