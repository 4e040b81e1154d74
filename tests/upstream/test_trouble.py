"""What is logged of an upstream that fails, recovers, and does either now and then."""

from __future__ import annotations

import pytest

from canary_middleware.upstream.address import parse
from canary_middleware.upstream.trouble import CALM, Trouble


def test_each_change_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(parse("http://shop.example:8000/v2"))
    trouble.answered(0.0)
    for moment in (1.0, 1.1, 1.2):
        trouble.failed(f"refused at {moment}", moment)
    assert trouble.active
    trouble.answered(1.2 + CALM)
    trouble.answered(9.0)
    assert caplog.messages == [
        "upstream shop.example:8000: degraded: refused at 1.0",
        "upstream shop.example:8000: recovered",
    ]
    assert not trouble.active


def test_one_that_fails_now_and_then_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble(parse("unix:/run/app.sock"))
    for number in range(100):
        trouble.failed("broken", number * CALM / 2)
        trouble.answered(number * CALM / 2 + CALM / 4)
    assert caplog.messages == ["upstream /run/app.sock: degraded: broken"]
