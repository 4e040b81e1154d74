"""One probe of an upstream over a connection of its own, for a thread that may wait."""

from __future__ import annotations

import ssl
import time
from http import HTTPStatus

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.blocking import Connection, LateError, dial
from canary_middleware.upstream.events import BrokenUpstreamError, Start
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE


def silence(origin: Origin, path: bytes | None, within: float, tls: ssl.SSLContext | None) -> str:
    """Why the upstream does not answer its probe now; nothing if it does.

    Args:
        origin: the upstream.
        path: of the probe; below 400 is an answer. Without one a connection is enough.
        within: seconds.
        tls: for https.
    """
    until = time.monotonic() + within
    try:
        conn = Connection(dial(origin, until, tls))
    except OSError as error:
        return f"no connection: {error}"
    try:
        status = 0 if path is None else _asked(conn, origin, path, until)
    except (OSError, LateError, BrokenUpstreamError) as error:
        return f"no answer: {error}"
    finally:
        conn.close()
    return "" if status < HTTPStatus.BAD_REQUEST else f"it said {status}"


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
