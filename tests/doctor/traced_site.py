"""A site whose OpenTelemetry stands where the environment says, with a target for the canary."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from canary_middleware import Canary, Rollout
from canary_middleware.asgi import CanaryMiddleware, Receive, Scope, Send
from canary_middleware.telemetry.processor import CanarySpanProcessor

ORDER = os.environ.get("ORDER", "outside")


async def version(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ORDER.encode()})


def provider() -> TracerProvider:
    made = TracerProvider(sampler=ALWAYS_OFF) if ORDER == "unsampled" else TracerProvider()
    if ORDER == "processor":
        made.add_span_processor(CanarySpanProcessor())
    return made


def traced(app: Any) -> Any:
    return OpenTelemetryMiddleware(app)


def site() -> Any:
    canary = Canary(
        Rollout("shop", stable="1.0", canary="2.0", paths=["/shop"]),
        namespace=os.environ["NAMESPACE"],
        store=os.environ["STORE"],
        secret_keys=["the-first-key-of-these-tests-is-long-enough"],
        secure=False,
    )
    inner = traced(version) if ORDER in ("inside", "processor") else version
    within = CanaryMiddleware(inner, canary, {"shop": inner})
    return traced(within) if ORDER in ("outside", "unsampled") else within


trace.set_tracer_provider(provider())
app = site()
