"""Answers as they stand on the wire, good and broken, with what an exchange has to make of them."""

from __future__ import annotations

from dataclasses import dataclass

from canary_middleware.upstream.events import Data, End, Event, Headers, Interim, Start, Trailers


@dataclass(frozen=True)
class Answer:
    """One answer.

    ``close`` is whether the upstream closes after it; ``events`` is empty where it is broken.
    """

    name: str
    wire: bytes
    events: tuple[Event, ...] = ()
    method: bytes = b"GET"
    upgrade: bool = False
    close: bool = False
    reusable: bool = True
    surplus: bool = False


def ok(
    headers: Headers, length: int | None, body: bytes = b"", *, status: int = 200
) -> tuple[Event, ...]:
    data = (Data(body),) if body else ()
    return (Start(status, b"OK", headers, length), *data, End())


CL5 = (b"Content-Length", b"5")
CL0 = (b"Content-Length", b"0")
TE = (b"Transfer-Encoding", b"chunked")
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

GOOD = [
    Answer("length", HELLO, ok([CL5], 5, b"hello")),
    Answer("length 0", EMPTY + b"\r\n", ok([CL0], 0)),
    Answer("length with zeros", HELLO.replace(b": 5", b": 005"),
           ok([(b"Content-Length", b"005")], 5, b"hello")),
    Answer("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
           (Start(200, b"", [CL0], 0), End())),
    Answer("empty reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
           (Start(200, b"", [CL0], 0), End())),
    Answer("odd reason", b"HTTP/1.1 299 a\tb \xfc!\r\nContent-Length: 0\r\n\r\n",
           (Start(299, b"a\tb \xfc!", [CL0], 0), End())),
    Answer("599", b"HTTP/1.1 599 OK\r\nContent-Length: 0\r\n\r\n", ok([CL0], 0, status=599)),
    Answer("values", EMPTY + b"X: \t a  b \t \r\nx:\r\nY: \xe9\r\nX:c\r\n\r\n",
           ok([CL0, (b"X", b"a  b"), (b"x", b""), (b"Y", b"\xe9"), (b"X", b"c")], 0)),
    Answer("space after a length", EMPTY.replace(b"0\r\n", b"0  \r\n") + b"\r\n", ok([CL0], 0)),
    Answer("redirect", EMPTY.replace(b"200", b"302") + b"Location: /\r\n\r\n",
           ok([CL0, (b"Location", b"/")], 0, status=302)),
    Answer("chunks", CHUNKS + b"3\r\nabc\r\n00A;x=y;z=\"q;\"\r\n0123456789\r\n000\r\n\r\n",
           ok([TE], None, b"abc0123456789")),
    Answer("no chunk", CHUNKS + b"0\r\n\r\n", ok([TE], None)),
    Answer("big word", CHUNKS.replace(b"chunked", b"CHUNKED") + b"0\r\n\r\n",
           ok([(b"Transfer-Encoding", b"CHUNKED")], None)),
    Answer("trailers", CHUNKS + b"1\r\na\r\n0\r\nT: 1 \r\nu:\r\n\r\n",
           (Start(200, b"OK", [TE], None), Data(b"a"), Trailers([(b"T", b"1"), (b"u", b"")]),
            End())),
    Answer("trailer Connection", CHUNKS + b"0\r\nConnection: close\r\n\r\n",
           (Start(200, b"OK", [TE], None), Trailers([(b"Connection", b"close")]), End())),
    Answer("until close", b"HTTP/1.1 200 OK\r\n\r\nhello", ok([], None, b"hello"),
           close=True, reusable=False),
    Answer("nothing until close", b"HTTP/1.1 200 OK\r\n\r\n", ok([], None),
           close=True, reusable=False),
    Answer("close", EMPTY + b"Connection: Foo, CLOSE\r\n\r\n",
           ok([CL0, (b"Connection", b"Foo, CLOSE")], 0), reusable=False),
    Answer("close in a second line", EMPTY + b"Connection: keep-alive\r\nconnection:close\r\n\r\n",
           ok([CL0, (b"Connection", b"keep-alive"), (b"connection", b"close")], 0),
           reusable=False),
    Answer("not close", EMPTY + b"Connection: closed, enclose\r\n\r\n",
           ok([CL0, (b"Connection", b"closed, enclose")], 0)),
    Answer("1.0", HELLO.replace(b"1.1", b"1.0"), ok([CL5], 5, b"hello"), reusable=False),
    Answer("1.0 keep-alive", EMPTY.replace(b"1.1", b"1.0") + b"Connection: Keep-Alive\r\n\r\n",
           ok([CL0, (b"Connection", b"Keep-Alive")], 0)),
    Answer("1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nhello", ok([], None, b"hello"),
           close=True, reusable=False),
    Answer("HEAD with a length", HELLO[:-5], ok([CL5], 0), method=b"HEAD"),
    Answer("HEAD with chunks", CHUNKS, ok([TE], 0), method=b"HEAD"),
    Answer("HEAD with neither", b"HTTP/1.1 200 OK\r\n\r\n", ok([], 0), method=b"HEAD"),
    Answer("head is not HEAD", HELLO, ok([CL5], 5, b"hello"), method=b"head"),
    Answer("204", b"HTTP/1.1 204 OK\r\n\r\n", ok([], 0, status=204)),
    Answer("204 with a length", HELLO[:-5].replace(b"200", b"204"), ok([CL5], 0, status=204)),
    Answer("304 with a length", HELLO[:-5].replace(b"200", b"304"), ok([CL5], 0, status=304)),
    Answer("304 with chunks", CHUNKS.replace(b"200", b"304"), ok([TE], 0, status=304)),
    Answer("205 has a body", HELLO.replace(b"200", b"205"), ok([CL5], 5, b"hello", status=205)),
    Answer("100", b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
           (Interim(100, []), *ok([CL5], 5, b"hello"))),
    Answer("103s", b"HTTP/1.1 103 E\r\nA: 1\r\n\r\nHTTP/1.1 103 E\r\nB: 2\r\n\r\n" + HELLO,
           (Interim(103, [(b"A", b"1")]), Interim(103, [(b"B", b"2")]), *ok([CL5], 5, b"hello"))),
    Answer("103 with close", b"HTTP/1.1 103 E\r\nConnection: close\r\n\r\n" + HELLO,
           (Interim(103, [(b"Connection", b"close")]), *ok([CL5], 5, b"hello"))),
    Answer("100 with a length", b"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\n" + HELLO,
           (Interim(100, [CL5]), *ok([CL5], 5, b"hello"))),
    Answer("upgrade without 101",
           HELLO.replace(b"Con", b"Upgrade: h2c\r\nConnection: upgrade\r\nCon"),
           ok([(b"Upgrade", b"h2c"), (b"Connection", b"upgrade"), CL5], 5, b"hello")),
    Answer("answer after an answer", HELLO + HELLO, ok([CL5], 5, b"hello"),
           reusable=False, surplus=True),
    Answer("line end after an answer", HELLO + b"\r\n", ok([CL5], 5, b"hello"),
           reusable=False, surplus=True),
    Answer("answer after chunks", CHUNKS + b"0\r\n\r\n" + CHUNKS + b"1\r\na\r\n0\r\nT: 1\r\n\r\n",
           ok([TE], None), reusable=False, surplus=True),
    Answer("garbage after chunks", CHUNKS + b"1\r\na\r\n0\r\n\r\nx", ok([TE], None, b"a"),
           reusable=False, surplus=True),
    Answer("garbage after the last chunks",
           CHUNKS.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") + b"0\r\n\r\nx",
           ok([(b"Connection", b"close"), TE], None), reusable=False, surplus=True),
    Answer("much garbage after chunks", CHUNKS + b"0\r\n\r\n" + b"x" * 40_000, ok([TE], None),
           reusable=False, surplus=True),
    Answer("line end after chunks", CHUNKS + b"0\r\n\r\n\r\n", ok([TE], None),
           reusable=False, surplus=True),
    Answer("CR after chunks", CHUNKS + b"0\r\nT: 1\r\n\r\n\r",
           (Start(200, b"OK", [TE], None), Trailers([(b"T", b"1")]), End()),
           reusable=False, surplus=True),
    Answer("body of a HEAD", HELLO, ok([CL5], 0), method=b"HEAD", reusable=False, surplus=True),
    Answer("body of a 204", HELLO.replace(b"200", b"204"), ok([CL5], 0, status=204),
           reusable=False, surplus=True),
    Answer("chunks of a 304", CHUNKS.replace(b"200", b"304") + b"0\r\n\r\n",
           ok([TE], 0, status=304), reusable=False, surplus=True),
]  # fmt: skip


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b""))


