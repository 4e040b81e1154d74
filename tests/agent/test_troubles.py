"""What nobody foresaw is told, and fills no disk."""

from __future__ import annotations

import pytest

from canary_middleware.agent.troubles import Surprises
from tests.agent.site import Time


def test_what_nobody_foresaw_is_told_of_each_kind_once_and_then_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Time()
    surprises = Surprises(lambda: clock.monotonic)
    for second in range(1_000):
        surprises.tell("failed", ZeroDivisionError("a bug") if second % 3 else KeyError(second))
        clock.go(1.0)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(" (")[0] for line in lines] == ["failed"] * 4
    assert lines[2] == "failed (598 more since the last time)"
    assert all(record.exc_info for record in caplog.records)
