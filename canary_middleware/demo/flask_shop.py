"""The Flask shop: ``gunicorn "canary_middleware.demo.flask_shop:create_app()"``."""

from __future__ import annotations

import atexit
import time
from typing import Any

from flask import Blueprint, Flask

from canary_middleware import current, versioned
from canary_middleware.demo.releases import charge
from canary_middleware.demo.shop import Shop, WsgiSearch, WsgiStamps
from canary_middleware.demo.words import CHARGES, CHECKOUT, PAY, SEARCH
from canary_middleware.wsgi import CanaryMiddleware


def routes(shop: Shop) -> Blueprint:
    """The pages; every answer of a part names its version."""
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def home() -> str:
        return shop.page("", "Nothing on this page is on its way out.")

    def new_checkout() -> str:
        time.sleep(0.01)  # a database, somewhere
        return shop.page(CHECKOUT.canary, "Pay with one click.")

    @pages.get(CHECKOUT.path)
    @versioned(CHECKOUT.name, canary=new_checkout)
    def checkout() -> str:
        time.sleep(0.01)
        return shop.page(CHECKOUT.stable, "Pay in three steps.")

    @pages.get(SEARCH.path)  # the new one is another server
    def search() -> str:
        time.sleep(0.01)
        return shop.page(SEARCH.stable, "Two robins and a wren.")

    @pages.post(PAY.path)
    def pay() -> dict[str, Any]:
        given = current(PAY.name)
        time.sleep(0.02)
        return {"paid": "yes", "version": given.version, CHARGES: charge(new=given.is_canary)}

    return pages


def create_app(shop: Shop | None = None) -> Flask:
    """The application of one worker."""
    shop = shop or Shop("flask")
    atexit.register(shop.flush)  # gunicorn's workers leave by sys.exit
    app = Flask(__name__)
    app.register_blueprint(routes(shop))
    stamped = WsgiStamps(app.wsgi_app, shop)
    app.wsgi_app = CanaryMiddleware(  # type: ignore[method-assign]  # Flask's own way
        stamped, canary=shop.canary, targets={SEARCH.name: WsgiSearch(shop)}
    )
    return app
