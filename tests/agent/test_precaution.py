from __future__ import annotations

import pytest

from canary_middleware.agent.precaution import Pulses, broken
from canary_middleware.core.guards import Precaution
from canary_middleware.core.model import Cohort
from canary_middleware.core.totals import Ledgers, Pulse, Seen, bucket_of

CEILING = Precaution(failures="50%", p99=10.0, stall=1.0, window=5, least=20)
RELEASE = "checkout", "2"


@pytest.mark.parametrize(
    ("pulse", "words"),
    [
        (Pulse(), None),
        (Pulse(n=20, failures=9), None),
        (Pulse(n=20, failures=10), "10 of 20 answers of both versions failed within 5 s"),
        (Pulse(n=19, failures=19), None),
        (Pulse(n=100, slow=2), None),
        (Pulse(n=100, slow=3), "3 of 100 answers of both versions took more than 10 s within 5 s"),
        (Pulse(n=400, slow=4), None),
        (Pulse(n=400, slow=5), "5 of 400 answers of both versions took more than 10 s within 5 s"),
        (Pulse(stall=1.0), None),
        (Pulse(stall=1.26), "an event loop of the application did not turn for 1.3 s"),
    ],
)
def test_a_ceiling_is_broken_by_enough_of_both_versions(pulse: Pulse, words: str | None) -> None:
    assert broken(CEILING, pulse) == words


class World:
    def __init__(self) -> None:
        self.pulses = Pulses()
        self.ledgers = Ledgers(run=3)
        self.now = 100.0

    def answers(self, n: int, failures: int = 0, seconds: float = 0.1) -> None:
        for cohort in Cohort:
            seen = self.ledgers.seen.setdefault(cohort, Seen())
            seen.kinds[2] += n - failures
            seen.kinds[5] += failures
            seen.starts[bucket_of(seconds)] += n

    def pulse(self, after: float = 1.0) -> Pulse:
        self.now += after
        return self.pulses.pulse(RELEASE, self.ledgers, CEILING, self.now, 0.0)


def test_a_pulse_is_what_happened_within_the_window() -> None:
    world = World()
    world.answers(1_000)
    assert world.pulse() == Pulse(), "before it looked for the first time"
    world.answers(10, failures=2)
    world.answers(1, seconds=20.0)
    assert world.pulse() == Pulse(n=22, failures=4, slow=2)
    world.answers(5)
    assert [world.pulse().n for _ in range(6)] == [32, 32, 32, 32, 10, 0]


def test_a_queue_that_nobody_leaves_is_slow_although_nothing_was_answered() -> None:
    world = World()
    world.pulse()
    waiting = world.pulses.pulse(RELEASE, world.ledgers, CEILING, world.now, 0.0, 25)
    assert waiting == Pulse(n=25, slow=25)
    words = broken(CEILING, waiting)
    assert words is not None
    assert words.startswith("25 of 25 answers of both versions took more than")
    assert broken(CEILING, world.pulse()) is None, "as soon as it is empty"


def test_what_is_just_below_the_ceiling_is_not_slow() -> None:
    world = World()
    world.pulse()
    world.answers(1, seconds=9.9)
    assert world.pulse().slow == 0


def test_another_run_begins_without_a_past() -> None:
    world = World()
    world.answers(10)
    world.pulse()
    world.ledgers = Ledgers(run=9)
    world.answers(50, failures=50)
    assert world.pulse() == Pulse()
    world.ledgers.seen.clear()  # it was folded, and counts from zero
    assert world.pulse() == Pulse()
