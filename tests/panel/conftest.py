"""A running panel, with an empty SQLite store of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel.rig import Panel


@pytest.fixture
def panel(tmp_path: Path, namespace: str) -> Iterator[Panel]:
    """With ``alice``, who operates, and ``bob``, who views."""
    with Panel(tmp_path, f"sqlite:///{tmp_path / 'canary.db'}", namespace) as running:
        yield running
