"""Spans of ASGI applications, for every order in which people add the two middlewares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from fastapi import FastAPI
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from opentelemetry.util.types import AttributeValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from canary_middleware import Canary, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.active import active_visit
from canary_middleware.core.model import Assignment
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.marks import annotate
from canary_middleware.telemetry.processor import CanarySpanProcessor
from canary_middleware.telemetry.spans import TracedVisit
from tests.telemetry.apps import (
    CANARY,
    CHECKOUT,
    SITE,
    STABLE,
    App,
    Receive,
    Scope,
    Sdk,
    Send,
    attributes,
    canary,
    converse,
    get,
    tagged,
)

Build = Callable[[Sdk, Canary, bool], App]


def handlers(sdk: Sdk, version: str | None) -> Starlette:
    """A shop; ``None`` asks for the version, a label is the version (a target)."""

    def serving() -> str:
        return version or current("checkout").version

    async def checkout(request: Request) -> PlainTextResponse:
        with sdk.tracer.start_as_current_span("before"):
            pass
        with sdk.tracer.start_as_current_span("view"):  # an exposure deep inside the application
            found = serving()
        with sdk.tracer.start_as_current_span("database"):
            pass
        return PlainTextResponse(found)

    async def broken(request: Request) -> PlainTextResponse:
        with sdk.tracer.start_as_current_span("database"):
            raise ValueError(serving())

    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        with sdk.tracer.start_as_current_span("database"):
            await socket.send_text(serving())
        await socket.receive_text()
        await socket.close()

    return Starlette(
        routes=[
            Route("/checkout", checkout, methods=["GET", "POST"]),
            Route("/checkout/broken", broken, methods=["GET", "POST"]),
            WebSocketRoute("/checkout/chat", chat),
        ]
    )


def targets(sdk: Sdk, *, targeted: bool) -> dict[str, Starlette]:
    return {"checkout": handlers(sdk, CANARY)} if targeted else {}


def app_of(sdk: Sdk, targeted: bool) -> Starlette:
    return handlers(sdk, STABLE if targeted else None)


def starlette_canary_outside(sdk: Sdk, made: Canary, targeted: bool) -> App:
    app, inner = app_of(sdk, targeted), targets(sdk, targeted=targeted)
    for one in (app, *inner.values()):
        StarletteInstrumentor.instrument_app(one, tracer_provider=sdk.tracers)
    app.add_middleware(CanaryMiddleware, canary=made, targets=inner)
    return app


def starlette_canary_inside(sdk: Sdk, made: Canary, targeted: bool) -> App:
    app = app_of(sdk, targeted)
    app.add_middleware(CanaryMiddleware, canary=made, targets=targets(sdk, targeted=targeted))
    StarletteInstrumentor.instrument_app(app, tracer_provider=sdk.tracers)
    return app


def fastapi(sdk: Sdk, targeted: bool) -> FastAPI:
    app = FastAPI()
    app.mount("", app_of(sdk, targeted))
    return app


def fastapi_instrumented_first(sdk: Sdk, made: Canary, targeted: bool) -> App:
    app = fastapi(sdk, targeted)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=sdk.tracers)
    app.add_middleware(CanaryMiddleware, canary=made, targets=targets(sdk, targeted=targeted))
    return app


def fastapi_instrumented_last(sdk: Sdk, made: Canary, targeted: bool) -> App:
    app = fastapi(sdk, targeted)
    app.add_middleware(CanaryMiddleware, canary=made, targets=targets(sdk, targeted=targeted))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=sdk.tracers)
    return app


def wrapped_canary_outside(sdk: Sdk, made: Canary, targeted: bool) -> App:
    def instrumented(app: App) -> App:
        wrapped: App = OpenTelemetryMiddleware(app, tracer_provider=sdk.tracers)
        return wrapped

    inner = {name: instrumented(app) for name, app in targets(sdk, targeted=targeted).items()}
    return CanaryMiddleware(instrumented(app_of(sdk, targeted)), canary=made, targets=inner)


def wrapped_canary_inside(sdk: Sdk, made: Canary, targeted: bool) -> App:
    inner = CanaryMiddleware(
        app_of(sdk, targeted), canary=made, targets=targets(sdk, targeted=targeted)
    )
    wrapped: App = OpenTelemetryMiddleware(inner, tracer_provider=sdk.tracers)
    return wrapped


ORDERS: list[Build] = [
    starlette_canary_outside,
    starlette_canary_inside,
    fastapi_instrumented_first,
    fastapi_instrumented_last,
    wrapped_canary_outside,
    wrapped_canary_inside,
]
every_order = pytest.mark.parametrize("build", ORDERS, ids=lambda build: build.__name__)
both_ways = pytest.mark.parametrize("targeted", [False, True], ids=["current", "target"])
both_weights = pytest.mark.parametrize("weight", ["0%", "100%"])


def served(weight: str) -> str:
    return CANARY if weight == "100%" else STABLE


def sees_the_version(
    build: Build, targeted: bool, weight: str, processor: SpanProcessor | None
) -> None:
    sdk = Sdk(processor)
    version = served(weight)
    app = build(sdk, canary(sdk, weight=weight), targeted)
    assert get(app).text == version
    tagged(sdk.server(), version)
    tagged(sdk.named("database"), version)
    assert "canary.rescued" not in attributes(sdk.server())


@every_order
@both_ways
@both_weights
def test_the_server_span_and_its_children_say_which_version_answered(
    build: Build, targeted: bool, weight: str
) -> None:
    sees_the_version(build, targeted, weight, CanarySpanProcessor())


class OnlyWhatIsOpen(SpanProcessor):
    """Broken: nothing happens to spans that start inside, as with a middleware alone."""


class ForgetsServerSpans(CanarySpanProcessor):
    """Broken: tags what starts after an exposure, remembers nothing for a later one."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        visit = active_visit.get()
        if visit is not None and visit.exposed:
            super().on_start(span, parent_context)


