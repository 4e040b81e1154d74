"""An upstream as an ordinary WSGI application: HTTP and server-sent events.

Trailers have no place in WSGI and are dropped; WebSockets are refused. A body is read in pieces,
and how long a piece takes is up to the server: gunicorn gives a piece when it is whole.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from canary_middleware.context import ENVIRON_KEY
from canary_middleware.upstream.address import Origin, parse
from canary_middleware.upstream.asking import probe_target, silence
from canary_middleware.upstream.blocking import PIECE, ClientLeftError, LateError
from canary_middleware.upstream.environ import (
    asks_for_websocket,
    client,
    client_socket,
    headers,
    target,
)
from canary_middleware.upstream.events import BrokenRequestError, BrokenUpstreamError, Start
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE, BadFramingError, Framing, Kind, framing
from canary_middleware.upstream.headers import BadHeaderError, Trust, incoming, outgoing
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.lending import Lender, NoConnectionError
from canary_middleware.upstream.options import settled
from canary_middleware.upstream.pool import Counts
from canary_middleware.upstream.relaying import Relay
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.trouble import Trouble

Environ = dict[str, Any]
StartResponse = Callable[..., object]

LONGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's head; most servers allow no more either."""
CLIENT_LEFT: Final = 499
"""As nginx calls it; nobody gets that answer."""
FAILURES: Final = frozenset({502, 503, 504})
"""Statuses of our own that tell of the upstream rather than of the request."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1."""


class RefusedError(Exception):
    """Nothing of an answer has been sent, and this one shall be.

    Attributes:
        status: what to answer.
        why: a few words for the log.
        text: for the client, where the status alone would puzzle it.
    """

    def __init__(self, status: int, why: str, text: str = "") -> None:
        self.status = status
        self.why = why
        self.text = text
        super().__init__(why)


