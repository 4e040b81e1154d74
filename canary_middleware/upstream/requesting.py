"""The head of a request as it goes to an upstream: RFC 9112 sections 3 and 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from canary_middleware.upstream.framing import Kind

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ASKING: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!-~\x80-\xff]+ HTTP/1\.1")
_TOLD: Final = {
    Kind.NONE: (0, 0),
    Kind.LENGTH: (1, 0),
    Kind.CHUNKED: (0, 1),
    Kind.UNKNOWN: (0, 1),
}
"""How many lines of Content-Length and of Transfer-Encoding a request has."""


def write(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], kind: Kind
) -> bytes:
    """The head of a request, empty line included, that can be read in one way only.

    The names are looked at apart from the written lines: HTTP/2 lets through names with a colon in
    them, which on the wire of HTTP/1.1 would be other headers.

    Raises:
        ValueError: CR, LF or NUL anywhere, something else than a token as a name or as the method,
            white space or control bytes in the target.
    """
    line = b"%b %b HTTP/1.1" % (method, target)
    lines = [line, *map(b": ".join, headers), b"", b""]
    if kind is Kind.CHUNKED or kind is Kind.UNKNOWN:
        lines.insert(-2, b"Transfer-Encoding: chunked")
    head = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise ValueError("CR, LF or NUL in the head of a request")
    if not _ASKING.fullmatch(line):
        raise ValueError("a method or target that is none")
    names = dict(headers)
    if b"" in names or b"".join(names).translate(None, _TOKEN):
        raise ValueError("a header name that is no token")
    return head


def check_framing(low: bytes, kind: Kind) -> None:
    """Refuse a head that says something else of its body than was settled.

    Args:
        low: the written head in lower case.
        kind: what was settled.

    Raises:
        ValueError: it does.
    """
    told = low.count(b"\r\ncontent-length: "), low.count(b"\r\ntransfer-encoding: ")
    if told != _TOLD[kind]:
        raise ValueError("headers that contradict the framing of the request")
