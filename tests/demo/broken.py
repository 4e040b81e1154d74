"""A shop that is deliberately broken, for the demo to find out."""

from __future__ import annotations

from flask import Flask, request

from canary_middleware import current
from canary_middleware.demo.flask_shop import create_app
from canary_middleware.demo.shop import Shop, WsgiStamps
from canary_middleware.demo.words import ROLLOUT, VISITOR
from canary_middleware.wsgi import CanaryMiddleware


def deaf_flask_shop() -> Flask:
    """Its handlers remember who was on the canary and go on serving it to them, kill or not."""
    shop = Shop("flask")
    remembered: set[str | None] = set()
    app = Flask("deaf")

    @app.get("/checkout")
    @app.post("/checkout/orders")
    def checkout() -> str:
        visitor = request.headers.get(VISITOR)
        if current(ROLLOUT).is_canary:
            remembered.add(visitor)
        return shop.page("1.5.0" if visitor in remembered else "1.4.2", "Whatever you say.")

    stamped = WsgiStamps(app.wsgi_app, shop)
    app.wsgi_app = CanaryMiddleware(stamped, canary=shop.canary)  # type: ignore[method-assign]  # Flask's own way
    return app


def failing_flask_shop() -> Flask:
    """Does not start."""
    create_app()
    raise RuntimeError("the cash desk is on fire")
