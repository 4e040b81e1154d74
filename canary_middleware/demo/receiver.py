"""A small OpenTelemetry receiver: takes OTLP over HTTP, decodes it, counts it by version.

Protocol: https://opentelemetry.io/docs/specs/otlp/ (OTLP/HTTP, binary protobuf, gzip or plain). It
runs in a thread (:class:`Receiver`) or as a process of its own
(``python -m canary_middleware.demo.receiver``), where ``GET /counts`` answers the counts as JSON
and ``DELETE /counts`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from canary_middleware.demo.words import VISITOR_OF_SPAN

VERSION: Final = "canary.version"
OUTCOME: Final = "canary.outcome"
ABANDONED: Final = ("rescued", "superseded")
"""Outcomes of canary answers that stable replaced: nobody saw them."""
MAX_BODY: Final = 64 * 1024 * 1024

Value = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Span:
    """One finished span; ``kind`` is ``"SERVER"``, ``"INTERNAL"``, ``"CLIENT"`` …; ids are hex."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Value]
    events: tuple[tuple[str, Mapping[str, Value]], ...]
    resource: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Point:
    """One metric point; times in nanoseconds since 1970.

    A histogram has its sum as ``value`` and its observations as ``count``; of any other point
    ``count`` is ``None``.
    """

    name: str
    attributes: Mapping[str, Value]
    value: float
    count: int | None
    start: int
    time: int
    resource: Mapping[str, Value]


class MalformedError(ValueError):
    """A body that is not what its headers say."""


_SCALARS: Final = frozenset({"string_value", "bool_value", "int_value", "double_value"})


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    scalar: Value = getattr(value, kind) if kind in _SCALARS else str(value).strip() or None
    return scalar


