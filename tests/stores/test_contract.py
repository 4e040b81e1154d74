"""What every store promises: in memory, in a file, and on a real server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from canary_middleware.stores import MemoryStore, open_store
from canary_middleware.testing import (
    AffinityContract,
    FirstsContract,
    LeaseContract,
    NamedLeaseContract,
    Opener,
    OutboxContract,
    SeriesContract,
    SharedContract,
    StoreContract,
    TotalsContract,
)
from tests.support.redis import SharedRedis


class Everything(
    StoreContract, AffinityContract, LeaseContract, NamedLeaseContract, TotalsContract,
    FirstsContract, SeriesContract, OutboxContract,
):  # fmt: skip
    """All of it."""


class TestMemory(Everything):
    @pytest.fixture
    def opener(self) -> Opener:
        store = MemoryStore()
        return lambda: store


class TestSqlite(Everything, SharedContract):
    @pytest.fixture
    def opener(self, tmp_path: Path, namespace: str) -> Opener:
        return partial(open_store, f"sqlite:///{tmp_path}/canary.db", namespace, timeout=5.0)


class TestRedis(Everything, SharedContract):
    @pytest.fixture
    def opener(self, shared_redis: SharedRedis, namespace: str) -> Opener:
        return partial(open_store, shared_redis.url, namespace, timeout=5.0)
