"""Spans of Flask and of plain WSGI, for every order in which people wrap the application."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from canary_middleware import Canary, current
from canary_middleware.core.active import active_visit
from canary_middleware.telemetry.marks import annotate
from canary_middleware.telemetry.processor import CanarySpanProcessor
from canary_middleware.wsgi import CanaryMiddleware
from tests.telemetry.apps import (
    CANARY,
    STABLE,
    Sdk,
    StartResponse,
    WsgiApp,
    attributes,
    call,
    canary,
    tagged,
)

Build = Callable[[Sdk, Canary, bool], WsgiApp]


def shop(sdk: Sdk, version: str | None) -> Flask:
    app = Flask(__name__)

    def serving() -> str:
        return version or current("checkout").version

    @app.route("/checkout", methods=["GET", "POST"])
    def checkout() -> str:
        with sdk.tracer.start_as_current_span("view"):  # an exposure deep inside the application
            found = serving()
        with sdk.tracer.start_as_current_span("database"):
            return found

    @app.post("/checkout/broken")
    def broken() -> str:
        with sdk.tracer.start_as_current_span("database"):
            raise ValueError(serving())

    @app.get("/checkout/stream")
    def stream() -> Iterator[str]:
        found = serving()

        def items() -> Iterator[str]:
            yield found
            with sdk.tracer.start_as_current_span("database"):
                yield "!"

        return items()

    return app


def instrument(app: Flask, sdk: Sdk) -> None:
    instrumentor: Any = FlaskInstrumentor()  # its methods have no types
    instrumentor.instrument_app(app, tracer_provider=sdk.tracers)


def flask_instrumented_first(sdk: Sdk, made: Canary, targeted: bool) -> WsgiApp:
    app, inner = shop(sdk, STABLE if targeted else None), shop(sdk, CANARY)
    for one in (app, inner):
        instrument(one, sdk)
    targets = {"checkout": inner.wsgi_app} if targeted else {}
    return CanaryMiddleware(app.wsgi_app, canary=made, targets=targets)


def flask_instrumented_last(sdk: Sdk, made: Canary, targeted: bool) -> WsgiApp:
    app, inner = shop(sdk, STABLE if targeted else None), shop(sdk, CANARY)
    targets = {"checkout": inner} if targeted else {}
    wrapped = CanaryMiddleware(app.wsgi_app, canary=made, targets=targets)
    app.wsgi_app = wrapped  # type: ignore[method-assign]  # what Flask's documentation says to do
    for one in (app, inner):
        instrument(one, sdk)
    return app


def wrapped_canary_outside(sdk: Sdk, made: Canary, targeted: bool) -> WsgiApp:
    def instrumented(app: WsgiApp) -> WsgiApp:
        wrapped: WsgiApp = OpenTelemetryMiddleware(app, tracer_provider=sdk.tracers)
        return wrapped

    targets = {"checkout": instrumented(shop(sdk, CANARY))} if targeted else {}
    app = instrumented(shop(sdk, STABLE if targeted else None))
    return CanaryMiddleware(app, canary=made, targets=targets)


def wrapped_canary_inside(sdk: Sdk, made: Canary, targeted: bool) -> WsgiApp:
    targets = {"checkout": shop(sdk, CANARY)} if targeted else {}
    inner = CanaryMiddleware(shop(sdk, STABLE if targeted else None), canary=made, targets=targets)
    wrapped: WsgiApp = OpenTelemetryMiddleware(inner, tracer_provider=sdk.tracers)
    return wrapped


ORDERS: list[Build] = [
    flask_instrumented_first,
    flask_instrumented_last,
    wrapped_canary_outside,
    wrapped_canary_inside,
]
every_order = pytest.mark.parametrize("build", ORDERS, ids=lambda build: build.__name__)
both_ways = pytest.mark.parametrize("targeted", [False, True], ids=["current", "target"])


def sees_the_version(sdk: Sdk, build: Build, targeted: bool, version: str) -> None:
    weight = "100%" if version == CANARY else "0%"
    assert call(build(sdk, canary(sdk, weight=weight), targeted)).text == version
    tagged(sdk.server(), version)
    tagged(sdk.named("database"), version)


@every_order
@both_ways
@pytest.mark.parametrize("version", [STABLE, CANARY])
def test_the_server_span_and_its_children_say_which_version_answered(
    sdk: Sdk, build: Build, targeted: bool, version: str
) -> None:
    sees_the_version(sdk, build, targeted, version)


@pytest.mark.parametrize("build", [flask_instrumented_first, flask_instrumented_last])
def test_without_the_processor_flask_hides_its_span(build: Build) -> None:
    with pytest.raises(AssertionError):
        sees_the_version(Sdk(processor=None), build, True, CANARY)


@every_order
@both_ways
def test_an_exception_leaves_the_version_on_the_span(
    sdk: Sdk, build: Build, targeted: bool
) -> None:
    app = build(sdk, canary(sdk), targeted)
    assert call(app, "/checkout/broken", method="POST").status == 500
    tagged(sdk.server(), CANARY)
    tagged(sdk.named("database"), CANARY)


@every_order
def test_spans_of_a_streamed_body_carry_the_version(sdk: Sdk, build: Build) -> None:
    assert call(build(sdk, canary(sdk), False), "/checkout/stream").text == CANARY + "!"
    tagged(sdk.named("database"), CANARY)


class SeesGhosts(CanarySpanProcessor):
    """Broken: believes every visit that the context variable points to."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        super().on_start(span, parent_context)
        visit = active_visit.get()
        if visit is not None and visit.exposed:
            annotate(span, tuple(visit.exposed.values()), rescued=False)


def tells_two_requests_of_a_thread_apart(processor: CanarySpanProcessor) -> None:
    sdk = Sdk(processor)
    made = canary(sdk)
    inner = CanaryMiddleware(shop(sdk, None), canary=made)
    app: WsgiApp = OpenTelemetryMiddleware(inner, tracer_provider=sdk.tracers)
    call(closed_without_resetting(inner))
    sdk.exporter.clear()
    call(app, "/elsewhere")
    assert "canary.version" not in attributes(sdk.server())


def closed_without_resetting(app: WsgiApp) -> WsgiApp:
    """As a server does that closes the answer in another thread: our context stays as it was."""

    def server(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        body = app(environ, start)
        left = contextvars.copy_context()
        content = left.run(lambda: list(body))
        left.run(getattr(body, "close", lambda: None))
        return content

    return server


def alone(check: Callable[[CanarySpanProcessor], None], processor: CanarySpanProcessor) -> None:
    """What is left behind must not reach the next test either."""
    contextvars.copy_context().run(check, processor)


def test_a_visit_that_was_left_behind_marks_nobody_else() -> None:
    alone(tells_two_requests_of_a_thread_apart, CanarySpanProcessor())


def test_a_processor_that_sees_ghosts_is_noticed() -> None:
    with pytest.raises(AssertionError):
        alone(tells_two_requests_of_a_thread_apart, SeesGhosts())
