"""Whatever is asked, memory, file and server answer as the rule does, question by question."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.model import Cohort
from canary_middleware.stores import MemoryStore, open_store
from canary_middleware.stores.protocol import Affinity
from canary_middleware.testing.affinity import settle
from tests.support.redis import SharedRedis

numbers = st.one_of(st.sampled_from([0, 1, SPACE - 2, SPACE - 1]), st.integers(0, SPACE - 1))
lineages = st.sampled_from(["ab", "cd"])
epochs = st.integers(0, 3) | numbers
claims = st.builds(Claim, lineages, epochs, epochs, st.sampled_from(Cohort), numbers)
asks = st.builds(
    Ask,
    rollout=st.sampled_from(["a", "b"]),
    key=st.sampled_from(["x", "y", "z"]),
    origin=st.sampled_from([None, "x", "y"]),
    lineage=lineages,
    epoch=epochs,
    period=epochs,
    limit=numbers | st.just(SPACE),
    bucket=numbers,
    raises=st.booleans(),
    life=st.just(600_000),
    remembered=st.none() | claims,
)


@pytest.fixture(scope="module")
def stores(
    shared_redis: SharedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Affinity]]:
    file = tmp_path_factory.mktemp("rule") / "canary.db"
    opened = [
        MemoryStore(),
        open_store(f"sqlite:///{file}", "rule", timeout=5.0),
        open_store(shared_redis.url, "rule", timeout=5.0),
    ]
    yield list(opened)
    for store in opened:
        store.close()


@settings(max_examples=150)
@given(requests=st.lists(st.lists(asks, min_size=1, max_size=4), min_size=1, max_size=8))
def test_all_answer_as_the_rule(stores: list[Affinity], requests: list[list[Ask]]) -> None:
    # A rollout of its own for each example, so that none sees the claims of another.
    own, model = uuid.uuid4().hex, dict[Any, Claim]()
    for request in requests:
        mine = [replace(ask, rollout=f"{ask.rollout}-{own}") for ask in request]
        expected = [settle(model, ask) for ask in mine]
        assert [store.claim(mine) for store in stores] == [expected] * len(stores)
