from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.rescue import FLOOR, within_budget
from canary_middleware.core.weight import FULL


@pytest.mark.parametrize(
    ("rescuing", "active", "share", "allowed"),
    [
        (0, 0, 0, True), (2, 1, 0, True), (3, 1, 0, False), (3, 1, 20_000, False),
        (3, 15, 20_000, False), (3, 20, 20_000, True), (4, 20, 20_000, False),
        (19, 100, 20_000, True), (20, 100, 20_000, False), (20, 104, 20_000, False),
        (20, 105, 20_000, True),
        (99, 100, FULL, True), (100, 100, FULL, False),
    ],
)  # fmt: skip
def test_a_share_of_the_active_requests_with_a_floor(
    rescuing: int, active: int, share: int, allowed: bool
) -> None:
    assert within_budget(rescuing, active, share) is allowed


@given(st.integers(0, 10_000), st.integers(0, FULL))
def test_it_never_exceeds_the_share_nor_falls_below_the_floor(active: int, share: int) -> None:
    rescuing = 0
    while within_budget(rescuing, active, share):
        rescuing += 1
    assert rescuing == max(FLOOR, active * share // FULL)
