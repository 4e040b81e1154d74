"""Will spans be tagged? By what each process has seen of them so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from canary_middleware.core.facts import Traced
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding, Kind, Level, named, ok, several
from canary_middleware.doctor.fleet import ENOUGH, Told, told

_ADD: Final = (
    "call provider.add_span_processor(CanarySpanProcessor()) where the provider is made: it tags "
    "spans that begin inside the middleware (docs/telemetry.md)"
)


def check(seen: Examined) -> Iterator[Finding]:
    """All processes, each by its own spans."""
    found: dict[Kind | str, list[Told]] = {}
    for one, facts in told(seen.processes):
        found.setdefault(_judged(facts.traced), []).append((one, facts))
    for kind in (Kind.SPANS_UNTAGGED, Kind.SPANS_UNSAMPLED, Kind.SPANS_INNER):
        if kind in found:
            yield _finding(kind, found.pop(kind))
    for words in sorted(found):
        yield ok(Kind.SPANS_OK, f"{several(len(found[words]))}: {words}")


def _judged(traced: Traced) -> Kind | str:
    """What is wrong, or in words what is not."""
    if traced.mode in ("", "off"):
        return "spans are switched off"
    if not traced.provider:
        return "no OpenTelemetry SDK is set up, so there are no spans"
    tagged = traced.around + traced.inside
    if tagged:
        return "spans are tagged"
    if traced.inner:
        return Kind.SPANS_INNER
    if traced.requests < ENOUGH:
        return f"fewer than {ENOUGH} requests, too few to tell whether spans are tagged"
    return Kind.SPANS_UNSAMPLED if traced.unsampled else Kind.SPANS_UNTAGGED


def _finding(kind: Kind, processes: list[Told]) -> Finding:
    requests = sum(facts.traced.requests for _, facts in processes)
    where = named([one for one, _ in processes])
    if kind is Kind.SPANS_UNSAMPLED:
        return Finding(
            kind,
            Level.NOTE,
            f"of {requests:,} requests none had a span that is recorded",
            "your sampler has dropped those that were seen",
            "nothing, if it samples few; else see OTEL_TRACES_SAMPLER",
            where,
        )
    if kind is Kind.SPANS_INNER:
        return Finding(
            kind,
            Level.NOTE,
            "only the span that is open when a version is read is tagged",
            "instrumentation is inside of the middleware; spans of databases and of what comes "
            "before have no version",
            _ADD,
            where,
        )
    return Finding(
        kind,
        Level.WARNING,
        f"an SDK is set up, and of {requests:,} requests none had a span to tag",
        "either nothing instruments the application, or the instrumentation is inside of the "
        "middleware, where it cannot be seen from outside",
        f'{_ADD}; without instrumentation, Telemetry(spans="create") opens one span per request',
        where,
    )
