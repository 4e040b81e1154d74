"""The new checkout: a process of its own, which knows nothing of canaries.

    gunicorn --threads 8 --bind 127.0.0.1:9002 examples.flask_upstream.checkout:app

It need not be Flask, nor Python: it gets requests below ``/checkout`` as the shop got them.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

from examples.catalogue import page

app = Flask(__name__)


@app.get("/checkout")
def checkout() -> str:
    return page("Checkout", "<p>Pay with one click.</p>", "<footer>checkout 1.5.0</footer>")


@app.post("/checkout/orders")
def order() -> Response:
    return jsonify(version="1.5.0", pieces=sum(request.get_json().values()))
