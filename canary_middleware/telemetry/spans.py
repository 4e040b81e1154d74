"""Telemetry of requests: attributes on the spans that exist, one duration per finished exposure.

With no SDK installed all of it together costs a request well under a microsecond: an empty
OpenTelemetry context holds no span, and instruments without a provider do nothing.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol

from opentelemetry import propagate
from opentelemetry.context import attach, get_current
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_current_span,
    get_tracer,
    get_tracer_provider,
    set_span_in_context,
)

from canary_middleware.core.active import ActiveVisit
from canary_middleware.core.facts import Traced
from canary_middleware.core.model import Assignment, Reason
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.telemetry import names
from canary_middleware.telemetry.carrier import Incoming
from canary_middleware.telemetry.marks import Marks, annotate, tell
from canary_middleware.telemetry.metrics import Published, WatchedEngine, duration_histogram

logger = logging.getLogger("canary_middleware")

Spans = Literal["annotate", "create", "off"]

ABANDONED: Final = (OutcomeClass.RESCUED, OutcomeClass.SUPERSEDED)
METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)


class Request(Protocol):
    """The part of a request that telemetry looks at."""

    @property
    def native(self) -> Mapping[str, Any]:
        """ASGI scope or WSGI environ."""

    @property
    def method(self) -> str:
        """As it was sent."""

    @property
    def scheme(self) -> str:
        """As the server saw it."""


class TracedVisit(ActiveVisit, Protocol):
    """A visit as telemetry needs it; see :class:`canary_middleware.engine.visit.Visit`."""

    span: Any
    leave: Callable[[], object] | None

    @property
    def engine(self) -> WatchedEngine:
        """Whose visit it is."""

    @property
    def spans(self) -> Sequence[Any] | None:
        """Server spans that started inside the request."""

    @property
    def view(self) -> Request:
        """The request."""

    @property
    def status(self) -> int:
        """Of the answer; 0 until it starts."""


class Telemetry:
    """What the middleware tells OpenTelemetry.

    Args:
        tracer_provider: where ``spans="create"`` gets its tracer; the global one by default.
        meter_provider: where instruments come from; the global one by default.
        spans: ``"annotate"`` puts attributes on the spans of your instrumentation; ``"create"``
            opens a server span besides, where there is none; ``"off"`` leaves spans alone.
        duration: record the duration histogram, the only thing measured synchronously.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        spans: Spans = "annotate",
        *,
        duration: bool = True,
    ) -> None:
        provider = meter_provider or get_meter_provider()
        self._mode, self._provider = spans, tracer_provider
        self._marks = spans != "off"
        self._creates = spans == "create"
        self._tracer = get_tracer(names.SCOPE, tracer_provider=tracer_provider)
        self._published = Published(provider)
        self._record = duration_histogram(provider).record if duration else None
        # Plain numbers without a lock: of threads that count at once one may be lost.
        self._requests = self._around = self._inside = self._inner = self._unsampled = 0

    def watch(self, engine: WatchedEngine) -> None:
        """Publish an engine's counts and control state for as long as it lives."""
        self._published.watch(engine)

    def seen(self) -> Traced:
        """What was seen of spans, by requests that a rollout mattered to."""
        provider = type(self._provider or get_tracer_provider()).__name__
        return Traced(
            mode=self._mode,
            # What stands there until somebody sets one.
            provider="" if provider == "ProxyTracerProvider" else provider,
            requests=self._requests,
            around=self._around,
            inside=self._inside,
            inner=self._inner,
            unsampled=self._unsampled,
        )

    # --- what the engine calls ------------------------------------------------------------------

    def describe(self, assignment: Assignment) -> Marks:
        """Everything that will be written about an assignment, built once."""
        return Marks(assignment, spans=self._marks)

    def entered(self, visit: TracedVisit) -> None:
        """Remember the span that a covered request arrived in, or open one."""
        try:
            context = get_current()
            if self._marks and context and (around := get_current_span(context)).is_recording():
                visit.span = around
            elif self._creates:
                self._open(visit)
            elif context and get_current_span(context).get_span_context().is_valid:
                self._unsampled += 1
        except Exception as error:  # noqa: BLE001  # providers and samplers are the user's
            _ignore(visit, error)

    def exposed(self, visit: TracedVisit, assignment: Assignment) -> None:
        """Tag the spans that are open now; the processor tags those that start later."""
        try:
            if self._marks and (visit.span is not None or visit.spans or get_current()):
                self._inner += _tag(visit, assignment)
        except Exception as error:  # noqa: BLE001  # spans and processors are the user's
            _ignore(visit, error)

    def repeated(self, visit: TracedVisit, given: Mapping[str, Assignment]) -> None:
        """A second run begins that will serve ``given``: correct the span around both."""
        try:
            if visit.span is not None and given:
                annotate(visit.span, tuple(given.values()), rescued=visit.rescued)
        except Exception as error:  # noqa: BLE001  # as in exposed()
            _ignore(visit, error)

    def drilled(self, visit: TracedVisit, fault: str) -> None:
        """Say on the spans of this request that what is wrong with it was meant."""
        try:
            if self._marks:
                for span in (visit.span, *(visit.spans or ()), get_current_span()):
                    if span is not None:
                        span.set_attribute(names.DRILL, fault)
        except Exception as error:  # noqa: BLE001  # as in exposed()
            _ignore(visit, error)

    def finished(
        self, visit: TracedVisit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        """Record the duration of each booked exposure; end the span if it is ours."""
        try:
            self._requests += 1
            if visit.span is not None:
                self._around += 1
            elif visit.spans:
                self._inside += 1
            if self._record is not None:
                for assignment in booked:
                    marks = assignment.attributes
                    if isinstance(marks, Marks) and assignment.reason is not Reason.NO_VISITOR:
                        self._record(seconds, marks.labels)
            if kind in ABANDONED:
                if self._marks:
                    _mark_abandoned(visit, kind)
            elif visit.leave is not None:
                _close(visit, kind)
        except Exception as error:  # noqa: BLE001  # views and exporters are the user's
            _ignore(visit, error)

    # --- spans="create" -------------------------------------------------------------------------

    def _open(self, visit: TracedVisit) -> None:
        before = get_current()
        around = get_current_span(before).get_span_context()
        if around.is_valid and not around.is_remote:
            return  # somebody opened a span that is not sampled: a second one would be
        request = visit.view
        method = request.method if request.method in METHODS else names.OTHER
        span = self._tracer.start_span(
            method if method != names.OTHER else "HTTP",
            context=propagate.extract(request.native, context=before, getter=Incoming()),
            kind=SpanKind.SERVER,
            # Neither path nor query: both may hold what identifies a visitor.
            attributes={names.METHOD: method, names.SCHEME: request.scheme},
        )
        visit.span = span
        attach(set_span_in_context(span, before))
        # Not detach(token): a WSGI server may close the answer in another thread, which lacks it.
        visit.leave = partial(attach, before)


def _close(visit: TracedVisit, kind: OutcomeClass) -> None:
    span: Span = visit.span
    if visit.status:
        span.set_attribute(names.STATUS, visit.status)
    error = type(sys.exception()).__qualname__ if kind is OutcomeClass.EXCEPTION else ""
    if visit.status >= 500:
        error = error or str(visit.status)
    if error:
        span.set_attribute(names.ERROR_TYPE, error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _tag(visit: TracedVisit, assignment: Assignment) -> bool:
    """Whether a span further inside was the only one to be tagged, for the first time."""
    exposed = tuple(visit.exposed.values())
    servers = [] if visit.span is None else [visit.span]
    servers += visit.spans or ()
    current = get_current_span()
    for span in servers:
        annotate(span, exposed, rescued=visit.rescued)
        if len(exposed) > 1:  # the second exposure is when the first one becomes one of several
            tell(span, exposed if len(exposed) == 2 else (assignment,))
    if current in servers or not current.is_recording():
        return False
    annotate(current, exposed, rescued=visit.rescued)
    return not servers and len(exposed) == 1


def _mark_abandoned(visit: TracedVisit, kind: OutcomeClass) -> None:
    for span in visit.spans or ():
        span.set_attribute(names.SUPERSEDED, kind.label)


def _ignore(visit: TracedVisit, error: Exception) -> None:
    recorder = visit.engine.recorder
    recorder.count("error_telemetry")
    if recorder.events["error_telemetry"] == 1:
        logger.error("telemetry failed; requests go on without it (logged once)", exc_info=error)
