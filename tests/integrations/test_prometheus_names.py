"""What the checks of queries find out, without any Prometheus."""

from __future__ import annotations

import pytest

from canary_middleware.telemetry import names
from tests.integrations.promql import named, truth, unknown


def test_a_scrape_has_every_metric_with_its_labels() -> None:
    there = truth()
    assert len([name for name in there if not name.endswith(("_bucket", "_sum"))]) == len(
        names.METRICS
    )
    for name, labels in {
        "canary_requests_total": names.REQUESTS.labels,
        "canary_request_duration_seconds_bucket": names.DURATION.labels,
        "canary_weight_percent": names.WEIGHT.labels,
        "canary_control_staleness_seconds": names.STALENESS.labels,
        "canary_guard_evidence": names.EVIDENCE.labels,
    }.items():
        assert {label.replace(".", "_") for label in labels} <= there[name]


def test_a_query_names_metrics_labels_and_values() -> None:
    found = named(
        'sum by (job, le) (rate(canary_a_total{x!="y",z=~"b|c"}[5m])) / on (job) canary_b > 0'
    )
    assert found.metrics == {"canary_a_total", "canary_b"}
    assert found.labels == {"job", "le", "x", "z"}
    assert {("z", "b"), ("z", "c")} <= found.values


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("max(canary_wait) > 0", "no metric canary_wait"),
        ("sum by (canary_release) (canary_weight_percent)", "no label canary_release"),
        ('canary_kill{rollout="x"}', "no label rollout"),
        ('canary_phase{canary_phase=~"paused|halted"}', "no canary_phase halted"),
        ('canary_events_total{canary_event="stare_error"}', "no canary_event stare_error"),
        ("job:canary_requests:rate1m", "no metric job:canary_requests:rate1m"),
    ],
)
def test_a_name_that_does_not_exist_is_found(query: str, wrong: str) -> None:
    assert unknown(query, truth()) == [wrong]
