"""An upstream as an ordinary ASGI application: HTTP, server-sent events and WebSockets."""

from __future__ import annotations

import asyncio
import random
import ssl
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from canary_middleware.context import SCOPE_KEY
from canary_middleware.upstream.address import Origin, parse
from canary_middleware.upstream.asking import probe_target, silence
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE, UNKNOWN, BadFramingError, framing
from canary_middleware.upstream.headers import BadHeaderError, Client, Trust, outgoing
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.options import settled
from canary_middleware.upstream.passage import Passage, Receive, RefusedError, Scope, Send
from canary_middleware.upstream.scopes import expects, has_host, looked, target
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.site import Site, UnreachableError
from canary_middleware.upstream.trouble import Trouble

LONGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's head; most servers allow no more either."""
LONGEST_TRIAL: Final = 2.0
"""Connect time-outs after which a silent trial of an unreachable upstream is given up."""
NOBODY: Final = ("", 0)
FAILURES: Final = frozenset({502, 503, 504})
"""Statuses of our own that tell of the upstream rather than of the request."""


class AsgiUpstream:
    """Sends each connection to another server and its answer back, unchanged but for the headers.

    Which headers change, and why, is one table: docs/upstreams.md. Redirects are never followed,
    bodies never decoded, and nothing that a client sends chooses where it goes.

    Args:
        url: ``http://host:port``, ``https://host``, ``unix:/run/app.sock``.
        timeouts: none is infinite.
        preserve_host: whether the upstream gets the Host that the client asked for; else its own.
        trust: whose ``Forwarded`` and ``X-Forwarded-*`` are kept; nobody's by default.
        connections: most at a time, per event loop.
        waiting: most requests that wait for one, per event loop.
        idle: seconds that a connection is kept without use.
        probe: path that answers with a status below 400 once the upstream is ready; without one a
            connection is enough.
        keep_case: send names of headers of an answer as they came. ASGI demands lower case, and
            middleware that looks for names relies on it.
        tls: for https; by default certificates are verified against the system's authorities.

    Raises:
        ConfigurationError: the URL is none, or a setting is of another kind or out of bounds.
    """

    is_upstream: Final = True

    def __init__(
        self,
        url: str,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # frozen
        preserve_host: bool = True,
        trust: Trust = Trust(),  # noqa: B008  # frozen
        connections: int = 1000,
        waiting: int = 1000,
        idle: float = 30.0,
        probe: str | None = None,
        keep_case: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.origin: Origin = parse(url)
        self._timeouts = timeouts
        self._preserve_host = preserve_host
        self._trust = trust
        self._connections = connections
        self._waiting = waiting
        self._idle = idle
        self._keep_case = keep_case
        self._probe = probe_target(probe, self.origin)
        self._tls = settled(
            self.origin, timeouts, trust, tls, connections=connections, waiting=waiting, idle=idle
        )
        self.health = Health(trial=LONGEST_TRIAL * timeouts.connect)
        self._trouble = Trouble(self.origin)
        self._sites: dict[asyncio.AbstractEventLoop, Site] = {}
        self._site: Site | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection.

        Raises:
            UpstreamBrokenError: the upstream broke an answer that had begun; the server shows that
                by cutting the client's connection.
        """
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)

    # --- private ---------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = None
        try:
            exchange, framed, receive = await self._exchange(scope, receive)
            expecting = framed and expects(scope)
            passage = Passage(
                exchange, scope, receive, send, self._timeouts,
                framed=framed, keep_case=self._keep_case, expecting=expecting,
            )  # fmt: skip
            site = self._site
            if site is None or site.loop is not asyncio.get_running_loop():
                site = self._here()
            await passage.go(site)
        except UnreachableError as error:
            self._note_unsent(scope, error.status)
            self._trouble.failed(error.why, monotonic())
            await _answer(send, error.status)
        except RefusedError as error:
            if error.status in FAILURES:
                self._trouble.failed(error.why, monotonic())
            # What follows on the connection may be the rest of what was refused (RFC 9112, 6.3).
            ends = error.status < 500 and scope.get("http_version", "1.1")[:1] == "1"
            await _answer(send, error.status, ends=ends)
        else:
            if self._trouble.active:
                self._trouble.answered(monotonic())

    async def _exchange(self, scope: Scope, receive: Receive) -> tuple[Exchange, bool, Receive]:
        """The request as it goes on, whether it has a body, and where to get that."""
        headers = scope["headers"]
        if not isinstance(headers, list):
            headers = list(headers)
        version = scope.get("http_version", "1.1")
        if version == "1.1" and not has_host(headers):
            raise RefusedError(400, "no Host (RFC 9112 section 3.2)")
        try:
            framed = framing(headers, http2=version[:1] in "23")
            if framed is UNKNOWN:
                framed, receive = await looked(receive, self._timeouts.idle)
            host, _ = scope.get("client") or NOBODY
            client = Client(host, scope.get("scheme") or "http")
            sent = outgoing(
                headers, client, self.origin, preserve_host=self._preserve_host, trust=self._trust
            )
            method = scope["method"].encode("ascii")
            exchange = Exchange(method, target(scope, self.origin), sent, framed)
        except (BadFramingError, BadHeaderError) as error:
            raise RefusedError(error.status, error.why) from error
        except ValueError as error:
            raise RefusedError(400, str(error)) from error
        if len(exchange.head) > LONGEST_HEAD:
            raise RefusedError(431, "the head is too long")
        return exchange, framed is not NONE, receive

    def _note_unsent(self, scope: Scope, status: int = 502) -> None:
        """Tell whoever could let stable answer that the upstream has seen nothing, and why."""
        visit = scope.get(SCOPE_KEY)
        if visit is not None:
            visit.unsent = visit.target is self  # else others have seen the request
            visit.crowded = status == 503 and (visit.unsent or not visit.canary)

    def _here(self) -> Site:
        loop = asyncio.get_running_loop()
        site = self._sites.get(loop)
        if site is None:
            for other in [one for one in self._sites if one.is_closed()]:
                del self._sites[other]
            site = self._sites[loop] = Site(
                self.origin, self.health, self._tls, connections=self._connections,
                waiting=self._waiting, idle=self._idle, connect=self._timeouts.connect,
            )  # fmt: skip
        self._site = site
        return site

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        from canary_middleware.upstream import websocket  # not every site has WebSockets

        loop = asyncio.get_running_loop()
        told = False

        def reached(ok: bool) -> None:
            nonlocal told
            told = True
            if ok:
                self.health.answered()
            else:
                self.health.refused(loop.time(), random.random())
                self._note_unsent(scope)

        if self.health.blocked(loop.time()):
            self._note_unsent(scope)
            await receive()
            await websocket.refuse(scope, send, 502)
            return
        try:
            await websocket.relay(
                scope, receive, send, self.origin, timeouts=self._timeouts, trust=self._trust,
                preserve_host=self._preserve_host, tls=self._tls, reached=reached,
            )  # fmt: skip
        finally:
            if not told:  # a handshake that cannot be passed on, or nobody waited for the connect
                self.health.forgone()

    def silence(self) -> str:
        """Why the upstream does not answer its probe now; nothing if it does. For a thread."""
        why = silence(self.origin, self._probe, self._timeouts.connect, self._tls)
        if not why:
            self.health.answered()
        return why

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        try:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            site = self._sites.pop(asyncio.get_running_loop(), None)
            self._site = None
            if site is not None:
                site.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, status: int, *, ends: bool = False) -> None:
    """A short page that tells nothing of what is behind us.

    Args:
        ends: whether the client's connection ends with it.
    """
    body = f"{HTTPStatus(status).phrase}\n".encode()
    headers: list[tuple[bytes, Any]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if ends:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
