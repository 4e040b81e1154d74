"""``gunicorn tests.system.chain_b:app``: the service in the middle."""

from __future__ import annotations

from typing import Any

import requests
from flask import Flask, request
from opentelemetry.instrumentation.flask import FlaskInstrumentor

from canary_middleware import current
from canary_middleware.frameworks.requests import carry
from canary_middleware.wsgi import CanaryMiddleware
from tests.system.chain import HOSTS, begin, canary, told

LINK = begin()
app = Flask(__name__)


@app.get("/shop/")
def by_requests() -> dict[str, Any]:
    current("shop")
    with requests.Session() as session:
        carry(session, hosts=HOSTS)
        answer = session.get(LINK.url("c"), timeout=10)
    return told(request.headers.get, answer.json())


instrumentor: Any = FlaskInstrumentor()  # its methods have no types
instrumentor.instrument_app(app)
app.wsgi_app = CanaryMiddleware(app.wsgi_app, canary=canary(LINK))  # type: ignore[method-assign]  # as Flask's documentation says
