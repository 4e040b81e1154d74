"""What the ASGI middleware adds inside OpenTelemetry's instrumentation ÷ what that adds itself.

With the SDK recording spans and metrics, and telemetry as an application gets it by default.
Nothing exports: it would cost both sides the same.
"""

from __future__ import annotations

import asyncio

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from benchmarks.measure import interleaved_async, ratio_line
from benchmarks.request_asgi import KEY, bare, call, exposing, rollout, ten_cookies
from canary_middleware import Canary
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.telemetry import Telemetry


async def run() -> list[str]:
    """The line of the issue."""
    tracing, metering = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    canary = Canary(
        rollout(),
        secret_keys=[KEY],
        autostart="10%",
        secure=False,
        telemetry=Telemetry(tracing, metering),
    )
    ours = CanaryMiddleware(exposing, canary=canary)
    cookies = [cookie.encode() for cookie in ten_cookies(canary)]
    plain = OpenTelemetryMiddleware(bare, tracer_provider=tracing, meter_provider=metering)
    both = OpenTelemetryMiddleware(ours, tracer_provider=tracing, meter_provider=metering)
    times = await interleaved_async(
        {
            "bare": call(bare, "/checkout", *cookies),
            "instrumented": call(plain, "/checkout", *cookies),
            "with canary": call(both, "/checkout", *cookies),
        },
        calls=400,
    )
    metering.shutdown()
    instrumented = times["instrumented"]
    added, peer = times["with canary"] - instrumented, instrumented - times["bare"]
    return [ratio_line("ASGI, inside OpenTelemetry", added, peer, 0.25, "OpenTelemetry")]


def main() -> list[str]:
    """Run in a fresh event loop."""
    return asyncio.run(run())


if __name__ == "__main__":
    print("\n".join(main()))
