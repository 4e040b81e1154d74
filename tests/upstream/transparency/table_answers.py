"""Answers: statuses, headers, framings, streams."""

from __future__ import annotations

from typing import Final

from tests.upstream.transparency.case import (
    CHUNKED,
    DATE,
    FINE,
    Case,
    answer,
    chunked,
    path,
    request,
    said,
)
from tests.upstream.transparency.steps import BODY, CLOSE, Received, Step
from tests.upstream.transparency.wire import Header

BINARY: Final = bytes(range(256)) * 8
LARGE: Final = BINARY * 256  # 512 KiB
GZIP: Final = bytes.fromhex("1f8b08000000000000034bcec9c8020047dddc7905000000")
REASONS: Final = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 203: b"Non-Authoritative Information",
    206: b"Partial Content", 207: b"Multi-Status", 208: b"Already Reported", 226: b"IM Used",
    300: b"Multiple Choices", 301: b"Moved Permanently", 302: b"Found", 303: b"See Other",
    305: b"Use Proxy", 307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 406: b"Not Acceptable",
    407: b"Proxy Authentication Required", 408: b"Request Timeout", 409: b"Conflict",
    410: b"Gone", 411: b"Length Required", 412: b"Precondition Failed",
    415: b"Unsupported Media Type", 416: b"Range Not Satisfiable", 421: b"Misdirected Request",
    422: b"Unprocessable Entity", 425: b"Too Early", 426: b"Upgrade Required",
    428: b"Precondition Required", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
    507: b"Insufficient Storage", 511: b"Network Authentication Required",
}  # fmt: skip
USUAL: Final[dict[int, Header]] = {
    301: (b"Location", b"/elsewhere"),
    302: (b"Location", b"http://127.0.0.1:1/~nobody~"),
    307: (b"Location", b"https://other.example/a?b=%2F"),
    401: (b"WWW-Authenticate", b'Basic realm="x, y", Bearer'),
    405: (b"Allow", b"GET, BREW"),
    503: (b"Retry-After", b"120"),
}


def _status(status: int, reason: bytes) -> Case:
    headers = [USUAL[status]] if status in USUAL else []
    return said(f"status-{status}", "statuses", answer(b"%d %s" % (status, reason), headers))


def _odd(name: str, line: bytes) -> Case:
    return said(f"status-{name}", "statuses", answer(line))


def _early(name: str, *interim: bytes, status: bytes = b"200 OK") -> Case:
    return said(f"interim-{name}", "statuses", *interim, answer(status))


HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
STATUSES: Final = (
    *(_status(status, reason) for status, reason in REASONS.items()),
    _odd("reason-odd", b"200 Everything's (fine), OK: yes!"),
    _odd("reason-empty", b"200 "),
    _odd("reason-missing", b"200"),
    _odd("reason-latin", b"404 Pas trouv\xe9"),
    _odd("reason-long", b"200 " + b"very " * 100),
    _odd("reason-wrong", b"404 OK"),
    _odd("299", b"299 Miscellaneous"),
    _odd("399", b"399 Odd"),
    _odd("418", b"418 I'm a teapot"),
    _odd("499", b"499 Client Closed"),
    _odd("599", b"599 Network Connect Timeout"),
    said("status-204", "statuses", answer(b"204 No Content", body=None)),
    said("status-204-headers", "statuses",
         answer(b"204 No Content", [(b"ETag", b'"x"'), (b"X-Left", b"3")], body=None)),
    said("status-205", "statuses", answer(b"205 Reset Content", body=b"")),
    said("status-304", "statuses", answer(b"304 Not Modified", [(b"ETag", b'"x"')], body=None)),
    said("status-304-length", "statuses",
         answer(b"304 Not Modified", [(b"ETag", b'"x"'), (b"Content-Length", b"1234")], body=None)),
    _early("103", HINTS),
    _early("103-twice", HINTS, HINTS.replace(b"/a.css", b"/b.css")),
    _early("100-unasked", b"HTTP/1.1 100 Continue\r\n\r\n"),
    _early("102", b"HTTP/1.1 102 Processing\r\nX-Left: 9\r\n\r\n"),
    _early("103-then-404", HINTS, status=b"404 Not Found"),
    said("interim-103-flows", "statuses", HINTS, Received(b"a.css"), answer()),
)  # fmt: skip


def _headers(name: str, *headers: Header) -> Case:
    return said(f"answer-{name}", "answers", answer(headers=headers))


def _lines(name: str, *lines: bytes) -> Case:
    head = [b"HTTP/1.1 200 OK", b"Date: " + DATE, b"Server: x", *lines]
    return said(
        f"answer-{name}", "answers", b"\r\n".join([*head, b"Content-Length: 2", b"", b"ok"])
    )


