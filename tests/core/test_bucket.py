from __future__ import annotations

import zlib
from collections.abc import Callable
from hashlib import blake2b
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE, draw, lane_key, threshold
from canary_middleware.core.weight import FULL

SECRET = bytes(range(32))
MANY = 200_000

Draw = Callable[[str], float]

# If one of these fails, the change is wrong and not the test: see the warning in bucket.py.
KNOWN = [
    (b"", "shop", "checkout", "1.5.0", ANONYMOUS, "AAAAAAAAAAAAAAAA", 3421456576438927),
    (b"", "shop", "checkout", "1.5.0", ANONYMOUS, "abcdefghijkl-_09", 8561067533456186),
    (SECRET, "shop", "checkout", "1.5.0", ANONYMOUS, "AAAAAAAAAAAAAAAA", 3035000624064651),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "AAAAAAAAAAAAAAAA", 3791372971788846),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "alice@example.com", 626167487919178),
    (SECRET, "shop", "checkout", "1.6.0", IDENTIFIED, "alice@example.com", 6919955159171590),
    (SECRET, "shop", "search", "1.5.0", IDENTIFIED, "alice@example.com", 5583600526858686),
    (SECRET, "blog", "checkout", "1.5.0", IDENTIFIED, "alice@example.com", 2861292779707857),
    (SECRET[::-1], "shop", "checkout", "1.5.0", IDENTIFIED, "alice@example.com", 7276628927917121),
    (
        SECRET,
        "shop",
        "checkout",
        "1.5.0",
        IDENTIFIED,
        "Zo\u00eb \u00c5ngstr\u00f6m",
        2084381741973890,
    ),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "\u540d\u524d\U0001f424", 4833719040949197),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "\ud800", 5261912610160573),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "x" * 10_000, 7677946549114184),
    (SECRET, "shop", "checkout", "1.5.0", IDENTIFIED, "", 3374857086602167),
    (b"s" * 64, "shop", "checkout", "1.5.0", IDENTIFIED, "42", 29000299513085),
    (b"s" * 200, "shop", "checkout", "1.5.0", IDENTIFIED, "42", 7449457723006822),
    (SECRET, "shopc", "heckout", "1.5.0", IDENTIFIED, "alice@example.com", 2276466272428611),
]


@pytest.mark.parametrize(("secret", "ns", "rollout", "release", "kind", "subject", "bucket"), KNOWN)
def test_known_answers(
    secret: bytes, ns: str, rollout: str, release: str, kind: bytes, subject: str, bucket: int
) -> None:
    assert draw(lane_key(secret, ns, rollout, release), kind, subject) == bucket


def test_the_definition_spelled_out_once_more() -> None:
    root = blake2b(SECRET, digest_size=32, person=b"canary-secret").digest()
    message = b"\0\0\0\x04shop" + b"\0\0\0\x08checkout" + b"\0\0\0\x051.5.0"
    key = blake2b(message, key=root, digest_size=32, person=b"canary-lane").digest()
    assert key == lane_key(SECRET, "shop", "checkout", "1.5.0")
    first_eight = blake2b(b"s:alice@example.com", key=key, digest_size=8).hexdigest()
    assert draw(key, IDENTIFIED, "alice@example.com") == int(first_eight, 16) // 2**11


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    keys = {
        lane_key(SECRET, *parts)
        for parts in [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("abcd", "", ""),
                      ("", "abcd", ""), ("", "", "abcd")]
    }  # fmt: skip
    assert len(keys) == 6


# --- statistics on fixed data: each holds for the bucket and fails for a worse hash ---------------


def keyed(secret: bytes = SECRET, rollout: str = "checkout", release: str = "1") -> Draw:
    key = lane_key(secret, "shop", rollout, release)
    return lambda subject: draw(key, IDENTIFIED, subject) / SPACE


def crc(rollout: str) -> Draw:
    """The broken variant: no key, so that every rollout has the same order of visitors."""
    return lambda subject: zlib.crc32(subject.encode()) / 2**32


