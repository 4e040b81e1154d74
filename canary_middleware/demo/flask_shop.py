"""The Flask shop: ``gunicorn "canary_middleware.demo.flask_shop:create_app()"``."""

from __future__ import annotations

import atexit
import time

from flask import Blueprint, Flask

from canary_middleware import current, versioned
from canary_middleware.demo.shop import Shop, WsgiStamps
from canary_middleware.demo.words import CANARY, ROLLOUT, STABLE
from canary_middleware.wsgi import CanaryMiddleware


def routes(shop: Shop) -> Blueprint:
    """The pages; every answer of the checkout names its version."""
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def home() -> str:
        return shop.page("", "Nothing on this page is on its way out.")

    def new_checkout() -> str:
        time.sleep(0.015)  # a database, somewhere
        return shop.page(CANARY, "Pay with one click.")

    @pages.get("/checkout")
    @versioned(ROLLOUT, canary=new_checkout)
    def checkout() -> str:
        time.sleep(0.01)
        return shop.page(STABLE, "Pay in three steps.")

    @pages.post("/checkout/orders")
    def order() -> dict[str, str]:
        version = current(ROLLOUT).version
        time.sleep(0.05)
        return {"paid": "yes", "version": version}

    return pages


def create_app() -> Flask:
    """The application of one worker."""
    shop = Shop("flask")
    atexit.register(shop.flush)  # gunicorn's workers leave by sys.exit
    app = Flask(__name__)
    app.register_blueprint(routes(shop))
    stamped = WsgiStamps(app.wsgi_app, shop)
    app.wsgi_app = CanaryMiddleware(stamped, canary=shop.canary)  # type: ignore[method-assign]  # Flask's own way
    return app
