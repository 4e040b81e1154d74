"""Running panels, with SQLite stores of the tests' own."""

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


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """One for all tests of a file that leave it as it was; it believes proxies on this host."""
    directory = tmp_path_factory.mktemp("panel")
    url = f"sqlite:///{directory / 'canary.db'}"
    with Panel(directory, url, "shop", trust=["127.0.0.0/8"]) as running:
        yield running
