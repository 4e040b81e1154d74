"""Who a visitor is never leaves through telemetry: not clear, not encoded, not just hashed."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import baggage
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from canary_middleware import Audience, Rollout, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.model import Assignment
from canary_middleware.engine.views import RequestView
from canary_middleware.telemetry import CanaryFilter, Telemetry, add_canary
from canary_middleware.telemetry.marks import Marks
from canary_middleware.telemetry.spans import Spans, TracedVisit
from tests.telemetry.apps import CANARY, STABLE, App, Receive, Scope, Sdk, Send, canary, get

MAIL = "alice@example.com"
TOKEN = "tok_live_4f9a3b2c1d"
ROLLOUT = Rollout(
    "checkout", stable=STABLE, canary=CANARY, paths=("/checkout",), testers=Audience([MAIL])
)


def forms(secret: str) -> Iterator[str]:
    """What a secret looks like once somebody was careless with it."""
    raw = secret.encode()
    yield secret
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    yield raw.hex()
    yield secret.replace("@", "%40")
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, raw)
        yield digest.hexdigest()
        yield digest.hexdigest()[:16]
        yield base64.b64encode(digest.digest()).decode().rstrip("=")


def who(view: RequestView) -> str | None:
    """The user behind a bearer token."""
    return MAIL if view.header("authorization") == f"Bearer {TOKEN}" else None


class Everything(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.said: list[str] = []
        self.addFilter(CanaryFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(repr(vars(record)))


def app_that_tells(sdk: Sdk, told: list[str]) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        version = current("checkout").version
        with sdk.tracer.start_as_current_span("database"):
            logging.getLogger("shop").info("served")
            told.append(repr(add_canary(None, "info", {})))
            told.append(repr(baggage.get_all()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": version.encode()})

    return app


def everything_said(telemetry: type[Telemetry], spans: Spans) -> str:
    """All spans, metrics, log records and baggage of some requests by one known visitor."""
    sdk, handler = Sdk(), Everything()
    told: list[str] = []
    made = canary(
        sdk, ROLLOUT, weight="50%", identify=who, bucket_secret="s" * 32,
        telemetry=telemetry(sdk.tracers, sdk.meters, spans=spans),
    )  # fmt: skip
    app: App = CanaryMiddleware(app_that_tells(sdk, told), canary=made)
    if spans == "annotate":
        app = OpenTelemetryMiddleware(app, tracer_provider=sdk.tracers)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        response = get(app, authorization=f"Bearer {TOKEN}")
        cookie = dict(response.headers).get("set-cookie", "").partition(";")[0]
        get(app, authorization=f"Bearer {TOKEN}", cookie=cookie)
        get(app, authorization=f"Bearer {TOKEN}", cookie=cookie[:-4] + "AAAA")
        metrics = sdk.reader.get_metrics_data()
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert response.text == CANARY
    assert len(sdk.servers()) == 3
    assert metrics is not None
    exported = [span.to_json() for span in sdk.spans()]
    return "\n".join([*exported, metrics.to_json(), *handler.said, *told])


def names_nobody(telemetry: type[Telemetry], spans: Spans) -> None:
    said = everything_said(telemetry, spans)
    assert json.dumps("checkout") in said  # it did export something
    for secret in (MAIL, TOKEN):
        for form in forms(secret):
            assert form not in said


class Hashes(Telemetry):
    """Broken: puts a plain hash of the user on the spans."""

    def exposed(self, visit: TracedVisit, assignment: Assignment) -> None:
        super().exposed(visit, assignment)
        visit.span.set_attribute("user.hash", hashlib.sha256(MAIL.encode()).hexdigest())


class RepeatsHeaders(Telemetry):
    """Broken: counts by something that the request said."""

    def describe(self, assignment: Assignment) -> Marks:
        marks = super().describe(assignment)
        marks.labels["key"] = base64.b64encode(TOKEN.encode()).decode()
        return marks


@pytest.mark.parametrize("spans", ["annotate", "create"])
def test_telemetry_names_nobody(spans: Spans) -> None:
    names_nobody(Telemetry, spans)


@pytest.mark.parametrize("broken", [Hashes, RepeatsHeaders])
def test_telemetry_that_names_somebody_is_noticed(broken: type[Telemetry]) -> None:
    with pytest.raises(AssertionError):
        names_nobody(broken, "annotate")


def test_the_query_and_the_path_stay_out_of_a_span_that_we_open(sdk: Sdk) -> None:
    telemetry = Telemetry(sdk.tracers, sdk.meters, spans="create")
    made = canary(sdk, telemetry=telemetry)
    get(CanaryMiddleware(app_that_tells(sdk, []), canary=made), f"/checkout/{MAIL}", query=TOKEN)
    assert MAIL not in sdk.server().to_json()
    assert TOKEN not in sdk.server().to_json()


def test_the_anonymous_id_stays_in_the_cookie(sdk: Sdk) -> None:
    told: list[str] = []
    made = canary(sdk, weight="50%")
    app: App = OpenTelemetryMiddleware(
        CanaryMiddleware(app_that_tells(sdk, told), canary=made), tracer_provider=sdk.tracers
    )
    cookie = dict(get(app).headers)["set-cookie"].partition(";")[0]
    get(app, cookie=cookie)
    metrics = sdk.reader.get_metrics_data()
    assert metrics is not None
    said = "\n".join([*(span.to_json() for span in sdk.spans()), metrics.to_json(), *told])
    secrets = [part for part in cookie.partition("=")[2].split(".") if len(part) >= 12]
    assert len(secrets) == 2  # the id and the signature
    assert not [part for part in secrets if part in said]
