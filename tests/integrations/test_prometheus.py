"""``integrations/prometheus`` by Debian's promtool and Prometheus, and by the names there are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integrations.promql import truth, unknown
from tests.support.prometheus import Prometheus, adapted, binary

FOLDER = Path(__file__).parents[2] / "integrations" / "prometheus"
PAGE = (FOLDER / "README.md").read_text()


def promtool(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [binary("promtool"), *arguments],
        cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["config prometheus.yml", "rules rules.yml"])
def test_promtool_finds_nothing_wrong(kind: str) -> None:
    code, said = promtool("check", *kind.split())
    assert code == 0, said


def test_every_rule_does_what_it_says() -> None:
    code, said = promtool("test", "rules", "tests.yml", "weeks.yml")
    assert code == 0, said


def test_the_tests_would_find_a_rule_that_is_wrong(tmp_path: Path) -> None:
    adapted(
        FOLDER / "rules.yml", tmp_path / "rules.yml", {"(canary_kill) == 1": "(canary_kill) == 2"}
    )
    adapted(FOLDER / "tests.yml", tmp_path / "tests.yml", {})
    code, said = promtool("test", "rules", str(tmp_path / "tests.yml"))
    assert code == 1
    assert "CanaryKillInForce" in said


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """As a Prometheus reads them."""
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(FOLDER / "prometheus.yml", folder) as server:
        yield server.wait_ready().rules()


def test_every_name_in_the_rules_exists(rules: list[dict[str, Any]]) -> None:
    there = truth()
    recorded = {rule["name"]: set[str]() for rule in rules if rule["type"] == "recording"}
    assert len(recorded) == 6
    wrong = {rule["name"]: unknown(rule["query"], {**there, **recorded}) for rule in rules}
    assert {name: what for name, what in wrong.items() if what} == {}


def test_every_alert_says_what_to_do_by_labels_that_there_are(rules: list[dict[str, Any]]) -> None:
    known = set().union(*truth().values()) | {"job", "instance"}
    alerts = [rule for rule in rules if rule["type"] == "alerting"]
    assert len(alerts) > 9
    for alert in alerts:
        assert alert["annotations"].keys() == {"summary", "action"}, alert["name"]
        assert alert["labels"]["severity"] in ("page", "warning", "info")
        said = " ".join(alert["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= known


def test_every_alert_is_tested_and_on_the_page(rules: list[dict[str, Any]]) -> None:
    tests = (FOLDER / "tests.yml").read_text() + (FOLDER / "weeks.yml").read_text()
    for rule in rules:
        assert rule["name"] in tests, rule["name"]
        assert f"`{rule['name']}`" in PAGE, rule["name"]
    assert set(re.findall(r"`(Canary\w+)`", PAGE)) <= {rule["name"] for rule in rules}
