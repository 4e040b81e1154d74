"""Buckets of wrong attempts, and of log lines."""

from __future__ import annotations

import pytest

from canary_middleware.panel.limits import BURST, EVERY, Attempts, Sparing, network


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_may_be_wrong_a_few_times_and_then_once_in_a_while() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    assert [attempts.wrong("192.0.2.1") for _ in range(BURST)] == [0.0] * BURST
    assert attempts.wrong("192.0.2.1") == pytest.approx(EVERY)
    clock.now += EVERY / 3
    assert attempts.wrong("192.0.2.1") == pytest.approx(EVERY * 2 / 3)
    clock.now += EVERY * 2 / 3
    assert attempts.wrong("192.0.2.1") == 0.0
    assert attempts.wrong("192.0.2.1") > 0
    clock.now += 10 * BURST * EVERY
    assert [attempts.wrong("192.0.2.1") for _ in range(BURST)] == [0.0] * BURST
    assert attempts.wrong("192.0.2.1") > 0


def test_nobody_pays_for_another_address() -> None:
    attempts = Attempts(Clock())
    for _ in range(10_000):
        attempts.wrong("192.0.2.1")
    assert attempts.wrong("192.0.2.2") == 0.0


def test_memory_is_bounded_and_the_longest_quiet_is_forgotten() -> None:
    attempts = Attempts(Clock(), most=100)
    for _ in range(BURST):
        attempts.wrong("192.0.2.1")
    for last in range(250):
        attempts.wrong(f"198.51.100.{last}")
        if last % 50 == 0:
            assert attempts.wrong("192.0.2.1") > 0  # it is not quiet
    assert len(attempts) == 100


@pytest.mark.parametrize(("one", "other", "same"), [
    ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
    ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("", "no address", True),
])  # fmt: skip
def test_one_line_of_ipv6_is_one_address(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


def test_log_lines_are_spared_and_counted() -> None:
    clock = Clock()
    sparing = Sparing(clock, burst=2, every=5.0)
    assert [sparing.left_out() for _ in range(5)] == [0, 0, None, None, None]
    clock.now += 5.0
    assert [sparing.left_out() for _ in range(2)] == [3, None]
