"""S7 of FAULTS.md: neither a signature nor the name of a tester can be found by the clock.

In this process, where a ten millionth of a second shows, and over HTTP, as an attacker would;
``tests/faults`` takes as many samples over HTTP as the row says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from canary_middleware.core.token import TokenCodec, Verified
from canary_middleware.errors import TokenError
from tests.support.redis import RedisServer
from tests.system import timing, variants
from tests.system.rig import Rig, follow
from tests.system.site import CANARY, KEY, STABLE

pytestmark = pytest.mark.alone

SAMPLES = 5_000
OVER_HTTP = 1_000


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("timing")
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, "timing", identified=True) as made,
    ):
        made.started(50_000)
        made.serve("uvicorn")
        made.all_follow(CANARY)
        yield made


CODEC = TokenCodec([KEY.encode()], "timing", "visitor")


def by_character(token: bytes) -> Verified:
    """The variant: each character is looked at until one is wrong."""
    body, _, given = token.rpartition(b".")
    right = CODEC.sign(body.decode().split(".")).encode().rpartition(b".")[2]
    for one, other in zip(right, given, strict=True):
        if one != other:
            raise TokenError("forged")
    return CODEC.verify(token)


def verifying(verify: Callable[[bytes], Verified], token: str) -> timing.Probe:
    fresh = token.encode()  # at the same place in memory for every token

    def probe() -> None:
        with suppress(TokenError):
            verify(fresh)

    return probe


NEARLY, WRONG = (timing.forged(SAMPLES, "timing", right) for right in (timing.RIGHT, 0))


def test_s7_a_nearly_right_signature_is_refused_as_fast_as_any_other() -> None:
    apart, by = timing.told_apart(partial(verifying, CODEC.verify), NEARLY, WRONG)
    print(f"\nS7 in process, signatures: 2 x {SAMPLES} samples, {by:+.1f} deviations (limit 3.3)")
    assert not apart


def test_s7_the_comparison_sees_one_that_goes_by_character() -> None:
    apart, by = timing.told_apart(partial(verifying, by_character), NEARLY, WRONG)
    assert apart
    assert by < -10, "the wrong ones are refused earlier"


def test_s7_time_tells_nothing_over_http(rig: Rig) -> None:
    (worker,) = rig.workers
    print(f"\n{timing.signatures(worker, OVER_HTTP)}\n{timing.users(worker, OVER_HTTP)}")


def test_s7_the_check_fails_for_a_signature_that_is_compared_by_character(rig: Rig) -> None:
    (worker,) = rig.serve("uvicorn", variant=variants.LEAKS_TIME)
    rig.workers.remove(worker)
    with pytest.raises(AssertionError, match="the time tells: S7 uvicorn, signatures"):
        timing.signatures(worker, 300)
    worker.kill()


def test_s7_a_tester_is_not_known_by_the_clock_while_killed(rig: Rig) -> None:
    (worker,) = rig.workers
    rig.cli("kill")
    follow([worker], STABLE, within=5.0)
    print(f"\n{timing.testers(worker, OVER_HTTP)}")
    rig.cli("revive", "--yes")
    follow([worker], CANARY, within=5.0)