def _mapping(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def decode_spans(body: bytes) -> list[Span]:
    """The spans of one export request.

    Raises:
        DecodeError: the body is not an ``ExportTraceServiceRequest``.
    """
    return [
        _span(span, _mapping(batch.resource.attributes))
        for batch in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in batch.scope_spans
        for span in scope.spans
    ]


def _span(span: SpanMessage, resource: Mapping[str, Value]) -> Span:
    return Span(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_mapping(span.attributes),
        events=tuple((event.name, _mapping(event.attributes)) for event in span.events),
        resource=resource,
    )


def decode_points(body: bytes) -> list[Point]:
    """The sum, gauge and histogram points of one export request.

    Raises:
        DecodeError: the body is not an ``ExportMetricsServiceRequest``.
    """
    return [
        point
        for batch in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in batch.scope_metrics
        for metric in scope.metrics
        for point in _points(metric, _mapping(batch.resource.attributes))
    ]


def _points(metric: Metric, resource: Mapping[str, Value]) -> Iterator[Point]:
    for number in (*metric.sum.data_points, *metric.gauge.data_points):
        yield _point(metric.name, number, _number(number), None, resource)
    for histogram in metric.histogram.data_points:
        yield _point(metric.name, histogram, histogram.sum, histogram.count, resource)


def _number(point: NumberDataPoint) -> float:
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def _point(
    name: str,
    point: NumberDataPoint | HistogramDataPoint,
    value: float,
    count: int | None,
    resource: Mapping[str, Value],
) -> Point:
    start, end = point.start_time_unix_nano, point.time_unix_nano
    return Point(name, _mapping(point.attributes), value, count, start, end, resource)


class Received:
    """Everything received so far; safe to read while the server writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._points: list[Point] = []

    def add(self, spans: Sequence[Span] = (), points: Sequence[Point] = ()) -> None:
        """Keep what one request carried."""
        with self._lock:
            self._spans.extend(spans)
            self._points.extend(points)

    @property
    def spans(self) -> list[Span]:
        """All spans, in order of arrival."""
        with self._lock:
            return list(self._spans)

    @property
    def points(self) -> list[Point]:
        """All metric points, in order of arrival: cumulative series appear once per export."""
        with self._lock:
            return list(self._points)

    def latest(self, name: str) -> list[Point]:
        """The newest point of every series of one metric.

        A series is attributes, resource and start: workers of one server share the resource, but
        no two started in the same nanosecond.
        """
        newest: dict[object, Point] = {}
        for point in self.points:
            if point.name == name:
                labels = frozenset(point.attributes.items()), frozenset(point.resource.items())
                newest[labels, point.start] = point
        return list(newest.values())

    def spans_by_version(self, kind: str = "SERVER") -> Counter[str]:
        """How many spans of this kind carry each ``canary.version``."""
        spans = (span for span in self.spans if span.kind == kind and VERSION in span.attributes)
        return Counter(str(span.attributes[VERSION]) for span in spans)

    def totals_by_version(self, name: str) -> dict[str, float]:
        """The newest cumulative totals by ``canary.version``; histograms count observations."""
        totals: dict[str, float] = {}
        for point in self.latest(name):
            if VERSION in point.attributes:
                version = str(point.attributes[VERSION])
                amount = point.value if point.count is None else point.count
                totals[version] = totals.get(version, 0) + amount
        return totals

    def answers_by_version(self, name: str = "canary.requests") -> dict[str, int]:
        """As :meth:`totals_by_version`, of what clients got to see."""
        totals: Counter[str] = Counter()
        for point in self.latest(name):
            if VERSION in point.attributes and point.attributes.get(OUTCOME) not in ABANDONED:
                totals[str(point.attributes[VERSION])] += int(point.value)
        return dict(totals)

    def visitors_by_version(self) -> dict[str, int]:
        """How many visitors the server spans of each version name."""
        visitors: dict[str, set[Value]] = {}
        for span in self.spans:
            if span.kind == "SERVER" and VERSION in span.attributes:
                seen = visitors.setdefault(str(span.attributes[VERSION]), set())
                seen.add(span.attributes.get(VISITOR_OF_SPAN))
        return {version: len(seen) for version, seen in visitors.items()}

    def forget(self) -> None:
        """Drop everything received so far."""
        with self._lock:
            self._spans.clear()
            self._points.clear()

    def summary(self) -> dict[str, object]:
        """What ``GET /counts`` answers."""
        names = sorted({point.name for point in self.points})
        return {
            "spans": len(self.spans),
            "points": len(self.points),
            "spans_by_version": self.spans_by_version(),
            "visitors_by_version": self.visitors_by_version(),
            "answers_by_version": self.answers_by_version(),
            "totals_by_version": {name: self.totals_by_version(name) for name in names},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/counts":
            self._answer(404, b"", "text/plain")
            return
        self._answer(200, json.dumps(self.server.received.summary()).encode(), "application/json")

    def do_DELETE(self) -> None:
        self.server.received.forget()
        self._answer(200, b"", "text/plain")

    def do_POST(self) -> None:
        try:
            answer = self._take(self._body())
        except (MalformedError, DecodeError, zlib.error) as error:
            self._answer(400, str(error).encode(), "text/plain")
        else:
            status = 404 if answer is None else 200
            self._answer(status, answer or b"", "application/x-protobuf")

    def _take(self, body: bytes) -> bytes | None:
        received = self.server.received
        if self.path == "/v1/traces":
            received.add(spans=decode_spans(body))
            return ExportTraceServiceResponse().SerializeToString()
        if self.path == "/v1/metrics":
            received.add(points=decode_points(body))
            return ExportMetricsServiceResponse().SerializeToString()
        return None

    def _body(self) -> bytes:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY:
            # What follows cannot be told from the next request.
            self.close_connection = True
            raise MalformedError(f"Content-Length {size!r} is not a size up to {MAX_BODY}")
        body = self.rfile.read(int(size))
        return _unzipped(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is inherited
        """Write nothing: a request per export is noise."""


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = unzip.decompress(body, MAX_BODY)
    if not unzip.eof:
        raise MalformedError("cut short, or larger than it may be")
    return plain


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.received = Received()
        super().__init__((host, port), _Handler)


class Receiver:
    """A receiver in a thread of this process.

    Args:
        host: address to listen on.
        port: 0 for any free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server(host, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        )

    @property
    def received(self) -> Received:
        """What has come in."""
        return self._server.received

    @property
    def url(self) -> str:
        """The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the first line on standard output is the address."""
    parser = argparse.ArgumentParser(prog="canary_middleware.demo.receiver")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args(argv)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with Receiver(arguments.host, arguments.port) as receiver:
        print(f"receiving at {receiver.url}", flush=True)
        over.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
