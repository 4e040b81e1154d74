"""The head of a request as it goes to an upstream: RFC 9112 sections 3 and 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from canary_middleware.upstream.framing import Kind

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!-~\x80-\xff]+ HTTP/1\.1")
_BREAKING: Final = b"\r\n\0"
_CHUNKED: Final = frozenset({Kind.CHUNKED, Kind.UNKNOWN})


def names_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The names of a request's headers in lower case, each between two line feeds.

    In one piece, because they are looked at in every request; and apart from the written lines,
    because HTTP/2 lets through names with a colon in them, which in HTTP/1.1 are other headers.

    Raises:
        ValueError: a name is no token.
    """
    names = b"\n%b\n" % b"\n\n".join([name for name, _ in headers]).lower()
    ends = names.translate(None, _TOKEN)
    if headers and (ends != b"\n\n" * len(headers) or b"\n\n\n" in names):
        raise ValueError("a header name that is no token")
    return names


def write(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], kind: Kind
) -> bytes:
    """The head of a request, empty line included.

    Raises:
        ValueError: CR, LF or NUL anywhere, something else than a token as the method, white space
            or control bytes in the target.
    """
    line = b"%b %b HTTP/1.1" % (method, target)
    lines = [line, *map(b": ".join, headers), b"", b""]
    if kind in _CHUNKED:
        lines.insert(-2, b"Transfer-Encoding: chunked")
    head = b"\r\n".join(lines)
    if len(head) - len(head.translate(None, _BREAKING)) != 2 * (len(lines) - 1):
        raise ValueError("CR, LF or NUL in the head of a request")
    if not _LINE.fullmatch(line):
        raise ValueError("a method or target that is none")
    return head


def check(names: bytes, kind: Kind) -> None:
    """Refuse headers that say something else of the body than was settled.

    Raises:
        ValueError: they do.
    """
    lengths = 1 if kind is Kind.LENGTH else 0
    if names.count(b"\ncontent-length\n") != lengths or b"\ntransfer-encoding\n" in names:
        raise ValueError("headers that contradict the framing of the request")
