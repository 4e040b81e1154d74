"""How many wrong sign-ins an address has, and how much is logged. Pure: the clock is given.

Nobody is locked out by strangers: only wrong attempts are counted and refused, a right token always
passes. That is no hole, since no number of attempts finds 256 random bits; the limit keeps guessers
from costing anything, and their number visible.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_ADDRESSES: Final = 4_096
BURST: Final = 10
EVERY: Final = 30.0
"""Seconds after which an address has one attempt more."""


class Bucket:
    """A token bucket: ``burst`` at once, then one every so many seconds.

    Args:
        burst: how many at once.
        every: seconds per one more.
        now: monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_every", "_left")

    def __init__(self, burst: int, every: float, now: float) -> None:
        self._burst, self._every = burst, every
        self._left, self._at = float(burst), now

    def take(self, now: float) -> float:
        """Take one; 0, or the seconds until there is one."""
        self._left = min(float(self._burst), self._left + (now - self._at) / self._every)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) * self._every


class Attempts:
    """Wrong attempts by address: as many as fit into memory, the longest quiet is forgotten first.

    Args:
        clock: monotonic seconds.
        most: addresses that are remembered.
    """

    def __init__(self, clock: Callable[[], float], most: int = MOST_ADDRESSES) -> None:
        self._clock, self._most = clock, most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wrong(self, address: str) -> float:
        """Count one; 0, or the seconds after which that address may be wrong again."""
        now, place = self._clock(), network(address)
        bucket = self._buckets.pop(place, None) or Bucket(BURST, EVERY, now)
        self._buckets[place] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket.take(now)

    def __len__(self) -> int:
        return len(self._buckets)


def network(address: str) -> str:
    """Whose attempts count as one's: an IPv4 address, or the /64 that one line of IPv6 gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


class Sparing:
    """Says which of many log lines are written: a few at once, then one in a while.

    Args:
        clock: monotonic seconds.
        burst: lines at once.
        every: seconds per one more.
    """

    def __init__(self, clock: Callable[[], float], burst: int = 20, every: float = 6.0) -> None:
        self._clock, self._bucket = clock, Bucket(burst, every, clock())
        self._left_out = 0

    def left_out(self) -> int | None:
        """``None``: leave this line out, too. Else write it, and how many were left out before."""
        if self._bucket.take(self._clock()):
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return left_out
