"""Points of charts as bytes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.codec_series import MAX_POINT, decode, encode, head
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.series import Counts, Head, Point, Value, Version
from canary_middleware.core.totals import MAX_COUNT
from canary_middleware.errors import StoreCorruptError
from tests.core.points import points

HEAD = Head(7, 73.25, 300, 5_000, "ramping")


def busy(bucket: int) -> Counts:
    """A version after a million requests: 45 buckets, three metrics."""
    latency = {bucket + n: 40_000 >> abs(n - 12) // 3 for n in range(45)}
    observed = {"checkout_completed": (123_456, 0), "double_charges": (123_456, 2)}
    values = {Value("revenue", 250.0): {n: 9_000 >> n for n in range(12)}}
    return Counts(1_000_000, 1_234, 34_567, latency, observed, values)


def usual() -> Point:
    sides = (
        Version(Cohort.CANARY, "2024.11.2", busy(30)),
        Version(Cohort.STABLE, "2024.11.1", busy(28)),
    )
    return Point(HEAD, sides)


@given(points())
def test_what_is_written_is_read(point: Point) -> None:
    data = encode(point)
    assert decode(point.head.slot, data) == point
    assert head(point.head.slot, data) == point.head


def test_a_usual_point_takes_half_a_kilobyte() -> None:
    data = encode(usual())
    assert len(data) <= 512
    plain = {**asdict(usual()), "versions": [str(asdict(one)) for one in usual().versions]}
    assert len(json.dumps(plain, default=str)) > 2 * len(data)


def test_what_would_take_too_much_goes_without_metrics() -> None:
    names = [f"{n:03}" + "x" * 60 for n in range(300)]
    counts = Counts(1, latency=dict.fromkeys(range(BUCKETS), MAX_COUNT),
                    observed=dict.fromkeys(names, (1, 0)))  # fmt: skip
    sides = (Version(one, one.value + "é" * 990, counts) for one in Cohort)
    point = Point(HEAD, tuple(sides))
    data = encode(point)
    assert len(data) <= MAX_POINT
    assert all(not one.counts.observed for one in decode(7, data).versions)
    assert all(len(one.counts.latency) == BUCKETS for one in decode(7, data).versions)


@given(st.binary(max_size=80))
def test_anything_else_is_refused_with_one_error(data: bytes) -> None:
    for text in (data, b"\x01" + data, encode(usual())[: len(data)] + data):
        try:
            found = decode(7, text)
        except StoreCorruptError as error:
            assert str(error).startswith("a point of a chart")  # noqa: PT017  # either is right
        else:
            assert encode(found) == text, "two texts of one point"


@given(st.integers(0, 500), st.integers(0, 255))
def test_a_spoiled_byte_is_read_as_a_point_or_refused(place: int, byte: int) -> None:
    data = bytearray(encode(usual()))
    data[place % len(data)] = byte
    try:
        decode(7, bytes(data))
    except StoreCorruptError:
        return
    decode(7, encode(decode(7, bytes(data))))


BEGIN = b"\x01\x00\x07\x00\x01"
SIDE = b"\x00\x012\x05\x00\x00"
EMPTY = b"\x00\x00\x00"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "schema none"),
        (b"\x02\x00\x07\x00\x01\x00", "schema 02"),
        (BEGIN, "too early"),
        (BEGIN + b"\x00\x00", "behind its end"),
        (BEGIN + b"\x03", "no number up to 2"),
        (b"\x01\xe8\x07\x07\x00\x01\x00", "no number up to 999"),
        (b"\x01\x00" + b"\xff" * 9 + b"\x01\x00\x01\x00", "no number"),
        (b"\x01\x00\x87\x00\x00\x01\x00", "no number"),
        (b"\x01\x00\x07\x00\x7f\x00", "no number up to"),
        (b"x" * (MAX_POINT + 1), "takes 16385 bytes"),
        (BEGIN + b"\x01" + SIDE + b"\x01\x00\x00\x00\x00", "buckets"),
        (BEGIN + b"\x01" + SIDE + b"\x01\x7f\x02\x01\x01\x00\x00", "buckets"),
        (BEGIN + b"\x01" + SIDE + b"\x02\x00\x01\x01\x00\x01\x01\x00\x00", "buckets"),
        (BEGIN + b"\x01" + SIDE + b"\x01\x00\x01\x00\x00\x00", "empty bucket"),
        (BEGIN + b"\x01\x00\x01\n\x05\x00\x00\x00\x00\x00", "printable"),
        (BEGIN + b"\x01\x00\x01\xff\x05\x00\x00\x00\x00\x00", "UTF-8"),
        (BEGIN + b"\x01\x00\x00\x05\x00\x00\x00\x00\x00", "printable"),
        (BEGIN + b"\x02" + (SIDE + EMPTY) * 2, "a cohort twice"),
        (BEGIN + b"\x02" + SIDE + EMPTY + b"\x01" + SIDE[1:] + EMPTY, "a label twice"),
        (BEGIN + b"\x01" + SIDE + b"\x00\x02\x01a\x00\x00\x01a\x00\x00\x00", "a name twice"),
        (BEGIN + b"\x01" + SIDE + b"\x00\x00\x01\x01a\x7f\xf8" + b"\x00" * 6 + b"\x00", "cap"),
        (BEGIN + b"\x01" + SIDE + b"\x00\x00\x01\x01a\x80" + b"\x00" * 7 + b"\x00", "cap"),
        (BEGIN + b"\x01" + SIDE + b"\x00\x00\x01\x01a\x40", "too early"),
    ],
)  # fmt: skip
def test_what_is_no_point_is_refused_with_a_reason(data: bytes, why: str) -> None:
    with pytest.raises(StoreCorruptError, match=why):
        decode(7, data)
