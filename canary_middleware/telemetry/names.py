"""Every name that telemetry uses, with what it means; the source of docs/reference/metrics.md.

``feature_flag.*`` follows the semantic conventions of OpenTelemetry
(https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/, status "release
candidate" for the attributes used here); ``canary.*`` is our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from canary_middleware.core.drill import Fault
from canary_middleware.core.model import Reason
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import Phase

SCOPE: Final = "canary_middleware"
"""Name of our tracer and meter, and of the "provider" of the flags."""

FLAG_KEY: Final = "feature_flag.key"
FLAG_VARIANT: Final = "feature_flag.result.variant"
FLAG_REASON: Final = "feature_flag.result.reason"
FLAG_PROVIDER: Final = "feature_flag.provider.name"
FLAG_VERSION: Final = "feature_flag.version"
FLAG_EVENT: Final = "feature_flag.evaluation"

VERSION: Final = "canary.version"
COHORT: Final = "canary.cohort"
REASON: Final = "canary.reason"
RESCUED: Final = "canary.rescued"
SUPERSEDED: Final = "canary.superseded"
ROLLOUT: Final = "canary.rollout"
OUTCOME: Final = "canary.outcome"
DRILL: Final = "canary.drill"
PHASE: Final = "canary.phase"
EVENT: Final = "canary.event"
GUARD: Final = "canary.guard"
NAMESPACE: Final = "canary.namespace"

ERROR_TYPE: Final = "error.type"
METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
SCHEME: Final = "url.scheme"

LOG_ROLLOUT: Final = "canary_rollout"
LOG_VERSION: Final = "canary_version"
LOG_COHORT: Final = "canary_cohort"

OTHER: Final = "_OTHER"
"""What the conventions write for a value outside of a known set."""


def version_of(rollout: str) -> str:
    """The attribute that holds the version of one of several exposed rollouts."""
    return f"canary.{rollout}.version"


WELL_KNOWN: Final[Mapping[Reason, str]] = {
    Reason.NO_REQUEST: "default",
    Reason.OUT_OF_SCOPE: "default",
    Reason.KILL_SWITCH: "disabled",
    Reason.STALE_CONTROL: "stale",
    Reason.ERROR: "error",
    Reason.OTHER_RELEASE: "default",
    Reason.NOT_READY: "default",
    Reason.IDLE: "disabled",
    Reason.ROLLED_BACK: "disabled",
    Reason.DENIED: "targeting_match",
    Reason.OVERRIDE: "targeting_match",
    Reason.TESTER: "targeting_match",
    Reason.UPSTREAM: "targeting_match",
    Reason.PIN: "cached",
    Reason.NO_VISITOR: "default",
    Reason.WEIGHT: "split",
}
"""Our reasons in the words of the conventions; ``canary.reason`` keeps the exact one."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, with what it holds."""

    name: str
    values: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument, with the attributes of its points."""

    name: str
    kind: Literal["histogram", "counter", "up-down counter", "gauge"]
    unit: str
    labels: tuple[str, ...]
    meaning: str


_DRILLS: Final = ", ".join(f"`{fault}`" for fault in Fault)
SPAN_ATTRIBUTES: Final = (
    Attribute(FLAG_KEY, "name of the rollout", "which rollout the other attributes are about"),
    Attribute(FLAG_VARIANT, "`stable`, `canary`", "the cohort, as a variant"),
    Attribute(
        FLAG_REASON,
        ", ".join(f"`{word}`" for word in sorted(set(WELL_KNOWN.values()))),
        "the reason in the words of the conventions",
    ),
    Attribute(FLAG_PROVIDER, f"`{SCOPE}`", "who decided"),
    Attribute(FLAG_VERSION, "`7`", "revision of the control state that set the weight in force"),
    Attribute(VERSION, "`1.5.0`", "label of the version that served"),
    Attribute(COHORT, "`stable`, `canary`", "the side that it is on"),
    Attribute(REASON, ", ".join(f"`{reason.value}`" for reason in Reason), "the exact reason"),
    Attribute(RESCUED, "`true`", "the canary failed and stable answered; absent otherwise"),
    Attribute(
        SUPERSEDED,
        f"`{OutcomeClass.RESCUED.label}`, `{OutcomeClass.SUPERSEDED.label}`",
        "on a server span inside of the middleware: its answer was abandoned, nobody saw it",
    ),
    Attribute(DRILL, _DRILLS, "what a drill injected into the answer; absent otherwise"),
    Attribute(version_of("<rollout>"), "`1.5.0`", "one per rollout where several were exposed"),
)

CREATED_ATTRIBUTES: Final = (
    Attribute(METHOD, "`GET`, ..., `_OTHER`", "the method, if it is a known one"),
    Attribute(SCHEME, "`http`, `https`, `ws`, `wss`", "as the server saw it"),
    Attribute(STATUS, "`200`", "absent if no answer started"),
    Attribute(ERROR_TYPE, "`500`, `ValueError`", "the status from 500 on, or the class raised"),
)

LOG_FIELDS: Final = (
    Attribute(LOG_ROLLOUT, "name of the rollout", f"as `{FLAG_KEY}`; `-` where none is exposed"),
    Attribute(LOG_VERSION, "`1.5.0`", f"as `{VERSION}`"),
    Attribute(LOG_COHORT, "`stable`, `canary`", f"as `{COHORT}`"),
)

SERIES: Final = (ROLLOUT, VERSION, COHORT)

DURATION: Final = Metric(
    "canary.request.duration", "histogram", "s", SERIES,
    "Duration of finished exposures, with the boundaries of http.server.request.duration.",
)  # fmt: skip
REQUESTS: Final = Metric(
    "canary.requests", "counter", "{request}", (*SERIES, OUTCOME),
    "Finished exposures by outcome.",
)  # fmt: skip
IN_FLIGHT: Final = Metric(
    "canary.requests.in_flight", "up-down counter", "{request}", SERIES,
    "Exposures that have not ended.",
)  # fmt: skip
WEIGHT: Final = Metric(
    "canary.weight", "gauge", "%", SERIES,
    "Share of visitors that the control state puts on the canary; a kill outranks it.",
)  # fmt: skip
PHASES: Final = Metric(
    "canary.phase", "gauge", "1", (ROLLOUT, PHASE),
    "1 for the phase that this process's release is in, 0 for the others.",
)  # fmt: skip
KILL: Final = Metric("canary.kill", "gauge", "1", (ROLLOUT,), "1 while a kill is in force, else 0.")
STALENESS: Final = Metric(
    "canary.control.staleness", "gauge", "s", (),
    "Age of the last confirmation of the control state; absent until there is one.",
)  # fmt: skip
REVISION: Final = Metric(
    "canary.control.revision", "gauge", "{revision}", (),
    "Revision of the control state in force; 0 while none was seen.",
)  # fmt: skip
EVENTS: Final = Metric(
    "canary.events", "counter", "{event}", (EVENT,),
    "Rare things: rescues, refused cookies, late exposures, errors of hooks and of the store.",
)  # fmt: skip

EVIDENCE: Final = Metric(
    "canary.guard.evidence", "gauge", "1", (ROLLOUT, VERSION, GUARD),
    "Evidence that the canary is worse, as a part of what rolls back (1): its log e-value by all "
    "processes, below 0 for the contrary. Told by the processes that judge.",
)  # fmt: skip
PROOF: Final = Metric(
    "canary.guard.proof", "gauge", "1", (ROLLOUT, VERSION, GUARD),
    "Evidence that the canary is at most a margin worse, as a part of what a promotion needs (1).",
)  # fmt: skip

METRICS: Final = (
    DURATION, REQUESTS, IN_FLIGHT, WEIGHT, PHASES, KILL, STALENESS, REVISION, EVENTS, EVIDENCE,
    PROOF,
)  # fmt: skip

LABELS: Final = (
    Attribute(ROLLOUT, "name of the rollout", "from the configuration"),
    Attribute(VERSION, "`1.5.0`", "from the configuration"),
    Attribute(COHORT, "`stable`, `canary`", "the side that the version is on"),
    Attribute(OUTCOME, ", ".join(f"`{kind.label}`" for kind in OutcomeClass), "how it ended"),
    Attribute(PHASE, ", ".join(f"`{phase.value}`" for phase in Phase), "see states.md"),
    Attribute(GUARD, "`errors`", "name of a guard, from the configuration"),
    Attribute(EVENT, "one of a fixed set of words", "what happened"),
)


def reference() -> str:
    """The tables of docs/reference/metrics.md, in Markdown."""
    return "\n\n".join(
        (
            "### Attributes of spans\n\n" + _attributes(SPAN_ATTRIBUTES),
            '### Attributes of the server span of `spans="create"`\n\n'
            + _attributes(CREATED_ATTRIBUTES),
            "### Reasons\n\n" + _reasons(),
            "### Metrics\n\n" + _metrics(),
            "### Attributes of metric points\n\n" + _attributes(LABELS),
            "### Fields of log records\n\n" + _attributes(LOG_FIELDS),
        )
    )


def _attributes(rows: tuple[Attribute, ...]) -> str:
    cells = [(f"`{row.name}`", row.values, row.meaning) for row in rows]
    return _table(("attribute", "values", "meaning"), cells)


def _reasons() -> str:
    cells = [(f"`{reason.value}`", f"`{word}`") for reason, word in WELL_KNOWN.items()]
    return _table((f"`{REASON}`", f"`{FLAG_REASON}`"), cells)


def _metrics() -> str:
    cells = [
        (f"`{row.name}`", row.kind, f"`{row.unit}`", _code(row.labels), row.meaning)
        for row in METRICS
    ]
    return _table(("metric", "kind", "unit", "attributes", "meaning"), cells)


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "none"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
