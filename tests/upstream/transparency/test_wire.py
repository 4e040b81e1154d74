"""The reader of the recordings: what it takes apart, and what it calls a flaw."""

from __future__ import annotations

import pytest

from tests.upstream.transparency import wire

HELLO = b"5\r\nhello\r\n0\r\n\r\n"


def test_a_request_is_taken_apart() -> None:
    data = b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-One:  a b\t\r\nContent-Length: 5\r\n\r\nhelloGET"
    read = wire.request(data)
    assert read is not None
    message, rest = read
    assert (message.method, message.target, message.body, rest) == (
        b"POST",
        b"/a?b",
        b"hello",
        b"GET",
    )
    assert message.headers[1] == (b"X-One", b"a b")
    assert (message.framing, message.complete, message.flaws) == ("length", True, ())


def test_every_beginning_of_a_request_is_incomplete() -> None:
    data = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO
    for end in range(len(data)):
        read = wire.request(data[:end])
        assert read is None or not read[0].complete
    read = wire.request(data)
    assert read is not None
    assert (read[0].body, read[0].complete, read[1]) == (b"hello", True, b"")


def test_extensions_are_read_over_and_trailers_kept_apart() -> None:
    data = b'5;a="b"\r\nhello\r\n0;c\r\nX-A: 1\r\nX-A: 2\r\n\r\nrest'
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    read = wire.answer(head + data, b"GET", closed=False)
    assert read is not None
    message, rest = read
    assert (message.body, rest) == (b"hello", b"rest")
    assert message.trailers == ((b"X-A", b"1"), (b"X-A", b"2"))


@pytest.mark.parametrize(
    ("head", "flaw"),
    [
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", "bare LF"),
        (b"GET / HTTP/1.1\r\nHost: x\rY: 1\r\n\r\n", "bare CR"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "folded line"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", "NUL"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : 1\r\n\r\n", "header line b'A : 1'"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", "header line b'A'"),
        (b"GET / HTTP/1.1\r\nA: 1\r\n\r\n", "Host"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "Host"),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "first line"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "first line"),
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "empty line first"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n.",
         "repeated length"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", "length"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
         "length beside transfer coding"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "transfer coding"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "chunk end"),
    ],
)  # fmt: skip
def test_what_a_strict_reader_refuses_is_a_flaw(head: bytes, flaw: str) -> None:
    read = wire.request(head)
    assert read is not None
    assert flaw in read[0].flaws


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_some_answers_have_no_body_whatever_they_say(method: bytes, status: int) -> None:
    data = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\nhello" % status
    found, rest = wire.answers(data, [method], closed=False)
    assert [(one.framing, one.complete) for one in found] == [("none", True)]
    assert rest == b"hello"


def test_an_answer_without_framing_ends_with_its_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nhel"
    for closed in (False, True):
        found, _ = wire.answers(data, [b"GET"], closed=closed)
        assert [(one.body, one.complete) for one in found] == [(b"hel", closed)]


def test_interim_answers_come_before_the_one_that_counts() -> None:
    data = b"HTTP/1.1 103 X\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    found, rest = wire.answers(data * 2, [b"GET", b"GET"], closed=False)
    assert [one.status for one in found] == [103, 200] * 2
    assert rest == b""


def test_what_is_no_answer_is_left_over() -> None:
    assert wire.answers(b"\x15\x03\x01", [b"GET"], closed=True) == ([], b"\x15\x03\x01")