def crc_of_rollout_too(rollout: str) -> Draw:
    """Broken in a quieter way: CRC is linear, so that a prefix only shifts everybody alike."""
    return lambda subject: zlib.crc32(f"{rollout}:{subject}".encode()) / 2**32


def adler(subject: str) -> float:
    return zlib.adler32(subject.encode()) % 1000 / 1000


def chi_square(draw_one: Draw, many: int, cells: int = 100) -> float:
    counts = [0] * cells
    for number in range(many):
        counts[int(draw_one(str(number)) * cells)] += 1
    expected = many / cells
    return sum((count - expected) ** 2 / expected for count in counts)


def plausible(chi: float) -> bool:
    """Between the quantiles 0.001 and 0.999 of chi-square with 99 degrees of freedom."""
    return 61.1 < chi < 148.2


@pytest.mark.parametrize("many", [MANY, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_sequential_ids_are_spread_uniformly(many: int) -> None:
    assert plausible(chi_square(keyed(), many))


@pytest.mark.parametrize("broken", [adler, crc("checkout")], ids=["adler32", "crc32"])
def test_the_chi_square_sees_a_worse_hash(broken: Draw) -> None:
    """Adler is too uneven, CRC too even: sequential ids are not independent draws under it."""
    assert not plausible(chi_square(broken, MANY))


def overlap(one: Draw, two: Draw, first: float = 0.1) -> float:
    """Share of the first ten per cent of one order who are among those of the other."""
    chosen = [str(number) for number in range(2 * MANY) if one(str(number)) < first]
    return sum(two(subject) < first for subject in chosen) / len(chosen)


@pytest.mark.parametrize(
    "other",
    [keyed(rollout="search"), keyed(release="2"), keyed(secret=SECRET[::-1]), keyed(secret=b"")],
    ids=["rollout", "release", "secret", "no secret"],
)
def test_rollouts_releases_and_secrets_are_independent(other: Draw) -> None:
    """S25, S26: also, nobody without the secret knows more about a place than chance does."""
    assert overlap(keyed(), other) == pytest.approx(0.10, abs=0.005)


@pytest.mark.parametrize("broken", [crc, crc_of_rollout_too])
def test_the_overlap_sees_a_hash_without_key(broken: Callable[[str], Draw]) -> None:
    assert overlap(broken("checkout"), broken("search")) != pytest.approx(0.10, abs=0.005)


def test_an_identified_subject_named_like_an_id_is_not_that_id() -> None:
    key = lane_key(SECRET, "shop", "checkout", "1")
    same = sum(draw(key, ANONYMOUS, str(n)) == draw(key, IDENTIFIED, str(n)) for n in range(1000))
    assert same == 0


# --- weights --------------------------------------------------------------------------------------


def test_nobody_at_0_and_everybody_at_100_exactly() -> None:
    assert threshold(0) == 0
    assert threshold(FULL) == SPACE


def test_each_step_of_a_thousandth_adds_its_share_and_never_removes_anybody() -> None:
    for below, above in pairwise(map(threshold, range(FULL + 1))):
        assert 0 <= above - below - SPACE // FULL <= 1


def test_a_bucket_is_below_exactly_when_its_share_of_the_space_is() -> None:
    for weight in range(1, FULL + 1):
        limit = threshold(weight)
        assert (limit - 1) * FULL < weight * SPACE <= limit * FULL


def test_a_thousandth_of_a_per_cent_reaches_somebody() -> None:
    key = lane_key(SECRET, "shop", "checkout", "1")
    lucky = [n for n in range(MANY) if draw(key, IDENTIFIED, str(n)) < threshold(1)]
    assert 1 <= len(lucky) <= 8, "2 are expected of 200,000"


@given(st.integers(0, FULL), st.integers(0, FULL), st.text())
def test_raising_the_weight_only_adds_visitors(one: int, two: int, subject: str) -> None:
    low, high = sorted((one, two))
    bucket = draw(lane_key(SECRET, "shop", "checkout", "1"), IDENTIFIED, subject)
    assert 0 <= bucket < SPACE
    assert not bucket < threshold(low) or bucket < threshold(high)
