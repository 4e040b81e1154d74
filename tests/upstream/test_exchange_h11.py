"""The exchange against h11, an independent reader of HTTP/1.1.

Valid answers are read alike. Of spoiled ones we take none that h11 refuses, except what
:func:`lenient` lists, and what both take they read alike. In the other direction we refuse what
h11 takes, on purpose:

* lines that end with LF alone, empty lines before an answer, folded header lines (obs-fold);
* repeated equal lengths, Content-Length beside Transfer-Encoding, lengths of 19 digits and more;
* other versions than 1.0 and 1.1, chunks in HTTP/1.0, statuses from 600 on;
* control bytes and DEL in values and reasons, white space before the colon and after chunk sizes;
* trailers that speak of framing, heads and trailers beyond our limits.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from canary_middleware.upstream.events import (
    BrokenUpstreamError,
    Data,
    End,
    Headers,
    Interim,
    Start,
    Trailers,
)
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE
from tests.upstream.answers import BROKEN, GOOD


class Reading(NamedTuple):
    """What a reader makes of the bytes of an answer, after which the connection is closed."""

    interim: list[tuple[int, Headers]]
    status: int
    reason: bytes
    headers: Headers
    body: bytes
    trailers: Headers
    reusable: bool


def ours(method: bytes, wire: bytes) -> Reading | None:
    one = Exchange(method, b"/", [(b"Host", b"a")], NONE)
    try:
        events = one.feed(wire)
        reusable = one.reusable
        events += one.close()
    except BrokenUpstreamError:
        return None
    assert isinstance(events[-1], End)
    (start,) = (event for event in events if isinstance(event, Start))
    return Reading(
        [(event.status, event.headers) for event in events if isinstance(event, Interim)],
        start.status,
        start.reason,
        start.headers,
        b"".join(event.data for event in events if isinstance(event, Data)),
        [line for event in events if isinstance(event, Trailers) for line in event.headers],
        reusable,
    )


def theirs(method: bytes, wire: bytes) -> Reading | None:
    one = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    one.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    one.send(h11.EndOfMessage())
    one.receive_data(wire)
    try:
        return _their_reading(one)
    except h11.RemoteProtocolError:
        return None


def _their_reading(one: h11.Connection) -> Reading:
    interim, body, start, closed = [], b"", None, False
    while True:
        got = one.next_event()
        match got:
            case h11.InformationalResponse():
                interim.append((got.status_code, got.headers.raw_items()))
            case h11.Response():
                start = got
            case h11.Data():
                body += bytes(got.data)
            case h11.EndOfMessage():
                assert start is not None
                return Reading(
                    interim,
                    start.status_code,
                    start.reason,
                    start.headers.raw_items(),
                    body,
                    got.headers.raw_items(),
                    one.their_state is h11.DONE and not closed and not one.trailing_data[0],
                )
            case h11.NEED_DATA:
                closed = True
                one.receive_data(b"")
            case _:
                raise h11.RemoteProtocolError(f"no answer: {got}")


def latin(alphabet: str, **sizes: int) -> st.SearchStrategy[bytes]:
    return st.text(alphabet, **sizes).map(lambda text: text.encode("latin-1"))


TOKEN = latin("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8)
WORDS = latin('!"(),/:;<=>?@[]{}~09Az\x80\xff \t', max_size=12).map(lambda text: text.strip(b" \t"))
SPACE = st.sampled_from([b"", b" ", b"\t", b" \t "])
TELLING = {
    b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"proxy-connection",
}  # fmt: skip
LINE = st.tuples(TOKEN.filter(lambda name: name.lower() not in TELLING), SPACE, WORDS, SPACE)
LINES = st.lists(LINE, max_size=6)
EXTENSION = st.sampled_from([b"", b";a", b";a=b", b';a="b;c";d=1'])


@st.composite
def chunked(draw: st.DrawFn, body: bytes, trailers: bytes) -> bytes:
    wire = b""
    while body:
        size = draw(st.integers(1, len(body)))
        wire += b"%x%b\r\n%b\r\n" % (size, draw(EXTENSION), body[:size])
        body = body[size:]
    return wire + b"0" * draw(st.integers(1, 4)) + b"\r\n" + trailers + b"\r\n"


def written(lines: list[tuple[bytes, bytes, bytes, bytes]]) -> bytes:
    return b"".join(
        b"%b:%b%b%b\r\n" % (name, left, value, right) for name, left, value, right in lines
    )


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid answer of any framing, perhaps with interim ones before it."""
    early = draw(st.lists(st.tuples(st.sampled_from([100, 102, 103, 199]), LINES), max_size=2))
    wire = b"".join(
        b"HTTP/1.1 %d Early\r\n%b\r\n" % (code, written(lines)) for code, lines in early
    )
    body = draw(st.binary(max_size=40))
    lines = [written([line]) for line in draw(LINES)]
    how = draw(st.sampled_from(["length", "chunks", "close", "1.0"]))
    if how == "length":
        lines.append(b"Content-Length: %d\r\n" % len(body))
    elif how == "chunks":
        lines.append(b"Transfer-Encoding: chunked\r\n")
        body = draw(chunked(body, written(draw(LINES))))
    if draw(st.booleans()):
        lines.append(
            draw(st.sampled_from([b"Connection: close\r\n", b"connection: Keep-Alive\r\n"]))
        )
    head = b"".join(draw(st.permutations(lines)))
    status = draw(st.integers(200, 599))
    minor = b"0" if how == "1.0" else b"1"
    return wire + b"HTTP/1.%b %d %b\r\n%b\r\n%b" % (minor, status, draw(WORDS), head, body)


