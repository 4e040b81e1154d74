"""An upstream as a WSGI application: it passes requests on, and answers as the upstream does.

Trailers have no place in WSGI and are dropped; WebSockets are refused. A body is read in pieces,
and how long a piece takes is up to the server: gunicorn gives a piece when it is whole.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from canary_middleware.upstream.address import parse
from canary_middleware.upstream.blocking import PIECE, LateError
from canary_middleware.upstream.environ import asks_for_websocket, client, headers, target
from canary_middleware.upstream.events import BrokenRequestError, BrokenUpstreamError
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE, BadFramingError, Framing, Kind, framing
from canary_middleware.upstream.headers import BadHeaderError, Trust, incoming, outgoing
from canary_middleware.upstream.lending import Lender, NoConnectionError
from canary_middleware.upstream.pool import Counts
from canary_middleware.upstream.relaying import Relay
from canary_middleware.upstream.settings import Timeouts

logger = logging.getLogger("canary_middleware")

Environ = dict[str, Any]
StartResponse = Callable[..., object]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1."""
_REASONS: Final = {
    400: "Bad Request",
    411: "Length Required",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
TIMEOUTS: Final = Timeouts()
NOBODY: Final = Trust()


class _RefusedError(Exception):
    """A request that is not passed on.

    Attributes:
        status: what to answer.
        text: for the client, where the status alone would puzzle it.
    """

    def __init__(self, status: int, why: str, text: str = "") -> None:
        self.status = status
        self.text = text
        super().__init__(why)


class WsgiUpstream:
    """A server elsewhere, as an application of this process.

    Args:
        url: ``http://host:port/prefix``, ``https://…`` or ``unix:/path``; see ``address.parse``.
        timeouts: what each wait may last.
        preserve_host: whether the upstream is told the Host that the client asked for, or its own.
        trust: whose word on forwarded requests counts; nobody's by default.
        connections: most connections of a process to this upstream.
        waiting: most requests of a process that wait for one of them.
        idle: seconds for which an unused connection is kept; less than the upstream keeps it.
        tls: for ``https``; by default certificates are verified against those of the system.

    Attributes:
        health: what connects told of the upstream.

    Raises:
        ConfigurationError: the URL is none of an upstream.
    """

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts = TIMEOUTS,
        preserve_host: bool = True,
        trust: Trust = NOBODY,
        connections: int = 100,
        waiting: int = 1000,
        idle: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = origin = parse(url)
        self._timeouts = timeouts
        self._preserve = preserve_host
        self._trust = trust
        if origin.scheme == "https" and tls is None:
            tls = ssl.create_default_context()
            tls.set_alpn_protocols(["http/1.1"])
        self._lender = Lender(
            origin,
            timeouts.connect,
            limit=connections,
            idle=idle,
            waiting=waiting,
            tls=tls if origin.scheme == "https" else None,
        )
        self.health = self._lender.health

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        try:
            relay = self._relay(environ)
        except _RefusedError as error:
            logger.info("request refused: %s", error)
            return _refuse(environ, start_response, error.status, error.text)
        try:
            start = relay.begin()
        except (NoConnectionError, LateError, BrokenUpstreamError, BrokenRequestError) as error:
            # Of a lack of connections health has told once; while it lasts, every request has it.
            level = logging.INFO if isinstance(error, NoConnectionError) else logging.WARNING
            logger.log(level, "upstream %s: %s", self._lender.name, error)
            return _refuse(environ, start_response, _status(error))
        said = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in incoming(start.headers)
        ]
        try:
            start_response(f"{start.status} {start.reason.decode('latin-1')}", said)
        except BaseException:  # how a rescue leaves an answer that it does not want
            relay.close()
            raise
        whole = relay.whole()
        return relay if whole is None else whole

    def counts(self) -> Counts:
        """The connections of this process in numbers, and how many requests wait for one."""
        return self._lender.counts()

    def close(self) -> None:
        """Close the connections that are idle; nothing is passed on afterwards."""
        self._lender.close()

    def _relay(self, environ: Environ) -> Relay:
        method = environ["REQUEST_METHOD"]
        if method == "CONNECT":
            raise _RefusedError(501, "CONNECT, which is for forward proxies")
        protocol = environ.get("SERVER_PROTOCOL", "")
        if protocol == "HTTP/1.1" and "HTTP_HOST" not in environ:
            raise _RefusedError(400, "no Host (RFC 9112 section 3.2)")
        if asks_for_websocket(environ):
            raise _RefusedError(501, "a WebSocket", "WebSockets are not served here.\n")
        try:
            found = headers(environ)
            framed = framing(found, http2=protocol.startswith("HTTP/2"))
            told = outgoing(
                found,
                client(environ),
                self._origin,
                preserve_host=self._preserve,
                trust=self._trust,
            )
            body = _pieces(environ, framed)
            first = next(body, b"")
            if framed.kind is Kind.UNKNOWN and not first:
                framed = NONE
            path = target(environ)
            exchange = Exchange(
                method.encode("latin-1"),
                path if path == b"*" else self._origin.prefix + path,
                told,
                framed,
            )
        except (BadFramingError, BadHeaderError) as error:
            raise _RefusedError(error.status, error.why) from error
        except (BrokenRequestError, ValueError) as error:
            raise _RefusedError(400, str(error)) from error
        return Relay(
            self._lender,
            self._timeouts,
            exchange,
            first,
            body,
            repeatable=framed.kind is Kind.NONE and method in _SAFE,
            hint=environ.get("wsgi.early_hints"),
        )


def _pieces(environ: Environ, framed: Framing) -> Iterator[bytes]:
    """The body of a request, as far as it comes.

    Raises:
        BrokenRequestError: it broke off, or was not to be read.
    """
    if framed.kind is Kind.NONE:
        return
    read, left = environ["wsgi.input"].read, framed.length
    endless = framed.kind is not Kind.LENGTH
    if endless and not environ.get("wsgi.input_terminated"):
        if framed.kind is Kind.UNKNOWN:
            return
        why = "a chunked body, whose end this server does not show"
        raise _RefusedError(411, why, "A body without a length cannot be read here.\n")
    try:
        while (endless or left > 0) and (piece := read(PIECE if endless else min(PIECE, left))):
            left -= len(piece)
            yield piece
    except OSError as error:  # how servers say that the client went away, or sent no chunks
        raise BrokenRequestError(f"the client's body broke off: {error}") from error


def _status(error: Exception) -> int:
    if isinstance(error, NoConnectionError):
        return error.status
    if isinstance(error, BrokenRequestError):
        return 400
    return 504 if isinstance(error, LateError) else 502


def _refuse(
    environ: Environ, start_response: StartResponse, status: int, text: str = ""
) -> list[bytes]:
    """Answer ourselves, in few words: what is behind us is nobody's business."""
    reason = _REASONS[status]
    body = (text or f"{reason}.\n").encode()
    told = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {reason}", told)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
