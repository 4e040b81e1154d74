"""The exchange without I/O: what it writes, which answers it takes and which it refuses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.upstream.events import (
    BrokenUpstreamError,
    Data,
    End,
    Event,
    Interim,
    Limits,
    Start,
    Switch,
    Trailers,
)
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE, Framing, Kind
from tests.upstream.answers import BROKEN, GOOD, Answer

HOST = (b"Host", b"shop.example")
UPGRADE = [HOST, (b"Connection", b"Upgrade"), (b"Upgrade", b"chat")]


def exchange(method: bytes = b"GET", *, upgrade: bool = False) -> Exchange:
    return Exchange(method, b"/", UPGRADE if upgrade else [HOST], NONE)


def play(one: Exchange, pieces: list[bytes], *, close: bool = False) -> list[Event]:
    """All events of an answer, with neighbouring pieces of its body joined."""
    events = [event for piece in pieces for event in one.feed(piece)]
    events += one.close() if close else []
    joined: list[Event] = []
    for event in events:
        if isinstance(event, Data) and joined and isinstance(joined[-1], Data):
            joined[-1] = Data(joined[-1].data + event.data)
        else:
            joined.append(event)
    return joined


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(place for place in at if place <= len(whole))})
    return [whole[a:b] for a, b in pairwise(places)]


def told(answer: Answer, pieces: list[bytes]) -> tuple[object, ...]:
    """Everything an exchange says about an answer, or that it is broken."""
    one = exchange(answer.method, upgrade=answer.upgrade)
    try:
        events = play(one, pieces, close=answer.close)
    except BrokenUpstreamError:
        return ("broken",)
    return (events, one.started, one.done, one.reusable, one.continued, one.surplus)


@pytest.mark.parametrize("answer", GOOD, ids=lambda answer: answer.name)
def test_takes(answer: Answer) -> None:
    one = exchange(answer.method, upgrade=answer.upgrade)
    assert play(one, [answer.wire], close=answer.close) == list(answer.events)
    assert one.done
    assert (one.reusable, one.surplus) == (answer.reusable, answer.surplus)


@pytest.mark.parametrize("answer", BROKEN, ids=lambda answer: answer.name)
def test_refuses(answer: Answer) -> None:
    one = exchange(answer.method, upgrade=answer.upgrade)
    with pytest.raises(BrokenUpstreamError) as caught:
        play(one, [answer.wire], close=answer.close)
    assert caught.value.why
    assert not one.reusable


@pytest.mark.parametrize("answer", GOOD + BROKEN, ids=lambda answer: answer.name)
def test_byte_by_byte_is_the_same(answer: Answer) -> None:
    if len(answer.wire) > 4096:
        pieces = cut(answer.wire, list(range(0, len(answer.wire), 999)))
    else:
        pieces = [bytes([byte]) for byte in answer.wire]
    assert told(answer, pieces) == told(answer, [answer.wire])


@given(answer=st.sampled_from(GOOD + BROKEN), at=st.lists(st.integers(0, 400), max_size=8))
def test_every_split_is_the_same(answer: Answer, at: list[int]) -> None:
    assert told(answer, cut(answer.wire, at)) == told(answer, [answer.wire])


def test_nothing_fed_is_nothing_told() -> None:
    one = exchange()
    assert one.feed(b"") == []
    assert one.silent
    assert [one.started, one.done, one.reusable] == [False] * 3


def test_says_whether_anything_came() -> None:
    one = exchange()
    one.feed(b"H")
    assert not one.silent
    other = exchange()
    other.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert not other.silent


@pytest.mark.parametrize(
    "wire", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"]
)
def test_closing_before_the_end_is_broken(wire: bytes) -> None:
    one = exchange()
    one.feed(wire)
    with pytest.raises(BrokenUpstreamError, match="closed before the end"):
        one.close()


def test_closing_after_the_end_is_nothing() -> None:
    one = exchange()
    one.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert one.close() == []


def test_a_stranger_is_refused_before_its_head_is_whole() -> None:
    for wire in (b"SSH-2.0-OpenSSH_9.9\r\n", b"H2", b"\r\n", b"HTTP/1.1 200 OK\n", b"\x15\x03"):
        with pytest.raises(BrokenUpstreamError):
            exchange().feed(wire)


def test_an_early_answer_leaves_the_connection_unusable_until_the_request_is_out() -> None:
    one = Exchange(b"POST", b"/", [HOST, (b"Content-Length", b"5")], Framing(Kind.LENGTH, 5))
    one.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert one.done
    assert not one.reusable
    one.frame(b"hello")
    one.finish()
    assert one.reusable


def test_a_request_that_asks_to_close_is_the_last() -> None:
    one = Exchange(b"GET", b"/", [HOST, (b"Connection", b"close")], NONE)
    one.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert one.done
    assert not one.reusable


def test_bytes_after_the_end_are_told_and_spoil_the_connection() -> None:
    one = exchange()
    one.feed(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert one.reusable
    assert one.feed(b"x") == []
    assert one.surplus
    assert not one.reusable


def test_data_is_told_when_it_comes() -> None:
    one = exchange()
    one.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert one.feed(b"3\r\nab") == [Data(b"ab")]
    assert one.feed(b"c\r\n") == [Data(b"c")]
    assert one.feed(b"1\r\nd\r\n1\r\ne\r\n") == [Data(b"de")]


# Limits


def heads(size: int) -> bytes:
    start, end = b"HTTP/1.1 204 No Content\r\nX: ", b"\r\n\r\n"
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("step", [1 << 20, 1000, 7])
def test_the_limit_of_the_head_is_exact(step: int) -> None:
    limits = Limits(head=5000)
    for size, fits in ((5000, True), (5001, False)):
        one = Exchange(b"GET", b"/", [HOST], NONE, limits=limits)
        wire = heads(size)
        pieces = cut(wire, list(range(0, len(wire), step)))
        if fits:
            assert play(one, pieces)[-1] == End()
        else:
            with pytest.raises(BrokenUpstreamError, match="too long"):
                play(one, pieces)


def test_interim_heads_count_towards_the_limit() -> None:
    one = Exchange(b"GET", b"/", [HOST], NONE, limits=Limits(head=1000))
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with pytest.raises(BrokenUpstreamError, match="too long"):
        play(one, [early] * (1000 // len(early) + 1))
    other = Exchange(b"GET", b"/", [HOST], NONE, limits=Limits(head=1000))
    other.feed(early)
    with pytest.raises(BrokenUpstreamError, match="too long"):
        other.feed(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 950)


@pytest.mark.parametrize(("lines", "fits"), [(1000, True), (1001, False)])
def test_the_number_of_lines_is_limited(lines: int, fits: bool) -> None:
    wire = b"HTTP/1.1 204 No Content\r\n" + b"X: y\r\n" * lines + b"\r\n"
    if fits:
        assert isinstance(exchange().feed(wire)[0], Start)
    else:
        with pytest.raises(BrokenUpstreamError, match="too many"):
            exchange().feed(wire)


def test_a_head_that_never_ends_is_not_kept() -> None:
    line = b"X-Header: " + b"a" * 2000 + b"\r\n"
    with pytest.raises(BrokenUpstreamError, match="too long"):
        play(exchange(), [b"HTTP/1.1 200 OK\r\n", *[line] * 40])


@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_chunks_that_are_mostly_extensions_are_refused(step: int) -> None:
    one = exchange()
    one.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire = b"1;" + b"a" * 300_000 + b"\r\nx\r\n0\r\n\r\n"
    with pytest.raises(BrokenUpstreamError, match="extensions"):
        play(one, cut(wire, list(range(0, len(wire), step))))


def test_small_chunks_and_signed_ones_are_fine() -> None:
    one = exchange()
    one.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20_000):
        assert one.feed(b"1\r\nx\r\n") == [Data(b"x")]
    signed = b"400;chunk-signature=" + b"f" * 64 + b"\r\n" + b"y" * 1024 + b"\r\n"
    for _ in range(500):
        assert one.feed(signed) == [Data(b"y" * 1024)]
    assert one.feed(b"0\r\n\r\n") == [End()]


def test_trailers_that_never_end_are_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
    with pytest.raises(BrokenUpstreamError):
        play(exchange(), [head, *[b"a" * 1000] * 100])


# Upgrades


def test_a_switch_hands_over_what_came_with_it() -> None:
    one = exchange(upgrade=True)
    wire = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n\x81\x00"
    (event,) = one.feed(wire)
    assert event == Switch(b"Go", [(b"Connection", b"Upgrade"), (b"Upgrade", b"chat")], b"\x81\x00")
    assert one.done
    assert not one.reusable


def test_a_switched_connection_is_never_handed_on() -> None:
    one = Exchange(b"GET", b"/", [HOST, (b"Upgrade", b"chat")], NONE)
    one.feed(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    assert one.done
    assert not one.reusable


def test_an_upgrade_may_be_declined() -> None:
    one = exchange(upgrade=True)
    wire = b"HTTP/1.1 426 No\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nno"
    assert [type(event) for event in one.feed(wire)] == [Start, Data, End]
    assert one.done
    assert not one.reusable


def test_interim_answers_are_told_apart() -> None:
    one = exchange()
    hints = b"HTTP/1.1 103 E\r\nLink: a\r\nConnection: close\r\n\r\n"
    assert one.feed(hints) == [Interim(103, [(b"Link", b"a"), (b"Connection", b"close")])]
    before = one.continued
    assert one.feed(b"HTTP/1.1 100 C\r\n\r\n" + hints)[0] == Interim(100, [])
    assert (before, one.continued) == (False, True)
    assert not one.started


@given(st.binary(max_size=300))
@example(b"HTTP/1.1 200 OK\r\n\r\n")
def test_no_bytes_raise_anything_else(wire: bytes) -> None:
    for prefix in (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        one = exchange()
        try:
            events = one.feed(prefix + wire)
            events += one.close()
        except BrokenUpstreamError:
            continue
        assert events[-1] == End()
        assert sum(isinstance(event, Trailers) for event in events) <= 1
