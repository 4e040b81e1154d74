"""What OTLP carries, decoded: spans and metric points out of the bodies of export requests.

Protocol: https://opentelemetry.io/docs/specs/otlp/ (binary protobuf).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

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
