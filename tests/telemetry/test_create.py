"""``spans="create"``: a server span where nobody else opens one, never a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.context import get_current
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from canary_middleware import current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.spans import TracedVisit
from canary_middleware.wsgi import CanaryMiddleware as WsgiCanary
from tests.telemetry.apps import (
    CANARY,
    STABLE,
    App,
    Receive,
    Scope,
    Sdk,
    Send,
    StartResponse,
    ask,
    attributes,
    call,
    canary,
    converse,
    get,
    tagged,
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def creating(sdk: Sdk) -> Telemetry:
    return Telemetry(sdk.tracers, sdk.meters, spans="create")


def shop(sdk: Sdk, status: int = 200, error: type[Exception] | None = None) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with sdk.tracer.start_as_current_span("database"):
            version = current("checkout").version if scope["path"] != "/checkout/quiet" else ""
        if error is not None:
            raise error("alice@example.com")
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": version.encode()})
        with sdk.tracer.start_as_current_span("background"):
            pass

    return app


def serve(sdk: Sdk, app: App, telemetry: Telemetry | None = None, weight: str = "100%") -> App:
    made = canary(sdk, weight=weight, telemetry=telemetry or creating(sdk))
    return CanaryMiddleware(app, canary=made)


def test_the_span_joins_the_trace_that_came_in_and_is_the_parent_of_everything_inside(
    sdk: Sdk,
) -> None:
    response = get(serve(sdk, shop(sdk)), traceparent=PARENT)
    span = sdk.server()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.name == "GET"
    tagged(span, CANARY)
    found = attributes(span)
    assert (found["http.request.method"], found["http.response.status_code"]) == ("GET", 200)
    assert found["url.scheme"] == "http"
    for name in ("database", "background"):
        parent = sdk.named(name).parent
        assert parent is not None
        assert parent.span_id == span.context.span_id
    assert "traceparent" not in dict(response.headers).get("vary", "").lower()


def test_an_answer_of_500_makes_the_span_an_error(sdk: Sdk) -> None:
    get(serve(sdk, shop(sdk, 503)), method="POST")
    assert sdk.server().status.status_code is StatusCode.ERROR
    assert attributes(sdk.server())["http.response.status_code"] == 503
    assert attributes(sdk.server())["error.type"] == "503"


def test_an_exception_makes_the_span_an_error_without_its_message(sdk: Sdk) -> None:
    app = serve(sdk, shop(sdk, error=KeyError))
    with pytest.raises(KeyError):
        get(app, method="POST")
    assert sdk.server().status.status_code is StatusCode.ERROR
    assert attributes(sdk.server())["error.type"] == "KeyError"
    assert "alice" not in sdk.server().to_json()


def test_a_visitor_who_is_exposed_to_nothing_gets_a_span_that_ends(sdk: Sdk) -> None:
    get(serve(sdk, shop(sdk)), "/checkout/quiet")
    assert attributes(sdk.server())["http.response.status_code"] == 200
    assert "canary.version" not in attributes(sdk.server())


def test_unknown_methods_are_not_repeated(sdk: Sdk) -> None:
    get(serve(sdk, shop(sdk)), method="ALICE")
    assert sdk.server().name == "HTTP"
    assert attributes(sdk.server())["http.request.method"] == "_OTHER"


def test_a_websocket_has_one_too(sdk: Sdk) -> None:
    converse(serve(sdk, shop(sdk)))
    tagged(sdk.server(), CANARY)
    assert attributes(sdk.server())["http.response.status_code"] == 101


def test_a_rescued_request_has_one_span_for_both_runs(sdk: Sdk) -> None:
    made = canary(sdk, telemetry=creating(sdk))
    app = CanaryMiddleware(shop(sdk), canary=made, targets={"checkout": shop(sdk, 500)})
    assert get(app).status == 200
    tagged(sdk.server(), STABLE, reason="error")
    assert attributes(sdk.server())["canary.rescued"] is True
    assert attributes(sdk.server())["http.response.status_code"] == 200
    assert sdk.server().status.status_code is StatusCode.UNSET


def opens_no_second_span(telemetry: type[Telemetry]) -> None:
    sdk = Sdk()
    app = serve(sdk, shop(sdk), telemetry(sdk.tracers, sdk.meters, spans="create"))
    wrapped: App = OpenTelemetryMiddleware(app, tracer_provider=sdk.tracers)
    get(wrapped, traceparent=PARENT)
    tagged(sdk.server(), CANARY)


class AlwaysOpens(Telemetry):
    """Broken: does not look whether there is a span already."""

    def entered(self, visit: TracedVisit) -> None:
        self._open(visit)

    def _open(self, visit: TracedVisit) -> None:
        span = self._tracer.start_span("GET", kind=SpanKind.SERVER)
        visit.span, visit.leave = span, lambda: None


def test_there_is_never_a_second_server_span() -> None:
    opens_no_second_span(Telemetry)


def test_a_second_server_span_is_noticed() -> None:
    with pytest.raises(ValueError, match="too many values"):
        opens_no_second_span(AlwaysOpens)


def test_a_request_that_was_not_sampled_stays_so(sdk: Sdk) -> None:
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    wrapped: App = OpenTelemetryMiddleware(serve(sdk, shop(sdk)), tracer_provider=unsampled)
    get(wrapped)
    assert sdk.servers() == []


def test_the_caller_gets_its_own_context_back(sdk: Sdk) -> None:
    app = serve(sdk, shop(sdk))

    async def in_one_task() -> None:
        before = get_current()
        await ask(app)
        assert get_current() == before
        await ask(app)

    asyncio.run(in_one_task())
    assert [span.parent for span in sdk.servers()] == [None, None]


def test_wsgi_spans_last_until_the_body_is_closed(sdk: Sdk) -> None:
    def app(environ: dict[str, Any], start: StartResponse) -> Iterator[bytes]:
        yielded = current("checkout").version.encode()
        start("200 OK", [])
        yield yielded
        with sdk.tracer.start_as_current_span("database"):
            yield b"!"

    served = WsgiCanary(app, canary=canary(sdk, telemetry=creating(sdk)))
    assert call(served, traceparent=PARENT).text == CANARY + "!"
    span = sdk.server()
    tagged(span, CANARY)
    assert span.context is not None
    parent = sdk.named("database").parent
    assert parent is not None
    assert parent.span_id == span.context.span_id
    assert f"{span.context.trace_id:032x}" == TRACE
    assert not get_current_span().is_recording()


def test_a_wsgi_exception_makes_the_span_an_error(sdk: Sdk) -> None:
    def app(environ: dict[str, Any], start: StartResponse) -> list[bytes]:
        raise LookupError(current("checkout").version)

    served = WsgiCanary(app, canary=canary(sdk, telemetry=creating(sdk)))
    with pytest.raises(LookupError):
        call(served, method="POST")
    assert attributes(sdk.server())["error.type"] == "LookupError"
    assert not get_current_span().is_recording()


def test_identity_is_looked_up_inside_the_span(sdk: Sdk) -> None:
    async def who(view: object) -> str:
        with sdk.tracer.start_as_current_span("session"):
            return "alice"

    made = canary(sdk, telemetry=creating(sdk), identify=who, bucket_secret="s" * 32)
    get(CanaryMiddleware(shop(sdk), canary=made))
    assert sdk.named("session").parent is not None
