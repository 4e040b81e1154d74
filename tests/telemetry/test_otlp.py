"""Through the real OTLP/HTTP exporters to a receiver: what arrives agrees with what clients saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.processor import CanarySpanProcessor
from tests.support.otlp import Received, Receiver
from tests.telemetry.apps import CANARY, STABLE, Sdk, call, canary, get
from tests.telemetry.test_asgi import starlette_canary_outside
from tests.telemetry.test_wsgi import flask_instrumented_last

REQUESTS = 150


class Exporting(Sdk):
    """The user's SDK, exporting to a receiver."""

    def __init__(self, url: str, processor: SpanProcessor | None) -> None:
        self.kept = []
        self.tracers = TracerProvider(shutdown_on_exit=False)
        if processor is not None:
            self.tracers.add_span_processor(processor)
        exporter = OTLPSpanExporter(f"{url}/v1/traces")
        self.tracers.add_span_processor(BatchSpanProcessor(exporter))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))
        self.meters = MeterProvider([reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("app")

    def shutdown(self) -> None:
        """Send what is left."""
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def visit_both_shops(url: str, processor: SpanProcessor | None) -> Counter[str]:
    """Answers by version, from a Starlette and a Flask shop, read from bodies."""
    sdk = Exporting(url, processor)
    try:
        # One telemetry: the two applications of this process share a namespace.
        telemetry = Telemetry(sdk.tracers, sdk.meters)
        asgi = starlette_canary_outside(sdk, canary(sdk, weight="30%", telemetry=telemetry), True)
        wsgi = flask_instrumented_last(sdk, canary(sdk, weight="30%", telemetry=telemetry), True)
        seen = Counter(get(asgi).text for _ in range(REQUESTS))
        seen += Counter(call(wsgi).text for _ in range(REQUESTS))
    finally:
        sdk.shutdown()
    return seen


def agrees(received: Received, seen: Counter[str]) -> None:
    assert received.spans_by_version() == seen
    assert received.totals_by_version("canary.requests") == seen
    assert received.totals_by_version("canary.request.duration") == seen


def test_spans_and_metrics_by_version_agree_with_what_clients_saw(receiver: Receiver) -> None:
    seen = visit_both_shops(receiver.url, CanarySpanProcessor())
    assert sum(seen.values()) == 2 * REQUESTS
    assert min(seen[STABLE], seen[CANARY]) > 30
    agrees(receiver.received, seen)


def test_telemetry_without_the_processor_disagrees(receiver: Receiver) -> None:
    seen = visit_both_shops(receiver.url, None)
    with pytest.raises(AssertionError):
        agrees(receiver.received, seen)
