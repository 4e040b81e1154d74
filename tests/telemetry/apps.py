"""Requests without a network, an SDK that exports into memory, and canaries to look at."""

from __future__ import annotations

import asyncio
import contextvars
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from canary_middleware import Canary, Rollout
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.processor import CanarySpanProcessor

KEY = "k" * 32
STABLE, CANARY = "1.4.2", "1.5.0"
CHECKOUT = Rollout("checkout", stable=STABLE, canary=CANARY, paths=("/checkout",))
SITE = Rollout("site", stable="blue", canary="green")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass
class Sdk:
    """The user's SDK, exporting into memory."""

    processor: SpanProcessor | None = field(default_factory=CanarySpanProcessor)

    def __post_init__(self) -> None:
        self.kept: list[Canary] = []
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        if self.processor is not None:
            self.tracers.add_span_processor(self.processor)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("app")

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def servers(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.kind is SpanKind.SERVER]

    def server(self) -> ReadableSpan:
        (span,) = self.servers()
        return span

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans() if span.name == name]
        return span

    def points(self, name: str) -> list[NumberDataPoint | HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint | HistogramDataPoint)
        ]

    def numbers(self, name: str) -> dict[tuple[object, ...], float]:
        """Values of a counter or gauge by its labels' values."""
        return {
            tuple((point.attributes or {}).values()): point.value
            for point in self.points(name)
            if isinstance(point, NumberDataPoint)
        }

    def counts(self, name: str) -> dict[object, int]:
        """Observations of a histogram by version."""
        return {
            (point.attributes or {})["canary.version"]: point.count
            for point in self.points(name)
            if isinstance(point, HistogramDataPoint)
        }

    def series(self) -> set[tuple[object, ...]]:
        """Every series of every metric of ours."""
        data = self.reader.get_metrics_data()
        return {
            (metric.name, *sorted((point.attributes or {}).items()))
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            if scope.scope.name == "canary_middleware"
            for metric in scope.metrics
            for point in metric.data.data_points
        }


def canary(
    sdk: Sdk,
    *rollouts: Rollout,
    weight: str | None = "100%",
    telemetry: Telemetry | None = None,
    **how: Any,
) -> Canary:
    """A canary, on ``memory://`` unless told otherwise, that reports to ``sdk``."""
    telemetry = telemetry or Telemetry(sdk.tracers, sdk.meters)
    rollouts = rollouts or (CHECKOUT,)
    made = Canary(*rollouts, secret_keys=[KEY], autostart=weight, telemetry=telemetry, **how)
    # A meter holds engines weakly, and a test often keeps no more than the response: without
    # this the garbage collector may take the numbers away between two looks at them.
    sdk.kept.append(made)
    return made


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    return dict(span.attributes or {})


def expected(version: str, reason: str, rollout: str, revision: str) -> dict[str, object]:
    """What DESIGN section 8 wants on a span, spelled out here independently of names.py."""
    words = {"weight": "split", "error": "error", "kill_switch": "disabled"}
    cohort = "canary" if version in {CANARY, "green"} else "stable"
    return {
        "feature_flag.key": rollout,
        "feature_flag.result.variant": cohort,
        "feature_flag.result.reason": words[reason],
        "feature_flag.provider.name": "canary_middleware",
        "feature_flag.version": revision,
        "canary.version": version,
        "canary.cohort": cohort,
        "canary.reason": reason,
    }


def tagged(
    span: ReadableSpan,
    version: str,
    reason: str = "weight",
    rollout: str = "checkout",
    revision: str = "1",
) -> None:
    found = attributes(span)
    wanted = expected(version, reason, rollout, revision)
    assert {key: found.get(key) for key in wanted} == wanted, span.name


# --- ASGI ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def http_scope(path: str, method: str, headers: Mapping[str, str], query: str = "") -> Scope:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "client": ("203.0.113.7", 4711), "server": ("shop.example", 80),
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {"host": "shop.example", **headers}.items()
        ],
    }  # fmt: skip


async def ask(
    app: App, path: str = "/checkout", *, method: str = "GET", query: str = "", **headers: str
) -> Response:
    """One request; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(http_scope(path, method, named, query), receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    return Response(
        start["status"],
        [(name.decode(), value.decode()) for name, value in start["headers"]],
        b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body"),
    )


def get(app: App, path: str = "/checkout", **how: str) -> Response:
    """One request in a context of its own, as servers do it."""
    return contextvars.copy_context().run(lambda: asyncio.run(ask(app, path, **how)))


def converse(
    app: App, path: str = "/checkout", messages: Sequence[str] = ("hello",)
) -> list[Message]:
    """One WebSocket: connect, say everything, leave."""
    sent: list[Message] = []
    incoming: list[Message] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in messages),
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def talk() -> None:
        async def receive() -> Message:
            return incoming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            **http_scope(path, "GET", {}),
            "type": "websocket",
            "scheme": "ws",
            "subprotocols": [],
        }
        del scope["method"]
        await app(scope, receive, send)

    contextvars.copy_context().run(lambda: asyncio.run(talk()))
    return sent


# --- WSGI ---------------------------------------------------------------------------------------


def call(app: WsgiApp, path: str = "/checkout", *, method: str = "GET", **headers: str) -> Response:
    """One request, read to its end and closed."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_NAME": "shop.example", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.multithread": True,
        "wsgi.multiprocess": True, "wsgi.run_once": False,
        **{"HTTP_" + name.upper(): value for name, value in headers.items()},
    }  # fmt: skip
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        started.append((status, headers))
        return lambda _: None

    body = app(environ, start)
    try:
        content = b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    status, found = started[-1]
    return Response(int(status[:3]), found, content)
