"""What a POST is to those who ask for one; how it is done is loaded with the first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from canary_middleware.agent.exchanging import Exchange

WITHIN: Final = 10.0
"""Seconds that a post may take. Looking up the name is the system's and comes on top."""


class PostError(Exception):
    """There is no answer; the text says why, and never shows more of the address than the host."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: of HTTP.
        body: its beginning.
        retry_after: seconds that it asks to wait, if it does so with a number.
    """

    status: int
    body: bytes = b""
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the message has arrived."""
        return 200 <= self.status < 300


Post = Callable[[str, bytes, Mapping[str, str], int], Reply]
"""Address, body, headers, bytes of the answer to read. Raises :class:`PostError`."""


class Poster:
    """Posts, each on a connection of its own.

    Args:
        within: seconds, see :data:`WITHIN`.
        clock: monotonic seconds.
    """

    def __init__(self, within: float = WITHIN, clock: Callable[[], float] = time.monotonic) -> None:
        self._within = within
        self._clock = clock
        self._exchange: Exchange | None = None

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        """Send it, and read so many bytes of what is answered.

        Raises:
            PostError: no answer came in time, or none at all.
        """
        if self._exchange is None:
            # HTTP and TLS are 2 MB, which a process that tells nobody has no use for.
            from canary_middleware.agent.exchanging import Exchange

            self._exchange = Exchange(self._within, self._clock)
        return self._exchange.post(url, body, headers, read)
