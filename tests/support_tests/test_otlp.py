from __future__ import annotations

import gzip
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from tests.support.otlp import Receiver
from tests.support.servers import Process


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def send_spans(url: str, compression: Compression, versions: list[str]) -> None:
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for version in versions:
        attributes: dict[str, str | int] = {
            "canary.version": version,
            "http.response.status_code": 200,
        }
        with provider.get_tracer("test").start_as_current_span(
            "GET /", kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            span.add_event("feature_flag.evaluation", {"feature_flag.key": "checkout"})
    provider.shutdown()


def send_metrics(url: str, stable: int, canary: int) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    requests = provider.get_meter("test").create_counter("canary.requests")
    duration = provider.get_meter("test").create_histogram("canary.duration")
    for _ in range(2):  # cumulative: what is sent twice counts once
        requests.add(stable, {"canary.version": "1"})
        requests.add(canary, {"canary.version": "2"})
        duration.record(0.25, {"canary.version": "1"})
        provider.force_flush()
    provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_spans_of_the_real_exporter(receiver: Receiver, compression: Compression) -> None:
    send_spans(receiver.url, compression, ["1", "2", "1"])
    assert receiver.received.spans_by_version() == {"1": 2, "2": 1}
    span = receiver.received.spans[1]
    assert (span.name, span.kind, len(span.trace_id), span.parent_id) == ("GET /", "SERVER", 32, "")
    assert span.attributes == {"canary.version": "2", "http.response.status_code": 200}
    assert span.events == (("feature_flag.evaluation", {"feature_flag.key": "checkout"}),)
    assert "service.name" in span.resource


def test_metrics_of_two_processes_add_up(receiver: Receiver) -> None:
    send_metrics(receiver.url, stable=10, canary=3)
    send_metrics(receiver.url, stable=1, canary=1)
    assert receiver.received.totals_by_version("canary.requests") == {"1": 22, "2": 8}
    assert receiver.received.totals_by_version("canary.duration") == {"1": 4}
    point = receiver.received.latest("canary.duration")[0]
    assert (point.value, point.count) == (0.5, 2)
    assert 0 < point.start < point.time


def test_a_receiver_process_is_asked_for_its_counts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "canary_middleware.demo.receiver"]
    with Process(command, tmp_path / "log") as server:
        url = server.wait_log("\n").output().split()[-1]
        send_spans(url, Compression.Gzip, ["2"])
        with urllib.request.urlopen(f"{url}/counts") as answer:
            counts = json.load(answer)
        assert (counts["spans"], counts["spans_by_version"]) == (1, {"2": 1})
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/traces", b"\xff\xff", {}, 400),
        ("/v1/traces", b"not gzip", {"Content-Encoding": "gzip"}, 400),
        ("/v1/metrics", gzip.compress(b"x" * 99, mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400),
        ("/v1/traces", b"", {"Content-Length": "-1"}, 400),
        ("/v1/logs", b"", {}, 404),
        ("/v1/traces", ExportTraceServiceRequest().SerializeToString(), {}, 200),
        ("/v1/metrics", ExportMetricsServiceRequest().SerializeToString(), {}, 200),
    ],
)
def test_bodies_good_and_bad(
    receiver: Receiver, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    request = urllib.request.Request(receiver.url + path, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            got = answer.status
    except urllib.error.HTTPError as error:
        got = error.code
        error.close()
    assert got == status
    assert receiver.received.spans == []