def chunks(wire: bytes) -> bytes:
    return CHUNKS + wire


_STATUS_LINES = [
    b"", b"garbage", b"GET / HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK", b"HTTP/1.1 200OK", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK",
    b" HTTP/1.1 200 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 600 OK",
    b"HTTP/1.1 999 OK", b"HTTP/1.1 -20 OK", b"HTTP/1.1 2\xb20 OK", b"HTTP/1.2 200 OK",
    b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/11 200 OK", b"http/1.1 200 OK", b"ICY 200 OK",
    b"RTSP/1.0 200 OK", b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK",
    b"HTTP/1.1 200 O\x1bK", b"HTTP/1.1 200 OK\r", b"\r\nHTTP/1.1 200 OK", b"HTTP/1.1 2e2 OK",
]  # fmt: skip

_LENGTHS = [
    b"+5", b"-5", b"5 5", b"5,5", b"5, 5", b"0x5", b"5.0", b"five", b"", b"\xb2", b"5_0",
    b"9" * 19, b"9" * 30, b"1e1",
]  # fmt: skip

_CODINGS = [
    b"gzip, chunked", b"chunked, gzip", b"gzip", b"identity", b"chunked, chunked", b"xchunked",
    b"chunkedx", b'"chunked"', b"chunked;q=1", b"chunked,", b",chunked", b"", b"\x0bchunked",
    b"chun ked", b"chunked\xa0",
]  # fmt: skip

