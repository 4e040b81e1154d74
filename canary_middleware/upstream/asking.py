"""What an upstream is asked to learn whether it is ready, and one such probe, for a thread."""

from __future__ import annotations

import ssl
import time
from http import HTTPStatus

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.blocking import Connection, LateError, dial
from canary_middleware.upstream.events import BrokenUpstreamError, Start
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE


def probe_target(path: str | None, origin: Origin) -> bytes | None:
    """The target of a probe as it goes on the wire; ``None`` if a connection is enough.

    Raises:
        ConfigurationError: it is no path.
    """
    if path is None:
        return None
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        hint = "write it as in a URL, such as /healthz"
        raise ConfigurationError([Problem("probe", f"{path!r} is no path", hint)])
    return origin.prefix + path.encode("ascii")


def silence(origin: Origin, path: bytes | None, within: float, tls: ssl.SSLContext | None) -> str:
    """Why the upstream does not answer its probe now; nothing if it does.

    It is asked over a connection of its own, and waits.

    Args:
        origin: the upstream.
        path: of :func:`probe_target`; below 400 is an answer.
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
