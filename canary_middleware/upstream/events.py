"""What happens in an exchange with an upstream: events, limits and errors, without behaviour."""

from __future__ import annotations

from typing import Final, NamedTuple

from canary_middleware.errors import CanaryError

Headers = list[tuple[bytes, bytes]]


class Limits(NamedTuple):
    """What an upstream may make us hold, or read to no purpose.

    Attributes:
        head: bytes of all heads of one answer together, the interim ones included.
        lines: header lines of one head, and of the trailers.
        trailers: bytes of the names and values of the trailers.
        chunks: bytes on the wire that are no data, beyond what chunks need: extensions of chunks.
            Counted once per piece fed, so a piece with much data may hold a little more.
    """

    head: int = 64 * 1024
    lines: int = 1000
    trailers: int = 8 * 1024
    chunks: int = 16 * 1024


LIMITS: Final = Limits()


class BrokenUpstreamError(CanaryError):
    """What came from upstream is no answer; the connection is of no further use.

    Attributes:
        why: a few words for the log, which quote nothing of what came.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class BrokenRequestError(CanaryError):
    """The client sent more or less body than its head promised."""


class Interim(NamedTuple):
    """A 1xx answer other than 101; the final one is still to come."""

    status: int
    headers: Headers


class Start(NamedTuple):
    """The head of the final answer.

    Attributes:
        status: 200 to 599.
        reason: the words after it, possibly none.
        headers: in their order and case, without white space around values.
        length: bytes of the body that follows; ``None`` if its end will tell.
    """

    status: int
    reason: bytes
    headers: Headers
    length: int | None


class Data(NamedTuple):
    """A piece of the body, never empty."""

    data: bytes


class Trailers(NamedTuple):
    """Header fields that came after the body: not to be mixed with the others."""

    headers: Headers


class End(NamedTuple):
    """The answer is complete."""


class Switch(NamedTuple):
    """101: from here on the connection speaks what the request asked for.

    Attributes:
        reason: the words after the status.
        headers: of the 101.
        rest: what came after them, in the new protocol.
    """

    reason: bytes
    headers: Headers
    rest: bytes


Event = Interim | Start | Data | Trailers | End | Switch
