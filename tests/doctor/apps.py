"""Applications in every shape that the doctor is asked to look into."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from flask import Flask
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware

from canary_middleware import Canary, Rollout
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.engine.views import RequestView
from canary_middleware.wsgi import CanaryMiddleware as WsgiCanary

print("an application may print what it likes")


def canary(**more: Any) -> Canary:
    return Canary(
        Rollout("shop", stable="1.0", canary="2.0", paths=["/shop"]),
        namespace="shop",
        secret_keys=["the-first-key-of-these-tests-is-long-enough"],
        bucket_secret="the-bucket-secret-of-these-tests-is-long-enough",
        **more,
    )


def nobody(view: RequestView) -> None:
    """Everybody is anonymous."""


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Nothing."""


bare = FastAPI()

fastapi = FastAPI()
fastapi.add_middleware(CanaryMiddleware, canary=canary())
FastAPIInstrumentor.instrument_app(fastapi, tracer_provider=TracerProvider())

starlette = Starlette()
starlette.add_middleware(SessionMiddleware, secret_key="x")
starlette.add_middleware(
    CanaryMiddleware,
    canary=canary(identify=nobody, secure="auto"),
    targets={"shop": plain},
)

inside = CanaryMiddleware(OpenTelemetryMiddleware(plain), canary(), {"shop": plain})
outside = OpenTelemetryMiddleware(CanaryMiddleware(plain, canary()))

flask = Flask(__name__)
flask.wsgi_app = WsgiCanary(flask.wsgi_app, canary(secure=False))  # type: ignore[method-assign]  # as Flask's docs have it
flask_instrumentor: Any = FlaskInstrumentor()
flask_instrumentor.instrument_app(flask, tracer_provider=TracerProvider())


class Namespace:
    app = fastapi


def create() -> FastAPI:
    return fastapi
