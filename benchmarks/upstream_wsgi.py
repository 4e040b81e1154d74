"""What :mod:`benchmarks.upstream` runs on WSGI servers: ours, and whom it is compared with.

Factories, each of which imports only what it needs. The upstream's URL is ``$ORIGIN``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., object]], Iterable[bytes]]

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
PIECE = 64 * 1024


def bare() -> App:
    """The server itself: an answer of a kilobyte."""
    body = [b"x" * 1000]
    headers = [("Content-Type", "text/plain"), ("Content-Length", "1000")]

    def app(environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return body

    return app


def ours() -> App:
    """``WsgiUpstream`` as everybody gets it."""
    from canary_middleware.upstream.wsgi import WsgiUpstream

    return WsgiUpstream(os.environ["ORIGIN"])


def by_urllib3() -> App:
    """The least that a proxy over urllib3 can be: it streams both ways, keeps header lines and the
    bytes of the path, and removes what belongs to one connection. No forwarding headers, no
    time-outs of its own, no care for clients that leave, nothing about framing.
    """
    import urllib3

    pool = urllib3.connection_from_url(os.environ["ORIGIN"], maxsize=100, block=False)

    def app(environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        headers = urllib3.HTTPHeaderDict()
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                name = key[5:].replace("_", "-").title()
                if name.lower() not in HOP_BY_HOP:
                    headers.add(name, value)
        length = environ.get("CONTENT_LENGTH")
        if length:
            headers["Content-Length"] = length
            headers["Content-Type"] = environ.get("CONTENT_TYPE", "")
        answer = pool.urlopen(
            environ["REQUEST_METHOD"], environ["RAW_URI"], headers=headers,
            body=environ["wsgi.input"] if length else None,
            retries=False, redirect=False, preload_content=False, decode_content=False,
        )  # fmt: skip
        kept = [(name, value) for name, value in answer.headers.items() if is_kept(name)]
        start_response(f"{answer.status} {answer.reason}", kept)
        return body(answer)

    def body(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            yield from answer.stream(PIECE, decode_content=False)
        finally:
            answer.release_conn()

    return app


def is_kept(name: str) -> bool:
    """Whether a header of an answer is about more than one connection."""
    return name.lower() not in HOP_BY_HOP
