"""docs/policies.md in step with the program, and the cells that issues and people rely on."""

from __future__ import annotations

import pytest

from canary_middleware.core.model import Memory, Policy
from tests.core.policies_page import (
    PAGE,
    PER_REQUEST,
    ROWS,
    anonymous,
    outcome,
    page,
)


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.core.policies_page"


PROMISED = {
    ("weight down", Policy.KEEP): "all stay",
    ("weight down", Policy.FOLLOW): "canary follows",
    ("weight up", Policy.SESSION): "all stay",
    ("weight down", Policy.SESSION): "all stay",
    ("promotion", Policy.SESSION): "all stay",
    **{("new release", policy): "drawn anew" for policy in Policy},
    **{("rollback", policy): "all on stable" for policy in Policy},
    **{("kill", policy): "all on stable" for policy in Policy},
    ("new release", Policy.REQUEST): PER_REQUEST,
}
"""As the design has it, so that a change of the page is not only taken down."""


@pytest.mark.parametrize("memory", [*Memory])
@pytest.mark.parametrize(
    ("name", "policy"), PROMISED, ids=lambda value: getattr(value, "value", value)
)
def test_what_is_promised(name: str, policy: Policy, memory: Memory) -> None:
    (row,) = (row for row in ROWS if row.name == name)
    assert outcome(row, policy, memory, anonymous()) == PROMISED[name, policy]
