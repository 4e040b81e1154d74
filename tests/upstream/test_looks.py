"""One timer for all who wait."""

from __future__ import annotations

from collections.abc import Callable

from canary_middleware.upstream.looks import Looks

EVERY = 0.1


class Clock:
    """Timers that run when they are told."""

    def __init__(self) -> None:
        self.armed: list[Callable[[], object]] = []

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        assert seconds == EVERY
        self.armed.append(call)

    def passes(self) -> None:
        (callback,) = self.armed
        self.armed.clear()
        callback()


class Waiting:
    looked = 0

    def look(self) -> None:
        self.looked += 1


def test_whoever_stays_is_told_once_after_a_whole_period() -> None:
    clock = Clock()
    looks, one = Looks(clock.later, EVERY), Waiting()
    looks.join(one)
    clock.passes()
    assert one.looked == 0
    clock.passes()
    assert one.looked == 1
    assert not clock.armed


def test_whoever_leaves_is_not_told_before_or_after_the_first_period() -> None:
    clock = Clock()
    looks, early, late = Looks(clock.later, EVERY), Waiting(), Waiting()
    looks.join(early)
    looks.join(late)
    looks.leave(early)
    clock.passes()
    looks.leave(late)
    clock.passes()
    assert early.looked == late.looked == 0
    assert not clock.armed


def test_many_share_one_timer_and_each_waits_its_own_time() -> None:
    clock = Clock()
    looks, first, second = Looks(clock.later, EVERY), Waiting(), Waiting()
    looks.join(first)
    clock.passes()
    looks.join(second)
    clock.passes()
    assert (first.looked, second.looked) == (1, 0)
    clock.passes()
    assert (first.looked, second.looked) == (1, 1)
