"""Methods, bodies of requests, paths and queries."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tests.upstream.transparency.case import (
    CHUNKED,
    FINE,
    HOST,
    Case,
    answer,
    asked,
    chunked,
    path,
    request,
)
from tests.upstream.transparency.expect import Clean, Refused, Same
from tests.upstream.transparency.steps import BODY, Answered, Received
from tests.upstream.transparency.wire import Header

BINARY: Final = bytes(range(256)) * 8
LARGE: Final = BINARY * 128  # 256 KiB
CRLFS: Final = b"\r\n\r\nGET /~nobody~ HTTP/1.1\r\n\r\n0\r\n\r\n"


def _length(body: bytes) -> Header:
    return b"Content-Length", b"%d" % len(body)


def _method(method: bytes) -> Case:
    return asked(f"method-{method.decode().lower()}", "methods", method=method)


def _odd_method(name: str, method: bytes) -> Case:
    return asked(f"method-{name}", "methods", method=method)


METHODS: Final = (
    *map(
        _method,
        (
            b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE",
            b"PROPFIND", b"MKCOL", b"REPORT", b"MERGE", b"LOCK", b"SEARCH", b"PURGE",
        ),
    ),
    _odd_method("unknown", b"BREW"),
    _odd_method("unknown-dash", b"VERSION-CONTROL"),
    _odd_method("lower-case", b"get"),
    Case(
        "method-connect", "methods",
        (request(b"shop.example:443", [(b"X-Case", b"~method-connect~")], method=b"CONNECT"),),
        FINE, Refused(frozenset({400, 403, 404, 405, 501})),
    ),
)  # fmt: skip


def _with_body(method: bytes, body: bytes = b"a=1&b=2") -> Case:
    name = f"body-{method.decode().lower()}"
    return asked(name, "bodies", b"", [_length(body)], body, method=method)


def _posted(name: str, body: bytes, *headers: Header) -> Case:
    return asked(f"body-{name}", "bodies", b"", [*headers, _length(body)], body, method=b"POST")


def _chunked(name: str, *chunks: bytes, method: bytes = b"POST") -> Case:
    body = chunked(*chunks)
    return asked(f"body-chunked-{name}", "bodies", b"", [CHUNKED], body, method=method)


def _wired(name: str, body: bytes, *headers: Header) -> Case:
    """Chunked by hand."""
    every = [*headers, CHUNKED]
    return asked(f"body-chunked-{name}", "bodies", b"", every, body, method=b"POST")


def _in_steps(name: str, headers: list[Header], pieces: list[bytes]) -> Case:
    """Each piece is sent when the origin has the one before: none may be held back."""
    head = request(path(name), headers, method=b"POST")
    steps = [step for piece in pieces for step in (piece, Received(piece))]
    return Case(name, "bodies", (head, *steps), FINE, methods=(b"POST",))


def _split(name: str, body: bytes, *sizes: int) -> Case:
    whole = request(path(name), [_length(body)], body, method=b"POST")
    cuts = [0, *sizes, len(whole)]
    pieces = [whole[one:other] for one, other in pairwise(cuts)]
    return Case(name, "bodies", tuple(pieces), FINE, methods=(b"POST",))


TOO_LARGE: Final = answer(b"413 Content Too Large", [(b"Connection", b"close")], b"too much\n")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
ASKED_ON: Final = Answered(b"HTTP/1.1 100 ")
EXPECT: Final = (b"Expect", b"100-continue")


def _expecting(name: str, body: bytes, headers: list[Header]) -> Case:
    head = request(path(name), [EXPECT, *headers], method=b"POST")
    return Case(
        name, "bodies",
        (head, ASKED_ON, body), (CONTINUE, *FINE), methods=(b"POST",),
    )  # fmt: skip


BODIES: Final = (
    *map(_with_body, (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")),
    _posted("empty", b""),
    asked("body-get-empty", "bodies", b"", [_length(b"")]),
    asked("body-delete-empty", "bodies", b"", [_length(b"")], method=b"DELETE"),
    _posted("one-byte", b"x"),
    _posted("binary", BINARY, (b"Content-Type", b"application/octet-stream")),
    _posted("large", LARGE),
    _posted("like-a-request", CRLFS),
    _posted("gzip", b"\x1f\x8b\x08 not decoded", (b"Content-Encoding", b"gzip")),
    _posted("form", b"a=%31&a=2+3", (b"Content-Type", b"application/x-www-form-urlencoded")),
    asked("body-length-leading-zero", "bodies", b"", [(b"Content-Length", b"003")], b"abc",
          method=b"POST", expect=Clean((b"abc",))),
    _chunked("one", b"hello"),
    _chunked("many", *[b"x" * size for size in range(1, 60)]),
    _chunked("bytes", *[bytes([byte]) for byte in BINARY[:256]]),
    _chunked("large", *[LARGE[at : at + 10_007] for at in range(0, len(LARGE), 10_007)]),
    _chunked("empty"),
    _chunked("get", b"a body", method=b"GET"),
    _chunked("delete", b"a body", method=b"DELETE"),
    _chunked("like-a-request", CRLFS, CRLFS),
    _wired("extensions", b'5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n'),
    _wired("upper-hex", b"A\r\n0123456789\r\n0A\r\n0123456789\r\n0\r\n\r\n"),
    _wired("leading-zeros", b"000005\r\nhello\r\n000\r\n\r\n"),
    _wired("trailers", chunked(b"hello", trailers=[(b"X-Sum", b"1"), (b"X-Sum", b"2")]),
           (b"Trailer", b"X-Sum")),
    asked("body-chunked-capital", "bodies", b"", [(b"Transfer-Encoding", b"Chunked")],
          chunked(b"hello"), method=b"POST"),
    _in_steps("body-flows", [(b"Content-Length", b"15")], [b"first", b"again", b"third"]),
    _in_steps("body-flows-chunked", [CHUNKED], [
        b"5\r\nfirst\r\n", b"5\r\nagain\r\n", b"5\r\nthird\r\n", b"0\r\n\r\n",
    ]),
    _split("body-split-head", b"hello", 5, 17, 30),
    _split("body-split-body", b"hello world", 77, 82),
    _expecting("expect-length", b"hello", [(b"Content-Length", b"5")]),
    _expecting("expect-chunked", chunked(b"hello"), [CHUNKED]),
    Case(
        "expect-refused", "bodies",
        (request(path("expect-refused"), [EXPECT, (b"Content-Length", b"5")], method=b"POST"),),
        (answer(b"417 Expectation Failed", [(b"Connection", b"close")]), b""),
        Same(whole=False), (b"POST",),
    ),
    Case(
        "expect-impatient", "bodies",
        (request(path("expect-impatient"), [EXPECT, _length(b"hello")], b"hello", method=b"POST"),),
        FINE, methods=(b"POST",),
    ),
    Case(
        "early-answer", "bodies",
        (
            request(path("early-answer"), [(b"Content-Length", b"1000000")], method=b"POST"),
            b"the first of it", Answered(b"too much"),
        ),
        (TOO_LARGE,), Same(whole=False), (b"POST",),
    ),
    Case(
        "early-start", "bodies",
        (
            request(path("early-start"), [(b"Content-Length", b"10")], method=b"POST"),
            b"first", Answered(b"begun"), b"later",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun", BODY, b"done"), methods=(b"POST",),
    ),
    Case(
        "echo-in-turns", "bodies",
        (
            request(path("echo-in-turns"), [CHUNKED], method=b"POST"),
            b"4\r\none.\r\n", Answered(b"ONE."), b"4\r\ntwo.\r\n", Answered(b"TWO."), b"0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"4\r\nONE.\r\n", Received(b"ONE."), b"4\r\nTWO.\r\n", BODY, b"0\r\n\r\n",
        ),
        methods=(b"POST",),
    ),
)  # fmt: skip


def _target(name: str, rest: bytes) -> Case:
    return asked(f"target-{name}", "targets", rest)


def _whole(name: str, target: bytes, host: bytes = HOST, method: bytes = b"GET") -> Case:
    full = f"target-{name}"
    sent = request(target.replace(b"{}", path(full)), host=host, method=method)
    return Case(full, "targets", (sent,), FINE, methods=(method,))


TARGETS: Final = (
    _target("plain", b"/a/b.html"),
    _target("trailing-slash", b"/a/"),
    _target("slash-encoded", b"/a%2Fb%2fc"),
    _target("backslash-encoded", b"/a%5Cb%5c"),
    _target("percent-upper", b"/%C3%A4%E2%82%AC"),
    _target("percent-lower", b"/%c3%a4%e2%82%ac"),
    _target("percent-mixed", b"/%c3%A4%E2%82%aC"),
    _target("percent-unneeded", b"/%61%62%63%7E%2D%2E%5F"),
    _target("percent-of-percent", b"/100%25%2525"),
    _target("percent-latin", b"/caf%E9"),
    _target("percent-not-utf-8", b"/%FF%FE%80"),
    _target("percent-nul", b"/a%00b"),
    _target("percent-crlf", b"/a%0D%0AX-Injected:%201"),
    _target("percent-space", b"/a%20b+c"),
    _target("percent-question", b"/a%3Fb%23c"),
    _target("percent-dots", b"/a/%2E%2E/%2e/b"),
    _target("percent-broken", b"/a%zz%4"),
    _target("percent-reserved", b"/%3A%40%21%24%26%27%28%29%2A%2B%2C%3B%3D"),
    _target("reserved", b"/:@!$&'()*+,;="),
    _target("semicolon", b"/a;v=1;w/b;x"),
    _target("unsafe-ascii", b'/a|b^c`d{e}"<f>\\'),
    _target("dots", b"/a/./b/../c"),
    _target("dots-at-end", b"/a/.."),
    _target("dots-above-root", b"/../../../../../etc/passwd"),
    _target("double-slash", b"//a///b//"),
    _target("raw-utf-8", b"/\xc3\xa4"),
    _target("raw-latin", b"/caf\xe9?q=\xff"),
    _target("long", b"/" + b"a" * 3000),
    _target("very-long", b"/" + b"b" * 7000),
    _target("long-query", b"?q=" + b"c" * 7000),
    _target("query", b"?a=1&b=2"),
    _target("query-empty", b"?"),
    _target("query-no-value", b"?a&b=&=c&&"),
    _target("query-repeated", b"?a=1&a=2&A=3"),
    _target("query-two-marks", b"?a=1?b=2??"),
    _target("query-semicolons", b"?a=1;b=2"),
    _target("query-plus-and-space", b"?q=a+b%20c%2B"),
    _target("query-percent-cases", b"?q=%e4%E4%c3%A4"),
    _target("query-slashes", b"?next=/a//b/../c"),
    _target("query-url", b"?next=https://a.example:8443/x?y=z%26"),
    _target("query-broken-percent", b"?q=100%&r=%"),
    _target("query-brackets", b"?a[]=1&a[b]=2&j={%22x%22:1}"),
    _target("query-quotes", b"?q='\"`"),
    _whole("double-slash-first", b"/{}//x"),
    _whole("double-slash-authority", b"//other.example{}"),
    _whole("dots-first", b"/..{}/a"),
    _whole("absolute", b"http://shop.example{}/a?b=c%2F"),
    _whole("absolute-no-path", b"http://shop.example?{}"),
    _whole("absolute-upper", b"HTTP://shop.example{}/x"),
    _whole("host-with-port", b"{}", b"shop.example:8080"),
    _whole("host-upper", b"{}", b"Shop.Example"),
    _whole("host-ipv6", b"{}", b"[::1]:8080"),
    _whole("host-ip", b"{}", b"10.0.0.1"),
    Case(
        "target-asterisk", "targets",
        (request(b"*", [(b"X-Case", b"~target-asterisk~")], method=b"OPTIONS"),),
        FINE, methods=(b"OPTIONS",),
    ),
    Case(
        "target-old-version", "targets",
        (request(path("target-old-version"), version=b"1.0"),), (BODY, answer()),
    ),
    Case(
        "target-old-without-host", "targets",
        (request(path("target-old-without-host"), version=b"1.0", host=None),), FINE,
        Clean(),
    ),
)  # fmt: skip

REQUESTS: Final = (*METHODS, *BODIES, *TARGETS)
