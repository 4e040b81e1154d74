from __future__ import annotations

from itertools import count, islice

from canary_middleware.overview.pace import unhurried


def test_nothing_is_left_out_and_nothing_taken_before_it_is_asked_for() -> None:
    assert list(unhurried(range(10), 3)) == list(range(10))
    assert list(unhurried([], 3)) == []
    assert list(islice(unhurried(count(), 2), 5)) == [0, 1, 2, 3, 4]
