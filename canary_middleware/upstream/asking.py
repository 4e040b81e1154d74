"""One probe of an upstream over a connection of its own, for a thread that may wait."""

from __future__ import annotations

import ssl
import time

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.blocking import Connection, LateError, dial
from canary_middleware.upstream.events import BrokenUpstreamError, Start
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE


def answers(origin: Origin, path: bytes | None, within: float, tls: ssl.SSLContext | None) -> bool:
    """Whether the upstream answers its probe now; without one, whether it can be reached.

    Args:
        origin: the upstream.
        path: of the probe; below 400 is an answer.
        within: seconds.
        tls: for https.
    """
    until = time.monotonic() + within
    try:
        conn = Connection(dial(origin, until, tls))
    except OSError:
        return False
    try:
        return path is None or _asked(conn, origin, path, until) < 400
    except (OSError, LateError, BrokenUpstreamError):
        return False
    finally:
        conn.close()


def _asked(conn: Connection, origin: Origin, path: bytes, until: float) -> int:
    headers = [(b"Host", origin.authority), (b"Connection", b"close")]
    exchange = Exchange(b"GET", path, headers, NONE)
    left = memoryview(exchange.head)
    while left:
        left = left[conn.send(left, until) :]
    while True:
        data = conn.receive(until)
        for event in exchange.feed(data) if data else exchange.close():
            if isinstance(event, Start):
                return event.status