@pytest.mark.parametrize(
    ("broken", "build", "targeted"),
    [
        (OnlyWhatIsOpen, starlette_canary_inside, False),
        (OnlyWhatIsOpen, wrapped_canary_outside, True),
        (ForgetsServerSpans, starlette_canary_outside, False),
        (ForgetsServerSpans, wrapped_canary_outside, False),
    ],
)
def test_broken_processors_are_noticed(
    broken: type[SpanProcessor], build: Build, targeted: bool
) -> None:
    with pytest.raises(AssertionError):
        sees_the_version(build, targeted, "100%", broken())


def test_spans_from_before_the_exposure_keep_quiet(sdk: Sdk) -> None:
    get(starlette_canary_inside(sdk, canary(sdk), False))
    assert attributes(sdk.named("before")) == {}


@every_order
@both_ways
def test_an_exception_leaves_the_version_on_the_span(
    sdk: Sdk, build: Build, targeted: bool
) -> None:
    app = build(sdk, canary(sdk), targeted)
    with pytest.raises(ValueError, match=CANARY):
        get(app, "/checkout/broken", method="POST")  # a POST is not rescued
    tagged(sdk.server(), CANARY)
    tagged(sdk.named("database"), CANARY)


class ForgetsAtTheEnd(Telemetry):
    """Broken: writes at the end of the request, when a span inside has ended already."""

    def exposed(self, visit: TracedVisit, assignment: Assignment) -> None:
        pass

    def finished(
        self, visit: TracedVisit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        super().finished(visit, booked, kind, seconds)
        for span in visit.spans or ():
            if span.is_recording():
                annotate(span, tuple(visit.exposed.values()), rescued=visit.rescued)


def test_writing_at_the_end_is_too_late_for_exceptions(sdk: Sdk) -> None:
    late = ForgetsAtTheEnd(sdk.tracers, sdk.meters)
    app = starlette_canary_outside(sdk, canary(sdk, telemetry=late), False)
    with pytest.raises(ValueError, match=CANARY):
        get(app, "/checkout/broken", method="POST")
    with pytest.raises(AssertionError):
        tagged(sdk.server(), CANARY)


@every_order
@both_ways
@both_weights
def test_a_websocket_carries_the_version(
    sdk: Sdk, build: Build, targeted: bool, weight: str
) -> None:
    messages = converse(build(sdk, canary(sdk, weight=weight), targeted), "/checkout/chat")
    assert [m["text"] for m in messages if m["type"] == "websocket.send"] == [served(weight)]
    tagged(sdk.server(), served(weight))
    tagged(sdk.named("database"), served(weight))


def test_a_request_outside_of_every_scope_is_left_alone(sdk: Sdk) -> None:
    get(starlette_canary_inside(sdk, canary(sdk), False), "/elsewhere")
    assert not [key for key in attributes(sdk.server()) if key.startswith(("canary", "feature"))]


def test_spans_off_leaves_spans_alone_and_measures(sdk: Sdk) -> None:
    telemetry = Telemetry(sdk.tracers, sdk.meters, spans="off")
    get(starlette_canary_outside(sdk, canary(sdk, SITE, CHECKOUT, telemetry=telemetry), False))
    for span in sdk.spans():
        assert not [key for key in attributes(span) if key.startswith(("canary", "feature"))]
        assert not span.events
    assert sdk.counts("canary.request.duration") == {CANARY: 1}


class Explosive(NonRecordingSpan):
    """A span of somebody else's SDK that breaks."""

    def __init__(self) -> None:
        super().__init__(SpanContext(1, 1, is_remote=False))

    def is_recording(self) -> bool:
        return True

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        raise RuntimeError(f"no room for {attributes}")


def test_a_failing_span_never_reaches_the_visitor(
    sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    made = canary(sdk)
    app = CanaryMiddleware(handlers(sdk, None), canary=made)

    async def under_a_broken_span(scope: Scope, receive: Receive, send: Send) -> None:
        with use_span(Explosive()):
            await app(scope, receive, send)

    for _ in range(2):
        assert get(under_a_broken_span).text == CANARY
    assert made.engine.recorder.events["error_telemetry"] == 2
    assert len([r for r in caplog.records if "telemetry failed" in r.message]) == 1
