"""Headers of requests."""

from __future__ import annotations

from typing import Final

from tests.upstream.transparency.case import (
    CHUNKED,
    FINE,
    HOST,
    Case,
    asked,
    chunked,
    path,
    request,
)
from tests.upstream.transparency.expect import Clean
from tests.upstream.transparency.wire import Header


def _with(name: str, *headers: Header) -> Case:
    return asked(f"header-{name}", "headers", b"", headers)


def _line(name: str, *lines: bytes) -> Case:
    """Lines as they stand, white space and all."""
    full = f"header-{name}"
    head = [b"GET %s HTTP/1.1" % path(full), b"Host: shop.example", *lines, b"", b""]
    return Case(full, "headers", (b"\r\n".join(head),), FINE)


def _get(name: bytes, value: bytes) -> Case:
    slug = name.decode().lower()
    return _with(slug, (name, value))


USUAL: Final = (
    (b"Accept", b"text/html;q=0.9, */*;q=0.1"),
    (b"Accept-Encoding", b"gzip, deflate, br"),
    (b"Accept-Language", b"de-AT,de;q=0.7"),
    (b"Authorization", b"Bearer eyJh.bGci.Oi=="),
    (b"Cache-Control", b"no-cache, max-age=0"),
    (b"From", b"someone@example.com"),
    (b"If-Match", b'"a", W/"b"'),
    (b"If-Modified-Since", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"If-None-Match", b'W/"67ab43", "x,y"'),
    (b"If-Range", b'"67ab43"'),
    (b"If-Unmodified-Since", b"Sunday, 06-Nov-94 08:49:37 GMT"),
    (b"Origin", b"https://other.example"),
    (b"Pragma", b"no-cache"),
    (b"Priority", b"u=1, i"),
    (b"Range", b"bytes=0-99, -5"),
    (b"Referer", b"https://shop.example/?q=%C3%A4"),
    (b"Traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    (b"User-Agent", b"Mozilla/5.0 (X11; Linux) (odd; (nested))"),
    (b"Via", b"1.1 front.example"),
    (b"Max-Forwards", b"10"),
    (b"Early-Data", b"1"),
    (b"Content-Type", b'text/plain; charset="utf-8"'),
    (b"X-Request-Id", b"7f3a"),
    (b"X-Real-IP", b"6.6.6.6"),
    (b"X-Accel-Redirect", b"/internal/secret"),
)
SPOOFED: Final = (
    (b"X-Forwarded-For", b"6.6.6.6"),
    (b"X-Forwarded-Proto", b"https"),
    (b"X-Forwarded-Host", b"evil.example"),
    (b"Forwarded", b"for=6.6.6.6;proto=https;host=evil.example"),
)
MANY: Final = tuple((b"X-Many-%d" % number, b"%d" % number) for number in range(60))

VALUES: Final = (
    _with("several", *USUAL[:12]),
    _with("order", (b"X-Z", b"1"), (b"X-A", b"2"), (b"Accept", b"a/b"), (b"X-M", b"3")),
    _with("duplicates", (b"X-One", b"a"), (b"X-Two", b"b"), (b"X-One", b"c"), (b"X-One", b"a")),
    _with("duplicate-spellings", (b"X-One", b"a"), (b"x-one", b"b"), (b"X-ONE", b"c")),
    _with("duplicates-accept", (b"Accept", b"a/b"), (b"Accept", b"c/d")),
    _with("spelled-lower", (b"x-lower", b"1"), (b"accept", b"a/b")),
    _with("spelled-upper", (b"X-UPPER", b"1"), (b"ACCEPT", b"a/b")),
    _with("spelled-mixed", (b"x-MiXeD", b"1"), (b"eTag-lIke", b"a/b"), (b"WWW-Thing", b"1")),
    _with("cookie", (b"Cookie", b"a=1; b=2; a=3")),
    _with("cookie-lines", (b"Cookie", b"a=1"), (b"Cookie", b"b=2; c=3"), (b"X-Then", b"1")),
    _with("cookie-odd", (b"Cookie", b'a="x, y; z"; b==; ;c; d=\xe4')),
    _with("cookie-empty", (b"Cookie", b"")),
    _with("empty", (b"X-Empty", b""), (b"X-Next", b"1")),
    _with("latin", (b"X-Latin", b"caf\xe9")),
    _with("utf-8", (b"X-Utf-8", "grüß 日本".encode())),
    _with("high-bytes", (b"X-High", bytes(range(0x80, 0x100)))),
    _with("punctuation", (b"X-Punct", b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")),
    _with("odd-name", (b"X!#$%&'*+.^`|~9", b"1")),
    _with("underscore", (b"X_Underscore", b"1")),
    _with("numeric-name", (b"9", b"1")),
    _with("colons", (b"X-Colon", b"a:b: c")),
    _with("commas", (b"X-Comma", b"a,b,, c ,"), (b"X-Comma", b",")),
    _with("quoted", (b"X-Quoted", b'"a\\"b,c"; d="\t"')),
    _with("encoded", (b"X-Encoded", b"=?utf-8?q?a=20b?= %C3%A4")),
    _with("long", (b"X-Long", b"v" * 6000)),
    _with("very-long", (b"X-Long", b"w" * 30_000)),
    _with("many", *MANY),
    _line("space-around", b"X-Space:    a b \t ", b"X-None:c", b"X-Tab:\td"),
    _line("space-within", b"X-Space: a   b\t\tc"),
    _line("only-space", b"X-Space:    ", b"X-Next: 1"),
    *(_get(name, value) for name, value in USUAL),
)  # fmt: skip

HOPS: Final = (
    Case("header-host-last", "headers",
         (request(path("header-host-last"), [(b"Accept", b"a/b"), (b"Host", HOST), (b"X-A", b"1")],
                  host=None),), FINE),
    _with("content-type-first", (b"Content-Type", b"text/plain"), (b"X-After", b"1")),
    _with("proxy-authorization", (b"Proxy-Authorization", b"Basic YTpi"), (b"X-Next", b"1")),
    _with("connection-close", (b"Connection", b"close")),
    _with("connection-keep-alive", (b"Connection", b"keep-alive"), (b"Keep-Alive", b"timeout=5")),
    _with("connection-names", (b"Connection", b"X-Hop, x-other"), (b"X-Hop", b"1"),
          (b"X-Other", b"2"), (b"X-Stays", b"3")),
    _with("connection-lines", (b"Connection", b"X-Hop"), (b"Connection", b"keep-alive, X-More"),
          (b"X-Hop", b"1"), (b"X-More", b"2")),
    _with("connection-host", (b"Connection", b"close, Host")),
    _with("connection-cookie", (b"Connection", b"cookie, authorization"), (b"Cookie", b"a=1"),
          (b"Authorization", b"Basic YTpi")),
    _with("connection-forwarded", (b"Connection", b"X-Forwarded-For, X-Forwarded-Proto"),
          (b"X-Forwarded-For", b"6.6.6.6")),
    asked("header-connection-length", "headers", b"",
          [(b"Connection", b"Content-Length"), (b"Content-Length", b"5")], b"hello",
          method=b"POST"),
    asked("header-connection-coding", "headers", b"",
          [(b"Connection", b"Transfer-Encoding"), CHUNKED], chunked(b"hello"), method=b"POST"),
    _with("connection-odd", (b"Connection", b", ,close,, ")),
    _with("proxy-connection", (b"Proxy-Connection", b"keep-alive")),
    _with("te-trailers", (b"Connection", b"TE"), (b"TE", b"trailers")),
    _with("te-gzip", (b"Connection", b"TE"), (b"TE", b"gzip, trailers;q=0.5")),
    _with("upgrade-h2c", (b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c"),
          (b"HTTP2-Settings", b"AAMAAABkAARAAAAAAAIAAAAA")),
    _with("upgrade-unnamed", (b"Upgrade", b"websocket")),
    _with("trailer-without", (b"Trailer", b"X-Sum")),
)  # fmt: skip

CLAIMS: Final = (
    *(_with(f"spoofed-{name.decode().lower()}", (name, value)) for name, value in SPOOFED),
    _with("spoofed-all", *SPOOFED),
    _with("spoofed-lines", (b"X-Forwarded-For", b"6.6.6.6"),
          (b"x-forwarded-for", b"7.7.7.7, 8.8.8.8")),
    _with("spoofed-empty", (b"X-Forwarded-For", b""), (b"X-Forwarded-Proto", b"")),
    asked("header-spoofed-underscore", "headers", b"",
          [(b"X_Forwarded_For", b"6.6.6.6"), (b"X_FORWARDED_PROTO", b"https")],
          expect=Clean(without=(b"6.6.6.6", b"https"))),
)  # fmt: skip

HEADERS: Final = (*VALUES, *HOPS, *CLAIMS)
