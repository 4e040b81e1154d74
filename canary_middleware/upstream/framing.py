"""How long the body of a message is, said in one value: RFC 9112 section 6.

What two readers of one connection understand differently is how requests are smuggled, so this is
stricter than the RFC demands: whatever could be read in two ways is refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, NamedTuple

from canary_middleware.errors import CanaryError

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
"""Eighteen digits fit a signed 64-bit number, whatever the reader behind us counts with."""


class Kind(Enum):
    """What says where a body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNKNOWN = "unknown"


class Framing(NamedTuple):
    """Where a body ends.

    Attributes:
        kind: what says so. ``UNKNOWN`` is a body that may follow and that says nothing of its
            length, as HTTP/2 allows; it goes on in chunks.
        length: bytes of the body under ``LENGTH``, else 0.
    """

    kind: Kind
    length: int = 0


NONE: Final = Framing(Kind.NONE)
CHUNKED: Final = Framing(Kind.CHUNKED)
UNKNOWN: Final = Framing(Kind.UNKNOWN)


class BadFramingError(CanaryError):
    """A request whose body could end in two places, or in none that we know of.

    Attributes:
        status: what to answer: 400.
        why: one sentence for the log.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


def framing(headers: Sequence[tuple[bytes, bytes]], *, http2: bool) -> Framing:
    """How the body of a request is framed.

    Args:
        headers: as the client sent them, in any case.
        http2: whether the request came over HTTP/2 or later, where a body needs no length and
            Transfer-Encoding is forbidden (RFC 9113 section 8.2.2).

    Raises:
        BadFramingError: the headers contradict each other or say something that we do not know.
    """
    found = [(name, value) for key, value in headers if (name := key.lower()) in _FRAMING]
    if not found:
        return UNKNOWN if http2 else NONE
    codings = [value for name, value in found if name == b"transfer-encoding"]
    if not codings:
        return Framing(Kind.LENGTH, content_length([value for _, value in found]))
    if http2:
        raise BadFramingError(400, "Transfer-Encoding in HTTP/2")
    if len(codings) < len(found):
        raise BadFramingError(400, "both Content-Length and Transfer-Encoding")
    return _chunked(codings)


def content_length(values: Sequence[bytes]) -> int:
    """The one length that a message gives, in bytes.

    Repeated equal lengths are refused too, which RFC 9110 section 8.6 leaves to the reader.

    Raises:
        BadFramingError: more than one length, or something else than up to 18 digits.
    """
    if len(values) > 1:
        raise BadFramingError(400, "more than one Content-Length")
    if not _LENGTH.fullmatch(values[0]):
        raise BadFramingError(400, "a Content-Length that is no number")
    return int(values[0])


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """The members of a list header (codings, options) in their order, in lower case."""
    return [one.strip(b" \t").lower() for one in b",".join(values).split(b",")]


def _chunked(values: Sequence[bytes]) -> Framing:
    if tokens(values) == [b"chunked"]:
        return CHUNKED
    # RFC 9112 section 6.1 would rather have a 501 for codings that we do not speak. But whoever
    # sends one could choose which version fails.
    raise BadFramingError(400, "a Transfer-Encoding that is not just chunked")
