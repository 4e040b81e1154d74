"""What both shops share: rollouts in one namespace, telemetry, and stamps on every answer.

The shops run on one host, so a visitor's browser sends both the same cookie. They share namespace
and keys: whoever is on a canary in one shop is on it in the other, ASGI or WSGI.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import get_current_span

from canary_middleware import Canary, Rollout
from canary_middleware.demo.pages import page
from canary_middleware.demo.releases import rollouts
from canary_middleware.demo.scraped import Scraped
from canary_middleware.demo.words import (
    DISPATCHED,
    HEARD,
    VISITOR,
    VISITOR_OF_SPAN,
    WORKER,
)
from canary_middleware.telemetry import Telemetry
from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.wsgi import WsgiUpstream

KEY: Final = "CANARY_DEMO_KEY"
PACE: Final = "CANARY_DEMO_PACE"
NEIGHBOUR: Final = "CANARY_DEMO_NEIGHBOUR"
SEARCH_URL: Final = "CANARY_DEMO_SEARCH"
TARGETS: Final = "CANARY_DEMO_TARGETS"
"""Variables; the last two say where the new search is, and how files that tell Prometheus of a
process begin.
"""


class Shop:
    """One worker's canary and OpenTelemetry SDK.

    Args:
        kind: of shop.
        change: what it does differently with a rollout, for shops that are deliberately broken.

    Attributes:
        canary: the facade.
        heard: monotonic seconds at which this process last heard of a kill; ``None`` if never.
    """

    def __init__(self, kind: str, change: Callable[[Rollout], Rollout] = lambda it: it) -> None:
        self.kind = kind
        self.heard: float | None = None
        resource = Resource.create(
            {"service.name": f"demo-{kind}", "service.instance.id": str(uuid4())}
        )
        # Everything arrives within a second, and nothing is dropped at any speed of the crowd.
        spans = BatchSpanProcessor(
            OTLPSpanExporter(), max_queue_size=200_000, schedule_delay_millis=500
        )
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(spans)
        points = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=1000)
        self._scraped = Scraped(os.environ[TARGETS], kind)
        self._meters = MeterProvider(
            [points, self._scraped.reader], resource=resource, shutdown_on_exit=False
        )
        self.canary = Canary(
            *map(change, rollouts(int(os.environ[PACE]))),
            namespace=os.environ["CANARY_NAMESPACE"],
            store=os.environ["CANARY_STORE"],
            secret_keys=[os.environ[KEY]],
            secure=False,
            telemetry=Telemetry(self._tracers, self._meters, spans="create"),
        )
        self.canary.engine.on_kill(self._hear)

    def _hear(self) -> None:
        self.heard = time.monotonic()

    def flush(self) -> None:
        """Export what is left; nobody can scrape this process from then on."""
        self._scraped.end()
        self._tracers.shutdown()
        self._meters.shutdown()

    def stamps(self, visitor: str | None) -> list[tuple[str, str]]:
        """Headers that say who dispatches a request when; called before any version is chosen.

        The span learns the visitor's number here: an application may tag its spans as it likes,
        and the demo wants to count visitors by spans.
        """
        if visitor is not None:
            get_current_span().set_attribute(VISITOR_OF_SPAN, visitor)
        # In this order: if a kill is noted here, the process had heard of it before `dispatched`.
        heard, dispatched = self.heard, time.monotonic()
        stamps = [(WORKER, str(os.getpid())), (DISPATCHED, repr(dispatched))]
        return stamps if heard is None else [*stamps, (HEARD, repr(heard))]

    def page(self, version: str, text: str) -> str:
        """A page that names its version, or none."""
        return page(self.kind, version, text, os.environ.get(NEIGHBOUR, ""))


class AsgiStamps:
    """Puts the stamps on every answer; belongs inside of the canary middleware."""

    def __init__(self, app: Any, shop: Shop) -> None:
        self._app = app
        self._shop = shop

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visitor = dict(scope["headers"]).get(VISITOR.lower().encode())
        stamps = self._shop.stamps(visitor.decode("latin-1") if visitor is not None else None)
        encoded = [(name.lower().encode(), value.encode()) for name, value in stamps]

        async def stamped(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *encoded]
            await send(message)

        await self._app(scope, receive, stamped)


class WsgiStamps:
    """As :class:`AsgiStamps`, for WSGI."""

    def __init__(self, app: Callable[..., Iterable[bytes]], shop: Shop) -> None:
        self._app = app
        self._shop = shop
        self._visitor = f"HTTP_{VISITOR.upper().replace('-', '_')}"

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """One request."""
        stamps = self._shop.stamps(environ.get(self._visitor))

        def stamped(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *stamps], *exc_info)

        return self._app(environ, stamped)


class AsgiSearch(AsgiUpstream):
    """The new search; a target is no part of the application, so it gets stamps of its own."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(os.environ[SEARCH_URL])
        self._stamped = AsgiStamps(super().__call__, shop)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """One connection."""
        await self._stamped(scope, receive, send)


class WsgiSearch(WsgiUpstream):
    """As :class:`AsgiSearch`, for WSGI."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(os.environ[SEARCH_URL])
        self._stamped = WsgiStamps(super().__call__, shop)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """One request."""
        return self._stamped(environ, start_response)
