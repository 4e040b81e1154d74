"""The fleets that several tests of stores ask, each under its own namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fleet import Cluster, Sentinels


@pytest.fixture(scope="package")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as fleet:
        yield fleet


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as fleet:
        yield fleet
