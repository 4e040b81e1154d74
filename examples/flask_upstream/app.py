"""A shop in Flask whose new checkout is another process.

    gunicorn --threads 8 --bind 127.0.0.1:8000 examples.flask_upstream.app:app

README.md says how to start the new checkout; without it everybody has the old one.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request

from canary_middleware import Rollout
from canary_middleware.wsgi import CanaryMiddleware
from examples.catalogue import page, product_list
from examples.settings import canary_from_environment

CHECKOUT = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/checkout",))

app = Flask(__name__)


@app.get("/")
def home() -> str:
    """Outside of the rollout: always from here."""
    return page("Bird shop", product_list(), '<p><a href="/checkout">Check out</a></p>')


@app.get("/checkout")
def checkout() -> str:
    return page("Checkout", "<p>Pay in three steps.</p>", "<footer>checkout 1.4.2</footer>")


@app.post("/checkout/orders")
def order() -> Response:
    return jsonify(version="1.4.2", pieces=sum(request.get_json().values()))


app.wsgi_app = CanaryMiddleware(  # type: ignore[method-assign]  # Flask's own way to wrap an application
    app.wsgi_app,
    canary=canary_from_environment(CHECKOUT),
    targets={"checkout": os.environ.get("NEW_CHECKOUT", "http://127.0.0.1:9002")},
)
