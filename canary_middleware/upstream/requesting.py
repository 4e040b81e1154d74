"""The head of a request as it goes to an upstream: RFC 9112 sections 3 and 5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from canary_middleware.upstream.framing import Kind

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!-~\x80-\xff]+ HTTP/1\.1")
_BREAKING: Final = b"\r\n\0"
_LENGTH: Final = Kind.LENGTH
_IN_CHUNKS: Final = (Kind.CHUNKED, Kind.UNKNOWN)
_USUAL: Final = 1024
"""Bytes of names up to which a verdict is kept: browsers differ in a few dozen sets of names, and
what strangers can make us hold is 256 of these."""


class _Told(NamedTuple):
    """What the names of a request's headers say."""

    lengths: int
    coded: bool
    connection: bool


def check(headers: Sequence[tuple[bytes, bytes]], kind: Kind) -> bool:
    """Refuse names that are none, and headers that contradict what was settled of the body.

    Names are looked at apart from the written lines, because HTTP/2 lets through names with a
    colon in them, which in HTTP/1.1 are other headers.

    Returns:
        Whether there is a Connection among them.

    Raises:
        ValueError: a name is no token, or there is a Transfer-Encoding or another number of
            Content-Lengths than the framing wants.
    """
    names = b"\n\n".join([name for name, _ in headers])
    told = (_told if len(names) <= _USUAL else _told.__wrapped__)(names, len(headers))
    if told.coded or told.lengths != (kind is _LENGTH):
        raise ValueError("headers that contradict the framing of the request")
    return told.connection


@lru_cache(maxsize=256)
def _told(joined: bytes, count: int) -> _Told:
    """Of so many names. No other names look so: a line feed in one would be one too many."""
    names = b"\n\n%b\n" % joined.lower()
    ends = names.translate(None, _TOKEN)
    if count and (ends != b"\n" + b"\n\n" * count or b"\n\n\n" in names):
        raise ValueError("a header name that is no token")
    return _Told(
        names.count(b"\ncontent-length\n"),
        b"\ntransfer-encoding\n" in names,
        b"\nconnection\n" in names,
    )


def write(
    method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], kind: Kind
) -> bytes:
    """The head of a request, empty line included.

    Raises:
        ValueError: CR, LF or NUL anywhere, something else than a token as the method, white space
            or control bytes in the target, or CONNECT in any case.
    """
    # With a path, too, it makes a tunnel of a connection that others shall use, or ends it.
    if len(method) == 7 and method.upper() == b"CONNECT":
        raise ValueError("CONNECT, which is for forward proxies")
    line = b"%b %b HTTP/1.1" % (method, target)
    lines = [line, *map(b": ".join, headers), b"", b""]
    if kind in _IN_CHUNKS:
        lines.insert(-2, b"Transfer-Encoding: chunked")
    head = b"\r\n".join(lines)
    if len(head) - len(head.translate(None, _BREAKING)) != 2 * (len(lines) - 1):
        raise ValueError("CR, LF or NUL in the head of a request")
    if not _LINE.fullmatch(line):
        raise ValueError("a method or target that is none")
    return head
