"""OpenTelemetry in a worker, as a careful host would set it up: both exporters, short delays."""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from canary_middleware.telemetry.processor import CanarySpanProcessor


def export(url: str) -> None:
    """Set the global providers, which the package uses by default."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(CanarySpanProcessor())
    spans = BatchSpanProcessor(
        OTLPSpanExporter(f"{url}/v1/traces"), max_queue_size=100_000, schedule_delay_millis=200
    )
    tracers.add_span_processor(spans)
    trace.set_tracer_provider(tracers)
    points = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{url}/v1/metrics"), export_interval_millis=300
    )
    metrics.set_meter_provider(MeterProvider([points], shutdown_on_exit=False))


def traced(app: Any) -> Any:
    """The application with the instrumentation outside, for spans only.

    The instrumentation's own metrics are by host and method, which is what strangers flood.
    """
    return OpenTelemetryMiddleware(app, meter_provider=metrics.NoOpMeterProvider())
