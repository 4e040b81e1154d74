"""The pages of docs/reference, made from the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.reference import cli_page, configuration_page, metrics_page

PLACE = Path(__file__).parents[2] / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page.page,
    "configuration.md": configuration_page.page,
    "metrics.md": metrics_page.page,
}
