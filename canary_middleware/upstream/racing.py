"""Which address of a name to connect to: RFC 8305, as far as the event loop knows it."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Final

NEXT_ADDRESS: Final = 0.25
"""Seconds after which the next address of a name is tried beside the first (RFC 8305 section 8)."""


def race(loop: asyncio.AbstractEventLoop, host: str) -> dict[str, Any]:
    """Options of ``create_connection``.

    Of an address there is only one, and a race that is cancelled may forget the socket that won.
    uvloop knows no races: it tries one address after the other.
    """
    if _is_address(host) or not isinstance(loop, asyncio.BaseEventLoop):
        return {}
    return {"happy_eyeballs_delay": NEXT_ADDRESS}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