_LINES = [
    b"Nothing", b": x", b"X : y", b" X: y", b"\tX: y", b"X Y: z", b"X\0Y: z", b"X: y\0z",
    b"X: y\rz", b"X: y\nz", b"X: y\n z", b"X: y\r", b"X: y\n", b"X: y\r\n z", b"X: y\r\n\tz",
    b"X:\r\n z", b"X: y\r\n ", b"X: y\x01z", b"X: y\x7fz", b"X\xe9: y", b"X(: y", b"X\r: y",
]  # fmt: skip

_CHUNKS = [
    b"x\r\n", b"\r\n", b"-1\r\na\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n",
    b"1 \r\na\r\n", b"1 ;x\r\na\r\n", b";x\r\na\r\n", b"1\na\r\n", b"1\ra\r\n", b"1\r\na\n",
    b"1\r\nab\r\n", b"2\r\na\r\n0\r\n\r\n", b"1\r\na0\r\n\r\n", b"1;x\na\r\n", b"1;x\0\r\na\r\n",
    b'1;x="\r\n"\r\na\r\n', b"1_0\r\n", b"10000000000000000\r\na", b"0\r\n\n", b"0\n\r\n",
    b"0\r\nT\r\n\r\n", b"0\r\nT: 1\r\n 2\r\n\r\n", b"0\r\nT: \0\r\n\r\n", b"0\r\nT: 1\n\r\n",
    b"0\r\nContent-Length: 1\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"0\r\nT: " + b"a" * 9000 + b"\r\n\r\n", b"0\r\n" + b"T: 1\r\n" * 1001 + b"\r\n",
    b"1;" + b"a" * 300_000 + b"\r\nx\r\n0\r\n\r\n",
]  # fmt: skip

_SWITCHED = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"

BROKEN = [
    *(Answer(f"status line {n}", line + b"\r\nContent-Length: 0\r\n\r\n")
      for n, line in enumerate(_STATUS_LINES)),
    *(Answer(f"length {value!r}", head(b"Content-Length: " + value) + b"hello")
      for value in _LENGTHS),
    *(Answer(f"coding {value!r}", head(b"Transfer-Encoding: " + value) + b"0\r\n\r\n")
      for value in _CODINGS),
    *(Answer(f"line {line!r}", head(line, b"Content-Length: 0")) for line in _LINES),
    *(Answer(f"last line {line!r}", head(b"Content-Length: 0", line))
      for line in _LINES),
    *(Answer(f"chunks {wire[:30]!r}", chunks(wire)) for wire in _CHUNKS),
    Answer("two lengths", head(b"Content-Length: 5", b"content-length: 6") + b"hello"),
    Answer("one length twice", head(b"Content-Length: 5", b"Content-Length: 5") + b"hello"),
    Answer("length and coding", head(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    Answer("coding and length", head(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    Answer("length and identity", head(b"Content-Length: 5", b"Transfer-Encoding: identity")),
    Answer("chunked twice", head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    Answer("gzip in another line", head(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked")),
    Answer("broken, though HEAD", head(b"Content-Length: 5", b"Content-Length: 5"), method=b"HEAD"),
    Answer("broken, though HEAD 2", head(b"Transfer-Encoding: gzip"), method=b"HEAD"),
    Answer("chunks in 1.0", CHUNKS.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
    Answer("300 kB of a value", head(b"X: " + b"a" * 300_000)),
    Answer("300 kB of a name", head(b"X" * 300_000 + b": a")),
    Answer("300 kB of lines", head(*[b"X: " + b"a" * 3000] * 100)),
    Answer("300 kB of reason", b"HTTP/1.1 200 " + b"a" * 300_000 + b"\r\n\r\n"),
    Answer("101 unasked", _SWITCHED),
    Answer("101 without headers", b"HTTP/1.1 101 Go\r\n\r\n", upgrade=True),
    Answer("garbage after 100", b"HTTP/1.1 100 Continue\r\n\r\ngarbage"),
    Answer("body of a 100", b"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nhello" + HELLO),
    Answer("only 100", b"HTTP/1.1 100 Continue\r\n\r\n", close=True),
    Answer("other protocol after 100", b"HTTP/1.1 100 C\r\n\r\nRTSP/1.0 200 OK\r\n\r\n"),
    Answer("short body", HELLO[:-1], close=True),
    Answer("short chunks", CHUNKS + b"1\r\na\r\n", close=True),
    Answer("chunks without last line", CHUNKS + b"0\r\n", close=True),
    Answer("trailers without end", CHUNKS + b"0\r\nT: 1\r\n", close=True),
]  # fmt: skip