class WsgiUpstream:
    """Sends each request to another server and its answer back, unchanged but for the headers.

    Which headers change, and why, is one table: docs/upstreams.md. Redirects are never followed,
    bodies never decoded, and nothing that a client sends chooses where it goes.

    Args:
        url: ``http://host:port``, ``https://host``, ``unix:/run/app.sock``.
        timeouts: none is infinite.
        preserve_host: whether the upstream gets the Host that the client asked for; else its own.
        trust: whose ``Forwarded`` and ``X-Forwarded-*`` are kept; nobody's by default.
        connections: most at a time, per process.
        waiting: most requests that wait for one, per process.
        idle: seconds that a connection is kept without use; less than the upstream keeps it.
        probe: a path that answers below 400 once the upstream is ready; by default a connection
            is enough.
        tls: for https; by default certificates are verified against the system's authorities.

    Attributes:
        origin: where everything goes.
        health: what connects told of it.

    Raises:
        ConfigurationError: the URL or a time-out is none.
    """

    is_upstream: Final = True

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # frozen
        preserve_host: bool = True,
        trust: Trust = Trust(),  # noqa: B008  # frozen
        connections: int = 100,
        waiting: int = 1000,
        idle: float = 30.0,
        probe: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.origin: Origin = parse(url)
        self._timeouts = timeouts
        self._preserve_host = preserve_host
        self._trust = trust
        self._probe = probe_target(probe, self.origin)
        self._tls = settled(
            self.origin, timeouts, trust, tls, connections=connections, waiting=waiting, idle=idle
        )
        self.health = Health(trial=2 * timeouts.connect)
        self._lender = Lender(
            self.origin, timeouts.connect, self.health,
            limit=connections, idle=idle, waiting=waiting, tls=self._tls,
        )  # fmt: skip
        self._trouble = Trouble(self.origin)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request.

        An answer that the upstream breaks after its start raises while it is iterated: the server
        shows that by cutting the client's connection.
        """
        try:
            relay, start = self._begun(environ)
        except RefusedError as error:
            if error.status in FAILURES:
                self._trouble.failed(error.why, time.monotonic())
            return _refuse(environ, start_response, error)
        if self._trouble.active:
            self._trouble.answered(time.monotonic())
        told = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in incoming(start.headers)
        ]
        try:
            start_response(f"{start.status} {start.reason.decode('latin-1')}", told)
        except BaseException:  # how a rescue leaves an answer that it does not want
            relay.close()
            raise
        return relay if relay.whole is None else relay.whole

    def counts(self) -> Counts:
        """The connections of this process in numbers, and how many requests wait for one."""
        return self._lender.counts()

    def close(self) -> None:
        """Close the connections that are idle; nothing is passed on afterwards."""
        self._lender.close()

    def silence(self) -> str:
        """Why the upstream does not answer its probe now; nothing if it does. May wait."""
        why = silence(self.origin, self._probe, self._timeouts.connect, self._tls)
        if not why:
            self.health.answered()
        return why

    # --- private ---------------------------------------------------------------------------------

    def _begun(self, environ: Environ) -> tuple[Relay, Start]:
        relay, untouched = self._relay(environ)
        try:
            return relay, relay.begin()
        except NoConnectionError as error:
            visit = environ.get(ENVIRON_KEY)
            if visit is not None:
                visit.unsent = visit.target is self and untouched
                crowded = error.status == 503
                visit.crowded = crowded and (visit.target is self or not visit.canary)
            raise RefusedError(error.status, error.why) from error
        except LateError as error:
            raise RefusedError(504, str(error)) from error
        except BrokenUpstreamError as error:
            raise RefusedError(502, error.why) from error
        except BrokenRequestError as error:
            raise RefusedError(400, str(error)) from error
        except ClientLeftError as error:
            raise RefusedError(CLIENT_LEFT, "the client left") from error

    def _relay(self, environ: Environ) -> tuple[Relay, bool]:
        """The request on its way, and whether its body is still unread."""
        _check(environ)
        method = environ["REQUEST_METHOD"]
        try:
            found = headers(environ)
            http2 = environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2")
            framed = framing(found, http2=http2)
            sent = outgoing(
                found, client(environ), self.origin,
                preserve_host=self._preserve_host, trust=self._trust,
            )  # fmt: skip
            body: Iterator[bytes] = _pieces(environ, framed)
            untouched = framed.kind is not Kind.UNKNOWN
            if not untouched:
                first = next(body, b"")
                framed, body = (framed, chain([first], body)) if first else (NONE, body)
            path = target(environ)
            asked = path if path == b"*" else self.origin.prefix + path
            exchange = Exchange(method.encode("latin-1"), asked, sent, framed)
        except (BadFramingError, BadHeaderError) as error:
            raise RefusedError(error.status, error.why) from error
        except (BrokenRequestError, ValueError) as error:
            raise RefusedError(400, str(error)) from error
        if len(exchange.head) > LONGEST_HEAD:
            raise RefusedError(431, "the head is too long")
        bodiless = framed.kind is Kind.NONE
        relay = Relay(
            self._lender, self._timeouts, exchange, None if bodiless else body,
            repeatable=bodiless and method in SAFE, hint=environ.get("wsgi.early_hints"),
            client=client_socket(environ),
        )  # fmt: skip
        return relay, untouched


def _check(environ: Environ) -> None:
    """Refuse what is none of an upstream's business."""
    if environ["REQUEST_METHOD"] == "CONNECT":
        raise RefusedError(405, "CONNECT, which is for forward proxies")
    if environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "HTTP_HOST" not in environ:
        raise RefusedError(400, "no Host (RFC 9112 section 3.2)")
    if asks_for_websocket(environ):
        # No 501, by which a visitor could choose that its version fails.
        raise RefusedError(400, "a WebSocket", "WebSockets are not served here.\n")


def _pieces(environ: Environ, framed: Framing) -> Iterator[bytes]:
    """The body of a request, as far as it comes.

    Raises:
        RefusedError: nobody could tell where it ends.
        BrokenRequestError: it broke off.
    """
    endless = framed.kind is not Kind.LENGTH
    if endless and not environ.get("wsgi.input_terminated"):
        if framed.kind is Kind.CHUNKED:
            why = "a chunked body, whose end this server does not show"
            raise RefusedError(411, why, "A body without a length cannot be read here.\n")
        return iter(())
    return _read(environ["wsgi.input"].read, None if endless else framed.length)


def _read(read: Callable[[int], bytes], left: int | None) -> Iterator[bytes]:
    try:
        while left is None:
            piece = read(PIECE)
            if not piece:
                return
            yield piece
        while left and (piece := read(min(PIECE, left))):
            left -= len(piece)
            yield piece
    except OSError as error:  # how servers say that the client went away, or sent no chunks
        raise BrokenRequestError(f"the client's body broke off: {error}") from error


def _refuse(environ: Environ, start_response: StartResponse, error: RefusedError) -> list[bytes]:
    """A short page that tells nothing of what is behind us."""
    left = error.status == CLIENT_LEFT
    phrase = "Client Closed Request" if left else HTTPStatus(error.status).phrase
    body = (error.text or f"{phrase}\n").encode()
    told = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(f"{error.status} {phrase}", told)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
