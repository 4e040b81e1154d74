"""The pure part: what the bytes of an upstream mean, however they are cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol
from websockets.utils import accept_key

from canary_middleware.upstream.websocket_exchange import (
    MAX_HEAD,
    MAX_REASON,
    Accepted,
    Broken,
    Closed,
    Event,
    Message,
    Refused,
    TooLargeError,
    WebSocketExchange,
)

HEADERS = [
    (b"Host", b"shop.example"),
    (b"cookie", b"a=\xe9"),
    (b"X-Twice", b"1"),
    (b"X-Twice", b"2"),
    (b"Sec-WebSocket-Key", b"of the client"),
    (b"sec-websocket-extensions", b"permessage-deflate"),
    (b"Sec-WebSocket-Protocol", b"theirs"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Content-Length", b"0"),
    (b"TE", b"trailers"),
]
CUT = "unexpected end of stream"


def exchange(*subprotocols: str, max_size: int = 1_000) -> WebSocketExchange:
    return WebSocketExchange(b"/chat?a=%20b", HEADERS, subprotocols, max_size=max_size)


def acceptance(to: WebSocketExchange, *lines: bytes) -> bytes:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", to.head)
    assert found
    accept = b"Sec-WebSocket-Accept: " + accept_key(found[1].decode()).encode()
    head = (b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade")
    return b"\r\n".join([*head, accept, *lines, b"", b""])


def opened(*subprotocols: str, max_size: int = 1_000) -> WebSocketExchange:
    made = exchange(*subprotocols, max_size=max_size)
    assert [type(event) for event in made.feed(acceptance(made))] == [Accepted]
    return made


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


def close(code: int, reason: str = "") -> bytes:
    return frame(Opcode.CLOSE, code.to_bytes(2) + reason.encode())


def seen_by_server(data: bytes) -> list[tuple[Opcode, bytes]]:
    """What a server makes of the bytes that we send."""
    server = Protocol(SERVER)
    server.receive_data(data)
    assert server.parser_exc is None
    frames = [event for event in server.events_received() if isinstance(event, Frame)]
    return [(event.opcode, bytes(event.data)) for event in frames]


def test_the_head_has_every_header_but_those_of_the_clients_handshake() -> None:
    first, *lines = exchange("a", "b").head.split(b"\r\n")
    assert first == b"GET /chat?a=%20b HTTP/1.1"
    key = lines.pop(6)
    assert re.fullmatch(rb"Sec-WebSocket-Key: [A-Za-z0-9+/]{22}==", key)
    assert lines == [
        b"Host: shop.example",
        b"cookie: a=\xe9",
        b"X-Twice: 1",
        b"X-Twice: 2",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: a, b",
        b"",
        b"",
    ]


def test_without_an_offer_there_is_no_header_for_one() -> None:
    assert b"protocol" not in exchange().head.lower()


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (b"/a b", b"X", b"1"),
        (b"/a\r\nX: 1", b"X", b"1"),
        (b"", b"X", b"1"),
        (b"/", b"X: 1\r\nY", b"1"),
        (b"/", b"", b"1"),
        (b"/", b"X", b"1\r\nY: 2"),
        (b"/", b"X", b"1\n Y"),
        (b"/", b"X", b"\0"),
    ],
)
def test_nothing_starts_a_line_of_its_own(target: bytes, name: bytes, value: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        WebSocketExchange(target, [(name, value)])


@pytest.mark.parametrize("name", ["a b", "b@d", '"x"', "\xe9", "\u20ac"])
def test_no_upstream_is_offered_a_subprotocol_that_it_could_not_choose(name: str) -> None:
    """Some servers take all of them; one that an upstream chose was a failure of its version."""
    with pytest.raises(ValueError, match=r"subprotocol|latin-1"):
        exchange("v1", name)


def test_an_acceptance_tells_headers_and_subprotocol() -> None:
    made = exchange("v1", "v2")
    answer = acceptance(made, b"Set-Cookie: a=1", b"Set-Cookie: b=\xe9",
                        b"Sec-WebSocket-Protocol: v2")  # fmt: skip
    assert not made.open
    assert made.feed(answer) == [
        Accepted([(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=\xe9")], "v2")
    ]
    assert made.open


def test_interim_answers_are_not_the_answer() -> None:
    made = exchange()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 \r\n\r\n"
    assert made.feed(interim + acceptance(made)) == [Accepted([], None)]


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 3\r\n\r\nnay",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nn\r\n2\r\nay\r\n0\r\n\r\n",
    ],
)
def test_a_refusal_is_told_with_its_body(answer: bytes) -> None:
    (refused,) = exchange().feed(b"HTTP/1.1 403 Forbidden\r\nSet-Cookie: a=1\r\n" + answer)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.body) == (403, b"nay")
    assert refused.headers[0] == (b"Set-Cookie", b"a=1")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_refusal_may_end_with_the_connection(version: bytes) -> None:
    made = exchange()
    assert made.feed(b"HTTP/" + version + b" 404 Not Found\r\nX: 1\r\n\r\nno") == []
    assert made.end() == [Refused(404, [(b"X", b"1")], b"no")]


@pytest.mark.parametrize(
    "change",
    [
        (b"HTTP/1.1 101", b"HTTP/1.0 101"),
        (b"HTTP/1.1 101", b"SSH-2.0-x 101"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Connection: Upgrade", b"Connection: close"),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nSec-WebSocket-Protocol: c"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nSec-WebSocket-Extensions: x"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nNot a header"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nX: a\0b"),
    ],
)
def test_what_is_no_acceptance_is_broken(change: tuple[bytes, bytes]) -> None:
    made = exchange("a", "b")
    (event,) = made.feed(acceptance(made).replace(*change))
    assert isinstance(event, Broken)
    assert event.code == 1014
    assert not made.open


def test_a_head_without_an_end_is_broken() -> None:
    made = exchange()
    assert made.feed(b"HTTP/1.1 101 x\r\nX: " + MAX_HEAD * b"a")
    assert [type(event) for event in exchange().feed(b"HTTP/1.1 400 x\r\n" + MAX_HEAD * b"X")] == [
        Broken
    ]


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 101 Switch", b"HTTP/1.1 200 OK\r\nX"])
def test_an_end_before_the_answer_is_broken(start: bytes) -> None:
    made = exchange()
    assert made.feed(start) == [] if start else True
    assert [type(event) for event in made.end()] == [Broken]


def test_messages_are_whole() -> None:
    events = opened().feed(
        frame(Opcode.TEXT, "gr\u00fc\u00df dich".encode())
        + frame(Opcode.BINARY, b"\0\xff")
        + frame(Opcode.TEXT)
        + frame(Opcode.TEXT, b"\xc3", fin=False)
        + frame(Opcode.PING, b"between")
        + frame(Opcode.CONT, fin=False)
        + frame(Opcode.CONT, b"\xa4!")
        + frame(Opcode.BINARY, b"a", fin=False)
        + frame(Opcode.CONT)
    )
    assert events == [
        Message("gr\u00fc\u00df dich"), Message(b"\0\xff"), Message(""), Message("\u00e4!"),
        Message(b"a"),
    ]  # fmt: skip
    assert all(type(event.data) in (str, bytes) for event in events if isinstance(event, Message))


def test_pings_are_answered_here() -> None:
    made = opened()
    assert made.feed(frame(Opcode.PING, b"you?") + frame(Opcode.PONG, b"me")) == []
    assert seen_by_server(made.answers()) == [(Opcode.PONG, b"you?")]
    assert seen_by_server(made.ping()) == [(Opcode.PING, b"")]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (close(1000, "bye"), Closed(1000, "bye")),
        (close(4_321, "\u00e4" * 61), Closed(4_321, "\u00e4" * 61)),
        (close(1012), Closed(1012, "")),
        (frame(Opcode.CLOSE), Closed(None, "")),
    ],
)
def test_a_close_is_told_and_answered(data: bytes, told: Closed) -> None:
    made = opened()
    assert made.feed(data) == [told]
    assert seen_by_server(made.answers()) == [(Opcode.CLOSE, data[2:])]
    assert not made.open
    assert made.message("too late") == made.ping() == made.close(1000) == b""
    assert made.end() == []


@pytest.mark.parametrize(
    "data",
    [
        close(1005), close(1006), close(999), close(2_000), frame(Opcode.CLOSE, b"\x03"),
        frame(Opcode.CLOSE, b"\x03\xe8\xff"), frame(Opcode.TEXT, b"\xff"), b"\xc1\x00", b"\x83\x00",
        b"\x81\x80abcd", frame(Opcode.CONT, b"a"), frame(Opcode.TEXT, b"\xff", fin=False)
        + frame(Opcode.CONT), frame(Opcode.TEXT, fin=False) + frame(Opcode.TEXT), b"\x09\x00",
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_told_once_and_the_upstream_gets_a_close(data: bytes) -> None:
    made = opened()
    (event,) = made.feed(data + frame(Opcode.TEXT, b"no more"))
    assert isinstance(event, Broken)
    assert event.code == 1014
    ((opcode, payload),) = seen_by_server(made.answers())
    assert opcode is Opcode.CLOSE
    assert int.from_bytes(payload[:2]) in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA)
    assert made.feed(frame(Opcode.TEXT, b"no more")) == made.end() == []


def test_an_end_without_a_close_is_broken() -> None:
    made = opened()
    assert made.end() == [Broken(CUT)]
    half = opened()
    assert half.feed(frame(Opcode.TEXT, b"abc")[:-1]) == []
    assert [type(event) for event in half.end()] == [Broken]


@pytest.mark.parametrize(
    "data",
    [
        frame(Opcode.BINARY, bytes(101)),
        frame(Opcode.BINARY, bytes(60), fin=False) + frame(Opcode.CONT, bytes(41)),
        b"\x82\x7f" + (2**62).to_bytes(8),
    ],
)
def test_too_large_a_message_closes_with_1009(data: bytes) -> None:
    made = opened(max_size=100)
    (event,) = made.feed(data)
    assert isinstance(event, Broken)
    assert event.code == 1009
    ((opcode, payload),) = seen_by_server(made.answers())
    assert (opcode, int.from_bytes(payload[:2])) == (Opcode.CLOSE, 1009)


def test_the_largest_message_passes() -> None:
    made = opened(max_size=100)
    assert made.feed(frame(Opcode.BINARY, bytes(100))) == [Message(bytes(100))]
    assert seen_by_server(made.message(bytes(100))) == [(Opcode.BINARY, bytes(100))]
    assert seen_by_server(made.message("\u00e4" * 50)) == [(Opcode.TEXT, "\u00e4".encode() * 50)]
    for data in (bytes(101), "\u00e4" * 51):
        with pytest.raises(TooLargeError):
            made.message(data)


def test_a_million_empty_fragments_take_no_memory() -> None:
    made = opened()
    assert made.feed(frame(Opcode.TEXT, fin=False)) == []
    for _ in range(20):
        assert made.feed(frame(Opcode.CONT, fin=False) * 1_000) == []
    assert made.feed(frame(Opcode.CONT, b"x")) == [Message("x")]


@pytest.mark.parametrize("code", [None, 0, 1004, 1005, 1006, 1015, 2_999, 5_000])
def test_codes_that_nobody_may_send_become_a_close_without_code(code: int | None) -> None:
    assert seen_by_server(opened().close(code, "why")) == [(Opcode.CLOSE, b"")]


@pytest.mark.parametrize("code", [1000, 1001, 1012, 1014, 3_000, 4_999])
def test_all_others_are_sent_with_a_reason_that_fits(code: int) -> None:
    ((_, payload),) = seen_by_server(opened().close(code, "\u00e4" * 100))
    assert payload == code.to_bytes(2) + "\u00e4".encode() * (MAX_REASON // 2)


def test_after_our_close_nothing_of_the_upstreams_end_is_a_surprise() -> None:
    made = opened()
    assert made.close(1001)
    assert not made.open
    assert made.feed(frame(Opcode.TEXT, b"crossing")) == [Message("crossing")]
    assert made.feed(close(1001)) == [Closed(1001, "")]
    assert made.end() == []


CONTENT = st.text(max_size=20).map(str.encode) | st.binary(max_size=20)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Mostly well-formed frames, fragments and controls in any order, and sometimes garbage."""
    opcode = st.sampled_from(list(Opcode))
    made = draw(st.lists(st.tuples(opcode, CONTENT, st.booleans()), max_size=8))
    sent = [frame(code, data, fin=fin or code >= 8) for code, data, fin in made]
    ends = st.sampled_from([b"", close(1000), close(4_000, "bye"), frame(Opcode.CLOSE)])
    return b"".join(sent) + draw(ends) + draw(st.sampled_from([b"", b"\xff\xff\xff"]))


