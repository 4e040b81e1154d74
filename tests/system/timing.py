"""S7 of FAULTS.md: does the time that an answer takes tell what nobody shall know?

Two kinds of requests, which differ only in a secret, are asked in random order (fixed seed) and
their times compared by rank (Mann-Whitney U, https://doi.org/10.1214/aoms/1177730491), so that an
outlier or a drift of the machine counts for no more than its rank. They can be told apart where p
is below 0.001 twice in a row and in the same direction. Where there is no difference that happens
once in two million comparisons (0.001 x 0.0005).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

from tests.support.clients import Visitor
from tests.system.rig import Worker
from tests.system.site import KEY, TESTER
from tests.system.tokens import signed

T = TypeVar("T")
SURE = 3.2905
"""Standard deviations of a normal variable beyond which, on both sides, lies 0.1 % of it."""

Probe = Callable[[], object]
"""What is timed."""


def told_apart(
    prepare: Callable[[T], Probe], one: Sequence[T], other: Sequence[T]
) -> tuple[bool, float]:
    """Whether two kinds of subjects take different times; standard deviations of the first round.

    Args:
        prepare: makes of a subject what is timed; the same code for both kinds.
        one: subjects of a kind, each of which is taken once in a round.
        other: likewise.
    """
    rng = random.Random(7)
    first = deviations(*sampled(prepare, one, other, rng))
    if abs(first) < SURE:
        return False, first
    second = deviations(*sampled(prepare, one, other, rng))
    return abs(second) >= SURE and first * second > 0, first


def sampled(
    prepare: Callable[[T], Probe], one: Sequence[T], other: Sequence[T], rng: random.Random
) -> tuple[list[int], list[int]]:
    """Nanoseconds of each subject, in random order; whatever else is timed knows no kinds."""
    plan = [(0, subject) for subject in one] + [(1, subject) for subject in other]
    rng.shuffle(plan)
    times = [0] * len(plan)
    for place, (_, subject) in enumerate(plan):
        probe = prepare(subject)
        began = time.perf_counter_ns()
        probe()
        ended = time.perf_counter_ns()
        times[place] = ended - began
    kinds: tuple[list[int], list[int]] = [], []
    for (kind, _), took in zip(plan, times, strict=True):
        kinds[kind].append(took)
    return kinds


def deviations(one: Sequence[int], other: Sequence[int]) -> float:
    """U of the second sample, as standard deviations from its mean if both are of one kind.

    Equal times share their ranks. The variance is that without equal times, which is the larger.
    """
    ranks, passed = dict[int, float](), 0
    for value, same in groupby(sorted([*one, *other])):
        count = len(list(same))
        ranks[value] = passed + (count + 1) / 2
        passed += count
    n, m = len(one), len(other)
    u = sum(ranks[value] for value in other) - m * (m + 1) / 2
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


# --- what is told apart -------------------------------------------------------------------------


def forged(samples: int, namespace: str, right: int) -> list[str]:
    """Cookies whose signatures are right in that many characters, and wrong in the last one."""
    rng, made = random.Random(right), []
    for number in range(samples):
        body, _, signature = signed(KEY, namespace, visitor=f"{number:016}").rpartition(".")
        guess = "".join(rng.choices(ALPHABET, k=len(signature) - right - 1))
        last = rng.choice(ALPHABET.replace(signature[-1], ""))
        made.append(f"{body}.{signature[:right]}{guess}{last}")
    return made


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
RIGHT = 42
"""All characters of a signature but the last one."""


def strangers(samples: int, known: int) -> list[str]:
    """Users who are no testers, but whose names begin as that of one does."""
    rng = random.Random(known)
    rest = len(TESTER) - known
    return [TESTER[:known] + "".join(rng.choices(ALPHABET[26:52], k=rest)) for _ in range(samples)]


def signatures(worker: Worker, samples: int) -> str:
    """Cookies with a nearly right signature against others, over HTTP."""
    namespace = worker.setup.namespace
    nearly, wrong = (
        [{"Cookie": f"canary-{namespace}={cookie}"} for cookie in forged(samples, namespace, right)]
        for right in (RIGHT, 0)
    )
    return compared(worker, "signatures", nearly, wrong)


def users(worker: Worker, samples: int) -> str:
    """Users who are nearly called as a tester is against others, over HTTP."""
    nearly, unknown = (
        [{"X-User": user} for user in strangers(samples, known)] for known in (len(TESTER) - 2, 0)
    )
    return compared(worker, "users", nearly, unknown)


def testers(worker: Worker, samples: int) -> str:
    """A tester against an unknown user while both are on stable because of a kill, over HTTP.

    One unknown user, as there is one tester: who is new each time is slower in this very process.
    """
    (unknown,) = strangers(1, 0)
    tester, other = ([{"X-User": user}] * samples for user in (TESTER, unknown))
    return compared(worker, "testers", tester, other)


def compared(
    worker: Worker, what: str, one: Sequence[Mapping[str, str]], other: Sequence[Mapping[str, str]]
) -> str:
    """Ask with headers of one and of the other kind."""
    with Visitor(worker.port) as visitor:

        def asking(headers: Mapping[str, str]) -> Probe:
            return partial(visitor.request, "GET", "/shop/", headers=headers, with_cookies=False)

        apart, by = told_apart(asking, one, other)
    told = f"S7 {worker.server}, {what}: 2 x {len(one)} samples, {by:+.1f} deviations (limit 3.3)"
    assert not apart, f"the time tells: {told}"
    return told
