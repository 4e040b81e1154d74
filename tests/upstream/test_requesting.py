"""What an exchange writes: heads that can be read in one way only, and bodies as framed."""

from __future__ import annotations

import pytest

from canary_middleware.upstream.events import BrokenRequestError
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import CHUNKED, NONE, UNKNOWN, Framing, Kind

HOST = (b"Host", b"shop.example")


def sized(length: int) -> Framing:
    return Framing(Kind.LENGTH, length)


def posting(framing: Framing) -> Exchange:
    lengths = [(b"Content-Length", b"%d" % framing.length)] if framing.kind is Kind.LENGTH else []
    return Exchange(b"POST", b"/", [HOST, *lengths], framing)


def test_writes_the_head_in_one_piece() -> None:
    one = Exchange(b"GET", b"/a%2Fb?x=\xe9", [HOST, (b"X-A", b"1"), (b"x-a", b"\xff\t2")], NONE)
    assert one.head == (
        b"GET /a%2Fb?x=\xe9 HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\nx-a: \xff\t2\r\n\r\n"
    )


@pytest.mark.parametrize("framing", [CHUNKED, UNKNOWN])
def test_a_body_without_length_goes_in_chunks(framing: Framing) -> None:
    one = posting(framing)
    assert one.head.endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert one.frame(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert one.frame(b"") == b""  # an empty chunk would end the body
    assert one.finish() == b"0\r\n\r\n"
    assert one.finish() == b""


def test_a_body_with_a_length_goes_as_it_is() -> None:
    one = posting(sized(5))
    assert [one.frame(b"hel"), one.frame(b""), one.frame(b"lo"), one.finish()] == [
        b"hel", b"", b"lo", b"",
    ]  # fmt: skip


def test_refuses_a_body_of_another_length() -> None:
    with pytest.raises(BrokenRequestError):
        posting(sized(2)).frame(b"abc")
    short = posting(sized(2))
    short.frame(b"a")
    with pytest.raises(BrokenRequestError):
        short.finish()
    with pytest.raises(BrokenRequestError):
        posting(NONE).frame(b"a")
    ended = posting(CHUNKED)
    ended.finish()
    with pytest.raises(BrokenRequestError):
        ended.frame(b"a")


@pytest.mark.parametrize("bad", [b"\r", b"\n", b"\0", b"a\r\nX: y", b"a\r\n"])
def test_nothing_can_break_out_of_its_line(bad: bytes) -> None:
    for head in (
        (b"GET" + bad, b"/", [HOST]),
        (b"GET", b"/" + bad, [HOST]),
        (b"GET", b"/", [HOST, (b"X" + bad, b"1")]),
        (b"GET", b"/", [HOST, (b"X", b"1" + bad)]),
    ):
        with pytest.raises(ValueError, match=r"CR, LF or NUL|no token"):
            Exchange(*head, NONE)


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        (b"", b"/", b"x"),
        (b"GET", b"", b"x"),
        (b"GET /a", b"b", b"x"),
        (b"GET", b"/ HTTP/1.1", b"x"),
        (b"GET", b"/a b", b"x"),
        (b"GET", b"/a\tb", b"x"),
        (b"GET", b"/\x7f", b"x"),
        (b"G:T", b"/", b"x"),
        (b"GET", b"/", b""),
        (b"GET", b"/", b"a b"),
        (b"GET", b"/", b"a "),
        (b"GET", b"/", b" a"),
        (b"GET", b"/", b"a:b"),
        (b"GET", b"/", b"a\n"),
        (b"GET", b"/", b"\n\na"),
        (b"GET", b"/", b"transfer-encoding: chunked, x"),
        (b"GET", b"/", b"\xe9"),
    ],
)
def test_only_tokens_are_methods_and_names(method: bytes, target: bytes, name: bytes) -> None:
    with pytest.raises(ValueError, match=r"is none|no token"):
        Exchange(method, target, [HOST, (name, b"v")], NONE)


@pytest.mark.parametrize("method", [b"CONNECT", b"connect"])
@pytest.mark.parametrize("target", [b"/", b"other.example:443"])
def test_no_tunnel_is_asked_for(method: bytes, target: bytes) -> None:
    with pytest.raises(ValueError, match="forward proxies"):
        Exchange(method, target, [HOST], NONE)


LENGTH = (b"content-LENGTH", b"5")
CODING = (b"transfer-ENCODING", b"chunked")


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        ([LENGTH], NONE),
        ([CODING], NONE),
        ([], sized(5)),
        ([LENGTH, LENGTH], sized(5)),
        ([LENGTH, CODING], sized(5)),
        ([LENGTH], CHUNKED),
        ([CODING], CHUNKED),
        ([LENGTH], UNKNOWN),
    ],
)
def test_headers_that_contradict_the_framing_are_not_written(
    headers: list[tuple[bytes, bytes]], framing: Framing
) -> None:
    with pytest.raises(ValueError, match="contradict"):
        Exchange(b"POST", b"/", headers, framing)


@pytest.mark.parametrize("names", [[b""], [b"a\n\nb", b"c"], [b"a\n", b"\nb", b"c"], [b"", b"a"]])
def test_names_are_judged_anew_where_they_only_look_like_those_seen_before(
    names: list[bytes],
) -> None:
    for seen in ([], [b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
        Exchange(b"GET", b"/", [(name, b"v") for name in seen], NONE)
    with pytest.raises(ValueError, match="no token"):
        Exchange(b"GET", b"/", [(name, b"v") for name in names], NONE)