FIELDS: Final = (
    _headers("set-cookie", (b"Set-Cookie", b"a=1; Path=/; Expires=" + DATE)),
    _headers("set-cookie-lines", (b"Set-Cookie", b"a=1; Expires=" + DATE), (b"X-Between", b"1"),
             (b"Set-Cookie", b"b=2; HttpOnly"), (b"set-cookie", b"a=3; Secure")),
    _headers("duplicates", (b"X-One", b"a"), (b"X-Two", b"b"), (b"X-One", b"c"), (b"Vary", b"a"),
             (b"Vary", b"b"), (b"Link", b"<a>"), (b"Link", b"<b>")),
    _headers("order", (b"X-Z", b"1"), (b"ETag", b'"x"'), (b"X-A", b"2"), (b"Age", b"3")),
    _headers("spelled", (b"x-lower", b"1"), (b"X-UPPER", b"2"), (b"x-MiXeD", b"3"),
             (b"eTAG", b'"x"')),
    _headers("empty", (b"X-Empty", b""), (b"X-Next", b"1")),
    _headers("latin", (b"X-Latin", b"caf\xe9"), (b"Content-Disposition", b'filename="\xe4.txt"')),
    _headers("utf-8", (b"X-Utf-8", "grüß 日本".encode())),
    _headers("high-bytes", (b"X-High", bytes(range(0x80, 0x100)))),
    _headers("odd-name", (b"X!#$%&'*+.^`|~9", b"1"), (b"X_Under", b"1")),
    _headers("long", (b"X-Long", b"v" * 6000)),
    _headers("longer", (b"Content-Security-Policy", b"w" * 20_000)),
    _headers("many", *((b"X-Many-%d" % number, b"%d" % number) for number in range(60))),
    _headers("usual", (b"Content-Type", b"text/html;charset=UTF-8"), (b"ETag", b'W/"a"'),
             (b"Last-Modified", DATE), (b"Cache-Control", b"max-age=60"),
             (b"Accept-Ranges", b"none"),
             (b"Expires", b"0"), (b"Vary", b"Accept-Encoding"), (b"Content-Language", b"de")),
    _headers("content-range", (b"Content-Range", b"bytes 0-5/100")),
    _headers("encoding-said", (b"Content-Encoding", b"br")),
    _headers("accel", (b"X-Accel-Redirect", b"/~nobody~"), (b"X-Accel-Buffering", b"no"),
             (b"X-Sendfile", b"/etc/hostname"), (b"X-Accel-Expires", b"1")),
    _headers("via", (b"Via", b"1.1 inner.example")),
    _headers("refresh", (b"Refresh", b"5; url=http://127.0.0.1/")),
    _headers("alt-svc", (b"Alt-Svc", b'h3=":443"'), (b"Strict-Transport-Security", b"max-age=1")),
    _headers("location-relative", (b"Location", b"../x?y#z"), (b"Content-Location", b"/a%2Fb")),
    _headers("connection-names", (b"Connection", b"X-Hop, keep-alive"), (b"X-Hop", b"1"),
             (b"Keep-Alive", b"timeout=9, max=5"), (b"X-Stays", b"2")),
    _headers("connection-cookie", (b"Connection", b"Set-Cookie"), (b"Set-Cookie", b"a=1")),
    _headers("proxy-connection", (b"Proxy-Connection", b"keep-alive")),
    _headers("upgrade-offered", (b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")),
    _headers("proxy-authenticate", (b"Proxy-Authenticate", b"Basic realm=x")),
    _headers("date-odd", (b"X-Date", b"yesterday")),
    _lines("space-around", b"X-Space:    a b \t ", b"X-None:c", b"X-Tab:\td"),
    _lines("space-within", b"X-Space: a   b\t\tc"),
    said("answer-bare", "answers", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    said("answer-date-only", "answers",
         b"HTTP/1.1 200 OK\r\nDate: " + DATE + b"\r\nContent-Length: 2\r\n\r\nok"),
)  # fmt: skip


def _framed(name: str, *steps: Step, method: bytes = b"GET") -> Case:
    return said(f"framing-{name}", "framings", *steps, method=method)


def _chunks(name: str, *chunks: bytes, headers: tuple[Header, ...] = ()) -> Case:
    head = answer(headers=[*headers, CHUNKED], body=None)
    return _framed(f"chunked-{name}", head + chunked(*chunks))


def _events(name: str, head: bytes, *events: bytes, end: tuple[Step, ...]) -> Case:
    """Each event is sent when the client has the one before."""
    seen = [event.partition(b"\r\n")[2].rstrip() or event for event in events]
    steps = [step for one, text in zip(events, seen, strict=True) for step in (one, Received(text))]
    return _framed(name, head, *steps, *end)


CHUNKED_HEAD: Final = answer(headers=[(b"Content-Type", b"text/event-stream"), CHUNKED], body=None)
LENGTH: Final = (b"Content-Length", b"1234")
BARE: Final = answer(headers=[(b"Connection", b"close")], body=None)
FRAMINGS: Final = (
    _framed("length", answer(body=b"hello")),
    _framed("length-zero", answer(body=b"")),
    _framed("length-large", answer(body=LARGE)),
    _framed("length-binary", answer(body=BINARY)),
    _framed("length-in-bytes", *[bytes([byte]) for byte in answer(body=b"slowly")]),
    _framed("length-crlfs", answer(body=b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")),
    _chunks("one", b"hello"),
    _chunks("empty"),
    _chunks("bytes", *[bytes([byte]) for byte in BINARY[:512]]),
    _chunks("large", *[LARGE[at : at + 9_973] for at in range(0, len(LARGE), 9_973)]),
    _chunks("trailer-said", b"hello", headers=((b"Trailer", b"X-Sum"),)),
    _framed("chunked-extensions",
            answer(headers=[CHUNKED], body=None), b'5;x="\\"y"\r\nhello\r\n0;z\r\n\r\n'),
    _framed("chunked-capital",
            answer(headers=[(b"Transfer-Encoding", b"Chunked")], body=None), chunked(b"hello")),
    _framed("chunked-trailers", answer(headers=[(b"Trailer", b"X-Sum"), CHUNKED], body=None),
            chunked(b"hello", trailers=[(b"X-Sum", b"1"), (b"X-Sum", b"2")])),
    _framed("close", BARE, b"until the end", CLOSE),
    _framed("close-empty", BARE, CLOSE),
    _framed("close-large", BARE, LARGE, CLOSE),
    _framed("close-unsaid", answer(body=None), b"until the end", CLOSE),
    _framed("length-and-close", answer(headers=[(b"Connection", b"close")], body=b"hello"), CLOSE),
    _framed("old", answer(version=b"1.0", body=b"hello"), CLOSE),
    _framed("old-close", answer(version=b"1.0", body=None), b"until the end", CLOSE),
    _framed("old-keep-alive",
            answer(headers=[(b"Connection", b"keep-alive")], version=b"1.0", body=b"hello")),
    _framed("gzip", answer(headers=[(b"Content-Encoding", b"gzip")], body=GZIP)),
    _chunks("gzip", GZIP[:9], GZIP[9:], headers=((b"Content-Encoding", b"gzip"),)),
    _framed("head-length", answer(headers=[LENGTH], body=None), method=b"HEAD"),
    _framed("head-zero", answer(headers=[(b"Content-Length", b"0")], body=None), method=b"HEAD"),
    _framed("head-unsaid", answer(body=None), method=b"HEAD"),
    _framed("head-chunked", answer(headers=[CHUNKED], body=None), method=b"HEAD"),
    _framed("head-404", answer(b"404 Not Found", [LENGTH], None), method=b"HEAD"),
    _framed("options-empty", answer(body=b"", headers=[(b"Allow", b"GET")]), method=b"OPTIONS"),
    _framed("split-head", b"HTTP/1.1 200", b" OK\r", b"\nContent-Le", b"ngth: 2\r\n\r", b"\nok"),
    _framed("early-head", answer(headers=[(b"Content-Length", b"5")], body=None),
            Received(b"\r\n\r\n"), b"hello"),
    _events("events", CHUNKED_HEAD, b"b\r\ndata: one\n\n\r\n", b"b\r\ndata: two\n\n\r\n",
            b"d\r\ndata: three\n\n\r\n", end=(b"0\r\n\r\n",)),
    _events("events-close", BARE, b"data: one\n\n", b"data: two\n\n", end=(CLOSE,)),
    _events("events-length", answer(headers=[(b"Content-Length", b"6")], body=None), b"ab", b"cd",
            b"ef", end=()),
    _events("events-gzip",
            answer(headers=[(b"Content-Encoding", b"gzip"), CHUNKED], body=None),
            b"4\r\n\x1f\x8b\x08a\r\n", b"4\r\n\x1f\x8b\x08b\r\n", end=(b"0\r\n\r\n",)),
    Case("framing-client-old", "framings",
         (request(path("framing-client-old"), version=b"1.0"),), (BODY, answer(body=LARGE))),
    Case("framing-client-old-close", "framings",
         (request(path("framing-client-old-close"), version=b"1.0"),),
         (BODY, BARE, b"until the end", CLOSE)),
    Case("framing-two-requests", "framings",
         (request(path("framing-two-requests")), request(path("framing-two-requests", b"/2"))),
         FINE, methods=(b"GET", b"GET")),
)  # fmt: skip

ANSWERS: Final = (*STATUSES, *FIELDS, *FRAMINGS)
