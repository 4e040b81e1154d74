from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from canary_middleware.core.model import Reason
from canary_middleware.telemetry import names

ROOT = Path(__file__).parents[2]
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/feature-flag/
CONVENTIONS = {
    "cached", "default", "disabled", "error", "split", "stale", "static", "targeting_match",
    "unknown",
}  # fmt: skip


def test_every_reason_has_a_word_of_the_conventions() -> None:
    assert set(names.WELL_KNOWN) == set(Reason)
    assert set(names.WELL_KNOWN.values()) <= CONVENTIONS


def test_every_event_is_on_the_page() -> None:
    page = (ROOT / "docs/telemetry.md").read_text()
    counted = set()
    for path in (ROOT / "canary_middleware").rglob("*.py"):
        found = re.findall(r'(?:count\(|warn\(\s*f?)"([a-z_]+)', path.read_text())
        # The reader of tokens puts this before all of its own.
        counted |= {f"override_{it}" if path.name == "overrides.py" else it for it in found}
    assert {"store_error", "unknown_metric", "late_exposure", "override_surplus"} <= counted
    named = {it for it in counted if not it.startswith("error_")}
    assert [it for it in sorted(named) if f"`{it}`" not in page] == []


def test_no_two_metrics_share_a_name() -> None:
    assert len({metric.name for metric in names.METRICS}) == len(names.METRICS)


WITHOUT_SDK = """
import sys
sys.modules["opentelemetry.sdk"] = None  # as if it were not installed
import canary_middleware.telemetry
from canary_middleware.errors import MissingExtraError
try:
    import canary_middleware.telemetry.processor
except MissingExtraError as error:
    print(error.extra)
"""


def test_only_the_processor_needs_the_sdk_and_names_the_extra_that_brings_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SDK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    extra = done.stdout.strip()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    brought = project["optional-dependencies"][extra]
    assert any(requirement.startswith("opentelemetry-sdk") for requirement in brought)


@pytest.mark.parametrize("module", ["opentelemetry.sdk", "structlog"])
def test_importing_telemetry_loads_no_optional_package(module: str) -> None:
    code = f"import sys, canary_middleware.telemetry; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
