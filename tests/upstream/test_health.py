"""Back-off, passive health and readiness, on a clock that is turned by hand."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.upstream.health import Backoff, Health, Probe

LATE = 0.999_999


def down(at: float = 100.0, chance: float = 0.0) -> Health:
    health = Health(base=0.5, cap=30.0, trial=5.0)
    assert health.refused(at, chance)
    return health


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(0.5, 30.0)
    assert [backoff.after(failures, 0.0) for failures in range(1, 9)] == [
        0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0,
    ]  # fmt: skip


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_spread_over_half_of_itself(failures: int, chance: float) -> None:
    backoff = Backoff(0.5, 30.0)
    whole = 2 * backoff.after(failures, 0.0)
    assert whole / 2 <= backoff.after(failures, chance) <= whole <= 30.0


def test_a_healthy_one_is_never_blocked() -> None:
    health = Health()
    assert not health.blocked(0.0)
    assert not health.answered()
    assert not health.blocked(1e9)


def test_one_refusal_blocks_until_the_back_off_is_over() -> None:
    health = down(100.0)
    assert health.blocked(100.0)
    assert health.blocked(100.249)
    assert not health.blocked(100.25)


def test_exactly_one_trial_passes_and_its_success_opens_the_way_for_all() -> None:
    health = down(100.0)
    assert [health.blocked(101.0) for _ in range(5)] == [False, True, True, True, True]
    assert health.answered()
    assert [health.blocked(101.0) for _ in range(5)] == [False] * 5


def test_a_trial_that_is_broken_off_leaves_the_next_one_to_try() -> None:
    health = down(100.0)
    health.forgone()
    assert health.blocked(100.1), "it was no trial"
    for _ in range(3):
        assert not health.blocked(101.0)
        health.forgone()
    assert not health.refused(101.0, 0.0), "of somebody, and already known"
    assert [health.blocked(at) for at in (101.49, 101.5, 101.5)] == [True, False, True]


def test_a_failed_trial_doubles_the_wait() -> None:
    health = down(100.0)
    assert not health.blocked(101.0)
    assert not health.refused(101.0, 0.0), "already known"
    assert health.blocked(101.49)
    assert not health.blocked(101.5)


def test_connects_that_were_under_way_together_count_once() -> None:
    health = down(100.0)
    for _ in range(63):
        assert not health.refused(100.1, LATE)
    assert not health.blocked(100.25)


def test_a_trial_of_which_nothing_is_heard_makes_room_for_the_next() -> None:
    health = down(100.0)
    assert not health.blocked(101.0)
    assert health.blocked(105.9)
    assert [health.blocked(106.0) for _ in range(3)] == [False, True, True]


def test_the_row_begins_anew_after_a_success() -> None:
    health = down(100.0)
    assert not health.blocked(101.0)
    health.refused(101.0, 0.0)
    assert health.answered()
    assert health.refused(200.0, 0.0)
    assert not health.blocked(200.25)


def passes(health: Health, threads: int) -> int:
    ready = threading.Barrier(threads)
    passed: list[bool] = []

    def ask() -> None:
        ready.wait()
        passed.append(not health.blocked(101.0))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(passed)


def test_of_many_threads_one_makes_the_trial() -> None:
    for _ in range(50):
        assert passes(down(100.0), threads=8) == 1


def test_the_first_probe_is_due_at_once() -> None:
    assert Probe().due(0.0) == 0.0


def test_probes_of_one_that_is_silent_come_at_once_then_more_and_more_seldom() -> None:
    probe = Probe(base=0.5, cap=10.0)
    waits = []
    for _ in range(7):
        probe.probed(ok=False, now=100.0, chance=0.0)
        waits.append(probe.due(100.0))
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert probe.due(104.0) == 1.0
    assert probe.due(105.5) == 0.0


def test_an_answer_is_followed_by_the_longest_wait_and_ends_the_back_off() -> None:
    probe = Probe(base=0.5, cap=10.0)
    for _ in range(7):
        probe.probed(ok=False, now=100.0, chance=0.0)
    probe.probed(ok=True, now=100.0, chance=0.0)
    assert probe.due(100.0) == 10.0
    probe.probed(ok=False, now=110.0, chance=0.0)
    assert probe.due(110.0) == 0.25


@given(st.lists(st.booleans(), min_size=1), st.floats(0, 1, exclude_max=True))
def test_every_upstream_is_asked_again_within_three_seconds(
    answers: list[bool], chance: float
) -> None:
    probe = Probe()
    for ok in answers:
        probe.probed(ok=ok, now=100.0, chance=chance)
        assert 0.25 <= probe.due(100.0) <= 3.0
