"""Where the body of a request ends, and which requests leave that open to argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.upstream.framing import (
    CHUNKED,
    NONE,
    UNKNOWN,
    BadFramingError,
    Framing,
    Kind,
    framing,
)

LENGTH, CODING = b"content-length", b"Transfer-Encoding"


@pytest.mark.parametrize(
    ("headers", "http2", "expected"),
    [
        ([], False, NONE),
        ([], True, UNKNOWN),
        ([(b"host", b"a"), (b"X-Content-Length", b"7")], False, NONE),
        ([(LENGTH, b"0")], False, Framing(Kind.LENGTH, 0)),
        ([(b"CONTENT-LENGTH", b"17")], False, Framing(Kind.LENGTH, 17)),
        ([(LENGTH, b"17")], True, Framing(Kind.LENGTH, 17)),
        ([(LENGTH, b"9" * 18)], False, Framing(Kind.LENGTH, 10**18 - 1)),
        ([(CODING, b"chunked")], False, CHUNKED),
        ([(CODING.lower(), b" Chunked\t")], False, CHUNKED),
    ],
)
def test_says_where_a_body_ends(
    headers: list[tuple[bytes, bytes]], http2: bool, expected: Framing
) -> None:
    assert framing(headers, http2=http2) == expected


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (400, [(LENGTH, b"1"), (CODING, b"chunked")]),
        (400, [(CODING, b"chunked"), (LENGTH, b"1")]),
        (400, [(CODING, b"gzip, chunked"), (LENGTH, b"1")]),
        (400, [(LENGTH, b"1"), (LENGTH, b"2")]),
        (400, [(LENGTH, b"1"), (LENGTH.upper(), b"1")]),
        *[
            (400, [(LENGTH, value)])
            for value in (
                b"", b"+1", b"-1", b"1,1", b"1, 1", b" 1", b"1 ", b"0x1", b"1.0", b"1_0", b"\xb2",
                b"1" * 19, b"1\n",
            )
        ],
        *[
            (400, [(CODING, value)])
            for value in (
                b"", b"chunked, chunked", b"chunked, gzip", b"gzip", b"identity", b"xchunked",
                b"chunked;q=1", b"chunked,", b",chunked", b"gzip,,chunked",
                b"chunked, gzip, chunked", b"\x0bchunked", b"chunked\0",
            )
        ],
        (400, [(CODING, b"chunked"), (CODING, b"chunked")]),
        (400, [(CODING, b"chunked"), (CODING, b"gzip")]),
        (400, [(CODING, b"gzip, chunked")]),
        (400, [(CODING, b"gzip"), (CODING, b"chunked")]),
    ],
)  # fmt: skip
def test_refuses_what_can_be_read_in_two_ways(
    status: int, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(BadFramingError) as caught:
        framing([(b"Host", b"a"), *headers], http2=False)
    assert caught.value.status == status
    assert caught.value.why


def test_http2_has_no_transfer_encoding() -> None:
    with pytest.raises(BadFramingError) as caught:
        framing([(CODING, b"chunked")], http2=True)
    assert caught.value.status == 400


VALUES = st.one_of(st.sampled_from([b"chunked", b"1", b"gzip", b"identity"]), st.binary(max_size=6))
NAMES = st.sampled_from([LENGTH, CODING, b"x", LENGTH.upper(), CODING.upper()])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.booleans())
def test_there_is_one_answer_or_a_refusal(headers: list[tuple[bytes, bytes]], http2: bool) -> None:
    lengths = [value for name, value in headers if name.lower() == LENGTH]
    codings = [value for name, value in headers if name.lower() == CODING.lower()]
    try:
        kind, length = framing(headers, http2=http2)
    except BadFramingError:
        assert lengths or codings
        return
    assert len(lengths) == (kind is Kind.LENGTH)
    assert len(codings) == (kind is Kind.CHUNKED)
    assert length == int(lengths[0] if lengths else 0)