def outcome(made: WebSocketExchange, pieces: list[bytes]) -> tuple[list[Event], list[object]]:
    events = [event for piece in pieces for event in made.feed(piece)]
    events += made.end()
    if events and events[-1] == Broken("a text message is not UTF-8"):
        return events, []  # frames behind it were answered if they came with it, else not
    return events, list(seen_by_server_leniently(made.answers()))


def seen_by_server_leniently(data: bytes) -> list[tuple[Opcode, bytes]]:
    server = Protocol(SERVER)
    server.receive_data(data)
    frames_ = [event for event in server.events_received() if isinstance(event, Frame)]
    return [(event.opcode, bytes(event.data)) for event in frames_]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(ends)]


@given(sent=frames(), places=st.lists(st.integers(0, 1_000), max_size=10), each=st.booleans())
def test_every_split_gives_the_same_events(sent: bytes, places: list[int], *, each: bool) -> None:
    whole, split = exchange(max_size=30), exchange(max_size=30)
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    expected = outcome(whole, [hints + acceptance(whole) + sent])
    data = hints + acceptance(split) + sent
    pieces = [bytes([byte]) for byte in data] if each else cut(data, places)
    assert outcome(split, pieces) == expected
    assert isinstance(expected[0][0], Accepted)


@given(
    answer=st.sampled_from([
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX: \xe9\r\n\r\nno",
        b"HTTP/1.0 503 Later\r\nRetry-After: 1\r\n\r\nlater",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Same\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"garbage\r\n\r\n",
    ]),
    places=st.lists(st.integers(0, 100), max_size=6),
)  # fmt: skip
def test_every_split_of_a_refusal_gives_the_same_events(answer: bytes, places: list[int]) -> None:
    assert outcome(exchange(), cut(answer, places)) == outcome(exchange(), [answer])
