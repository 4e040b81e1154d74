"""Requests that two readers could read in two ways, and worse: row S20."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.upstream.transparency.case import FINE, Case, chunked, path
from tests.upstream.transparency.expect import Clean, Expectation, Refused

HIDDEN: Final = b"GET /~{}~/hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n"
WHOLLY_HIDDEN: Final = HIDDEN.replace(b"{}", b"hidden-in-body")
CLEAN: Final = Clean()
SMUGGLING: Final = "smuggling"


def _raw(
    name: str,
    *lines: bytes,
    body: bytes = b"",
    expect: Expectation = CLEAN,
    method: bytes = b"POST",
) -> Case:
    """A request of these lines; what is hidden in its body names the case, too."""
    first = [b"%s %s HTTP/1.1" % (method, path(name)), b"Host: shop.example"]
    sent = b"\r\n".join([*first, *lines, b"", body.replace(b"{}", name.encode())])
    return Case(name, SMUGGLING, (sent,), FINE, expect, (method,))


def _whole(name: str, text: bytes, expect: Expectation = CLEAN) -> Case:
    sent = text.replace(b"{}", path(name))
    return Case(name, SMUGGLING, (sent,), FINE, expect)


CL5: Final = b"Content-Length: 5"
TE: Final = b"Transfer-Encoding: chunked"
HELLO: Final = chunked(b"hello")
BOTH: Final = (
    _raw("cl-and-te", b"Content-Length: 30", TE, body=b"0\r\n\r\n" + HIDDEN),
    _raw("te-and-cl", TE, b"Content-Length: 4", body=HELLO, expect=Clean((b"hello",))),
    _raw("cl-zero-and-te", b"Content-Length: 0", TE, body=HELLO, expect=Clean((b"hello",))),
    _raw("cl-twice", CL5, b"Content-Length: 6", body=b"hello!", expect=Refused()),
    _raw("cl-twice-same", CL5, CL5, body=b"hello", expect=Clean((b"hello",))),
    _raw("cl-list", b"Content-Length: 5, 5", body=b"hello", expect=Clean((b"hello",))),
    _raw("cl-list-differs", b"Content-Length: 5, 6", body=b"hello!", expect=Refused()),
    _raw(
        "cl-zero-and-more",
        b"Content-Length: 0",
        b"Content-Length: 70",
        body=HIDDEN,
        expect=Refused(),
    ),
    _raw("te-twice", TE, TE, body=HELLO, expect=Clean((b"hello",))),
    _raw("te-and-identity", TE, b"Transfer-Encoding: identity", body=HELLO, expect=Refused()),
)
LENGTHS: Final = tuple(
    _raw(f"cl-{name}", b"Content-Length: " + value, body=b"hello", expect=Refused())
    for name, value in {
        "plus": b"+5", "minus": b"-5", "hex": b"0x5", "text": b"five", "empty": b"",
        "float": b"5.0", "inner-space": b"5 5", "underscore": b"1_0",
        "huge": b"99999999999999999999999999", "superscript": b"\xb2", "semicolon": b"5;5",
    }.items()
)  # fmt: skip
CODINGS: Final = tuple(
    _raw(f"te-{name}", b"Transfer-Encoding: " + value, body=HELLO, expect=Clean((b"hello",)))
    for name, value in {
        "unknown": b"xchunked", "gzip": b"gzip", "gzip-last": b"chunked, gzip",
        "identity": b"identity", "twice-inside": b"chunked, chunked", "quoted": b'"chunked"',
        "semicolon": b"chunked;q=1", "comma": b",chunked,", "nul": b"chunked\x00",
        "vertical-tab": b"\x0bchunked", "empty": b"",
    }.items()
)  # fmt: skip
CHUNKS: Final = tuple(
    replace(_raw(f"chunk-{name}", TE, body=body, expect=Clean((b"hello",))), patience=1.0)
    for name, body in {
        "size-plus": b"+5\r\nhello\r\n0\r\n\r\n", "size-hex-sign": b"0x5\r\nhello\r\n0\r\n\r\n",
        "size-space": b" 5\r\nhello\r\n0\r\n\r\n", "size-negative": b"-5\r\nhello\r\n0\r\n\r\n",
        "size-huge": b"fffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
        "bare-lf": b"5\nhello\n0\n\n", "bare-cr": b"5\rhello\r0\r\r",
        "end-missing": b"5\r\nhelloX\r\n0\r\n\r\n", "extension-lf": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        "trailer-framing": b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
    }.items()
)  # fmt: skip
LINES: Final = (
    _whole("bare-lf", b"GET {} HTTP/1.1\nHost: shop.example\nX-A: 1\n\n"),
    _whole("bare-lf-one", b"GET {} HTTP/1.1\r\nHost: shop.example\nX-A: 1\r\n\r\n"),
    _whole(
        "bare-cr",
        b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\rX-B: 2\r\n\r\n",
        Clean(without=(b"\r",)),
    ),
    _whole("nul-in-value", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-A: a\x00b\r\n\r\n"),
    _whole("nul-in-name", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-\x00A: 1\r\n\r\n"),
    _whole("nul-in-target", b"GET {}\x00 HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    _whole("folded", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\n X-B: 2\r\n\r\n"),
    _whole(
        "folded-coding",
        b"POST {} HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding:\r\n "
        b"chunked\r\n\r\n0\r\n\r\n",
    ),
    _whole("folded-first", b"GET {} HTTP/1.1\r\n X-A: 1\r\nHost: shop.example\r\n\r\n"),
    _whole(
        "space-before-colon",
        b"POST {} HTTP/1.1\r\nHost: shop.example\r\nContent-Length : 5\r\n\r\nhello",
        Refused(),
    ),
    _whole(
        "space-before-colon-coding",
        b"POST {} HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding : chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\n",
        Refused(),
    ),
    _whole("space-in-name", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX A: 1\r\n\r\n"),
    _whole("no-colon", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-A\r\n\r\n"),
    _whole("empty-name", b"GET {} HTTP/1.1\r\nHost: shop.example\r\n: 1\r\n\r\n"),
    _whole("name-not-ascii", b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-\xe4: 1\r\n\r\n"),
    _whole(
        "control-in-value",
        b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-A: \x01\x7f\r\n\r\n",
    ),
    _whole("two-spaces", b"GET  {} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    _whole("tab-in-line", b"GET\t{} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    _whole("space-in-target", b"GET {}/a b HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    _whole("no-version", b"GET {}\r\nHost: shop.example\r\n\r\n"),
    _whole("version-2", b"GET {} HTTP/2.0\r\nHost: shop.example\r\n\r\n"),
    _whole("version-odd", b"GET {} HTTP/1.1x\r\nHost: shop.example\r\n\r\n", Refused()),
    _whole("fragment", b"GET {}#a HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    _whole("empty-line-first", b"\r\nGET {} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
)
HOSTS: Final = (
    _whole("host-missing", b"GET {} HTTP/1.1\r\nX-A: 1\r\n\r\n", Refused()),
    _whole(
        "host-twice",
        b"GET {} HTTP/1.1\r\nHost: shop.example\r\nHost: evil.example\r\n\r\n",
        Refused(),
    ),
    _whole("host-path", b"GET {} HTTP/1.1\r\nHost: shop.example/evil\r\n\r\n"),
    _whole("host-userinfo", b"GET {} HTTP/1.1\r\nHost: a@shop.example\r\n\r\n"),
    _whole("host-space", b"GET {} HTTP/1.1\r\nHost: shop.example evil\r\n\r\n"),
    _whole("host-names-upstream", b"GET {} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"),
    _whole(
        "target-names-upstream",
        b"GET http://169.254.169.254{} HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ),
    _whole(
        "header-names-upstream",
        b"GET {} HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Host: 169.254.169.254\r\n"
        b"X-Upstream: http://169.254.169.254/\r\n\r\n",
        Clean(without=(b"X-Forwarded-Host: 169", b"x-forwarded-host: 169")),
    ),
    _raw(
        "head-of-300-kb",
        b"X-A: " + b"a" * 300_000,
        method=b"GET",
        expect=Refused(frozenset({400, 413, 414, 431})),
    ),
    _raw("head-of-2000-lines", *[b"X-%d: 1" % number for number in range(2000)], method=b"GET"),
    _raw(
        "hidden-in-body",
        b"Content-Length: %d" % len(WHOLLY_HIDDEN),
        body=WHOLLY_HIDDEN,
        expect=Clean((WHOLLY_HIDDEN,)),
    ),
)

ATTACKS: Final = (*BOTH, *LENGTHS, *CODINGS, *CHUNKS, *LINES, *HOSTS)
