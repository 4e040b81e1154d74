"""Calls the WSGI application as a server would."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.upstream.origins import Peer, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.4, start=0.4, idle=0.4, total=5.0)


@dataclass
class Got:
    """What a server would have got."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Iterable[bytes] = ()
    hints: list[list[tuple[str, str]]] = field(default_factory=list)

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        assert not self.status
        self.status, self.headers = status, headers

    def read(self) -> bytes:
        return b"".join(self.body)

    def close(self) -> None:
        if hasattr(self.body, "close"):
            self.body.close()


def ask(
    upstream: WsgiUpstream, target: str = "/", method: str = "GET", body: bytes = b"", **more: Any
) -> Got:
    path, _, query = target.partition("?")
    got = Got()
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": "shop.example",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.early_hints": got.hints.append,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    merged = {name: value for name, value in {**environ, **more}.items() if value is not None}
    got.body = upstream(merged, got.start)
    return got


def lines(head: bytes) -> list[bytes]:
    return head.split(b"\r\n")


def once(peer: Peer) -> None:
    """Reads a second request and answers it by the end of the connection.

    No look at the connection before its use could have foreseen that.
    """
    peer.head()
    peer.send(OK)
    peer.head()


def closing(peer: Peer) -> None:
    """The end of a script: nothing more is said."""


def counts(upstream: WsgiUpstream) -> tuple[int, ...]:
    return tuple(upstream.counts())


class Visit:
    target: object = None
    unsent = False


def chunked(**more: Any) -> dict[str, Any]:
    return {"HTTP_TRANSFER_ENCODING": "chunked", **more}
