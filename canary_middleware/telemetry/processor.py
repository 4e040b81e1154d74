"""Tags the spans that start inside a request, so that the order of middleware does not matter.

Starlette's and Flask's instrumentation open their server span inside of a middleware that was
added later, where nothing outside can see it; database spans start deep inside the application::

    provider.add_span_processor(CanarySpanProcessor())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from canary_middleware.core.active import active_visit
from canary_middleware.errors import MissingExtraError
from canary_middleware.telemetry.marks import annotate, tell

try:
    from opentelemetry.sdk.trace import SpanProcessor
except ImportError as error:
    raise MissingExtraError("opentelemetry-sdk", "otel") from error

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span


class CanarySpanProcessor(SpanProcessor):
    """Puts the attributes of the active visit on every span that starts in it.

    A server span is remembered besides, for exposures that are still to come.
    """

    def on_start(
        self,
        span: Span,
        parent_context: Context | None = None,  # noqa: ARG002  # the SDK passes it by name
    ) -> None:
        """Called by the SDK in the context in which the span starts."""
        visit = active_visit.get()
        if visit is None:
            return
        serves = span.kind is SpanKind.SERVER
        if serves:
            # A WSGI server that forgot close() left the visit of the thread's previous request.
            if visit.finished:
                return
            visit.tag(span)
        exposed = tuple(visit.exposed.values())
        if exposed:
            annotate(span, exposed, rescued=visit.rescued)
            if serves and len(exposed) > 1:
                tell(span, exposed)