METHODS = st.sampled_from([b"GET", b"HEAD", b"POST"])


def comparable(reading: Reading, wire: bytes) -> Reading:
    """Without what h11 does otherwise and no worse.

    It writes the value of Transfer-Encoding in lower case, and keeps no connection to HTTP/1.0,
    which we do if the upstream says keep-alive, as RFC 9112 section 9.3 allows.
    """
    headers = [
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in reading.headers
    ]
    reusable = reading.reusable and b"HTTP/1.0" not in wire
    return reading._replace(headers=headers, reusable=reusable)


def lenient(wire: bytes) -> bool:
    """Whether we take the answer, though h11 refuses it.

    The size of a chunk may have more than 20 digits as long as the first ones are zeros.
    """
    return re.search(rb"\r\n0{20,}", wire) is not None


@settings(max_examples=100)
@given(METHODS, answers())
def test_valid_answers_are_read_alike(method: bytes, wire: bytes) -> None:
    assert (reading := ours(method, wire)) is not None
    other = theirs(method, wire)
    assert other is not None
    assert comparable(reading, wire) == comparable(other, wire)


SPOILS = st.sampled_from([
    b"\r", b"\n", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"1", b"f", b"\r\n", b"\r\n\r\n",
    b"\r\n ", b"\x7f", b"\xff", b"\x0b", b"\x0c", b'"', b"-", b"+", b"chunked", b"gzip, ",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n\r\n", b"101", b"204",
])  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    wire = draw(st.one_of(answers(), st.sampled_from([one.wire for one in GOOD])))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(wire)))
        drop = draw(st.integers(0, 3))
        wire = wire[:at] + draw(st.one_of(st.just(b""), SPOILS)) + wire[at + drop :]
    return wire


def agree(method: bytes, wire: bytes) -> str:
    mine, other = ours(method, wire), theirs(method, wire)
    if mine is None:
        return "refused by both" if other is None else "refused by us"
    if other is None:
        assert lenient(wire)
        return "refused by h11"
    assert comparable(mine, wire) == comparable(other, wire)
    return "taken by both"


@settings(max_examples=250)
@given(METHODS, spoiled())
@example(b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 21 + b"\r\n\r\n")
def test_of_spoiled_answers_we_take_none_that_h11_refuses(method: bytes, wire: bytes) -> None:
    event(agree(method, wire))


def test_the_tables_agree_too() -> None:
    for answer in GOOD:
        if not answer.surplus:
            assert agree(answer.method, answer.wire) == "taken by both", answer.name
    for answer in BROKEN:
        if not answer.upgrade:
            assert agree(answer.method, answer.wire).startswith("refused by"), answer.name
