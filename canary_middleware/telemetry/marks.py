"""What is written on a span: built once per assignment, put on by whoever holds the span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry.trace import Span

from canary_middleware.core.model import Assignment, Reason
from canary_middleware.telemetry import names


class Marks(dict[str, str | bool]):
    """Span attributes of one assignment, with its metric labels and its event beside them.

    Attributes:
        labels: attributes of its metric points; bounded by configuration.
        event: attributes of its ``feature_flag.evaluation`` event.
    """

    __slots__ = ("event", "labels")

    def __init__(self, assignment: Assignment, *, spans: bool) -> None:
        cohort = assignment.cohort.value
        own: dict[str, str | bool] = {
            names.VERSION: assignment.version,
            names.COHORT: cohort,
            names.REASON: assignment.reason.value,
        }
        flag: dict[str, str | bool] = {
            names.FLAG_KEY: assignment.rollout,
            names.FLAG_VARIANT: cohort,
            names.FLAG_REASON: names.WELL_KNOWN[assignment.reason],
            names.FLAG_PROVIDER: names.SCOPE,
            names.FLAG_VERSION: str(assignment.period),
        }
        super().__init__({**flag, **own} if spans else {})
        self.labels = {
            names.ROLLOUT: assignment.rollout,
            names.VERSION: assignment.version,
            names.COHORT: cohort,
        }
        # On a span error.type would call the request failed; on the event it says why it defaulted.
        failed = assignment.reason is Reason.ERROR
        self.event = {**flag, names.ERROR_TYPE: "general"} if failed else flag


def annotate(span: Span, exposed: Sequence[Assignment], *, rescued: bool) -> None:
    """Put everything that is known so far on a span; doing it again changes nothing.

    The plain attributes are those of the first exposure. A target is exposed by the dispatch,
    before any code of the application runs: where a rollout dispatched, it is the first.
    """
    first = exposed[0].attributes
    if not first:  # spans are off
        return
    span.set_attributes(first)
    if len(exposed) > 1:
        for assignment in exposed:
            span.set_attribute(names.version_of(assignment.rollout), assignment.version)
    if rescued:
        span.set_attribute(names.RESCUED, True)


def tell(span: Span, assignments: Iterable[Assignment]) -> None:
    """One ``feature_flag.evaluation`` event each."""
    for assignment in assignments:
        marks = assignment.attributes
        if isinstance(marks, Marks) and marks:
            span.add_event(names.FLAG_EVENT, marks.event)
