"""What a query of PromQL names, and what there is to be named: by a real scrape."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import Phase
from canary_middleware.telemetry import names
from canary_middleware.telemetry.metrics import duration_histogram

ROOT = Path(__file__).parents[2]
EVENTS = set(re.findall(r"`([a-z_<>]+)", (ROOT / "docs" / "telemetry.md").read_text()))
"""tests/telemetry/test_names.py holds that page against what is counted."""
VALUES: Mapping[str, set[str]] = {
    "canary_cohort": {cohort.value for cohort in Cohort},
    "canary_outcome": {outcome.label for outcome in OutcomeClass},
    "canary_phase": {phase.value for phase in Phase},
    "canary_event": EVENTS,
}
"""Of labels whose values are ours."""
GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTED = re.compile(r"([a-z_:][\w:]*)\s*\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
OURS = re.compile(r"\b(?:canary_\w+|\w+:\w+(?::\w+)?)\b")
OF_PROMETHEUS = {"job", "instance", "le", "alertname"}


@dataclass
class Named:
    """What a query names: metrics with the labels that they are asked for."""

    metrics: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    values: set[tuple[str, str]] = field(default_factory=set)


def named(query: str) -> Named:
    """Read a query; enough of the language for ours."""
    found = Named()
    for grouped in GROUPED.findall(query):
        found.labels |= {label.strip() for label in grouped.split(",") if label.strip()}
    for _, matchers in SELECTED.findall(query):
        for label, value in MATCHER.findall(matchers):
            found.labels.add(label)
            found.values |= {(label, one) for one in value.split("|")}
    bare = re.sub(r"\{[^}]*\}", "", GROUPED.sub("", TEXT.sub("", query)))
    found.metrics = set(OURS.findall(bare))
    return found


def unknown(query: str, truth: Mapping[str, set[str]]) -> list[str]:
    """Everything in a query that no scrape of ours has; empty is good."""
    found = named(query)
    known = set().union(*truth.values()) | OF_PROMETHEUS
    wrong = [f"no metric {name}" for name in sorted(found.metrics - truth.keys())]
    wrong += [f"no label {label}" for label in sorted(found.labels - known)]
    for label, value in sorted(found.values):
        if label in VALUES and not any(re.fullmatch(value, one) for one in VALUES[label]):
            wrong.append(f"no {label} {value}")
    return wrong


def truth() -> dict[str, set[str]]:
    """Labels by the name of each series that Python's exporter makes of our metrics."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter(names.SCOPE, attributes={names.NAMESPACE: "shop"})
    create = {
        "counter": meter.create_observable_counter,
        "up-down counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }

    def one(labels: tuple[str, ...], options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, dict.fromkeys(labels, "x"))

    for metric in names.METRICS:
        if metric is names.DURATION:
            duration_histogram(provider).record(1.0, dict.fromkeys(metric.labels, "x"))
        else:
            callback = partial(one, metric.labels)
            create[metric.kind](metric.name, [callback], metric.unit, metric.meaning)
    text = generate_latest(REGISTRY).decode()
    provider.shutdown()
    return scraped(text)


def scraped(text: str) -> dict[str, set[str]]:
    """Labels by the name of each series in the answer to a scrape, as far as they are ours."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("canary_") and not sample.name.endswith("_created"):
                found.setdefault(sample.name, set()).update(sample.labels)
    return found
