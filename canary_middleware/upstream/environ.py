"""What a client asked for, read from a WSGI environ (PEP 3333) as far as a server tells it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from canary_middleware.upstream.headers import Client

Environ = Mapping[str, Any]

_RAW: Final = ("RAW_URI", "REQUEST_URI")
"""The target as the client sent it: of gunicorn; of waitress, werkzeug, uWSGI and mod_wsgi."""
_SOCKETS: Final = ("gunicorn.socket", "werkzeug.socket")
_PLAIN: Final = "/!$&'()*+,;=:@-._~"
"""Of RFC 3986 section 3.3."""
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
_NO_HEADERS: Final = frozenset({"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_PROXY"})
"""Twins of the two that stand without ``HTTP_``, and what is rather a variable of the process than
a header, and may hold a password."""


def headers(environ: Environ) -> list[tuple[bytes, bytes]]:
    """The headers of the request; their case and their order are lost in an environ.

    ``Expect`` is left out: servers of WSGI answer it themselves.

    Raises:
        UnicodeEncodeError: a value has characters that no header has; a ValueError.
    """
    found = [
        (_name(key), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_") and key not in _NO_HEADERS and key != "HTTP_EXPECT"
    ]
    # Empty where there is none, in some servers.
    found += [
        (_name(key), value.encode("latin-1"))
        for key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        if (value := environ.get(key))
    ]
    return found


@lru_cache(maxsize=1024)
def _name(key: str) -> bytes:
    return key.removeprefix("HTTP_").replace("_", "-").title().encode("latin-1")


def target(environ: Environ) -> bytes:
    """The path and the query of the request, as the client sent them if the server tells that.

    A raw target counts only while it says what the standard variables say: a middleware that moves
    requests changes those, and by those it was decided where this one goes.

    Raises:
        UnicodeEncodeError: there are characters that no request has; a ValueError.
    """
    path, query = environ.get("PATH_INFO", ""), environ.get("QUERY_STRING", "")
    mount = environ.get("SCRIPT_NAME", "")
    for name in _RAW:
        raw = environ.get(name)
        if raw is not None:
            raw = _ABSOLUTE.sub("", raw, count=1) or "/"
            if _agrees(raw, mount, path, query):
                return (raw if raw[0] in "/*" else f"/{raw}").encode("latin-1")
    asked = quote((mount + path).encode("latin-1"), _PLAIN) or "/"
    if path == "*" and environ["REQUEST_METHOD"] == "OPTIONS":
        asked = path
    return f"{asked}?{query}".encode("latin-1") if query else asked.encode("latin-1")


def _agrees(raw: str, mount: str, path: str, query: str) -> bool:
    before, _, after = raw.partition("?")
    if after != query:
        return False
    plain = before
    if "%" in before:
        plain = unquote_to_bytes(before.encode("latin-1", "replace")).decode("latin-1")
    # The second: a proxy in front took a prefix away, and a middleware knows of it.
    return plain in {mount + path or "/", path or "/"}


def client(environ: Environ) -> Client:
    """Who asks, as the server says."""
    return Client(environ.get("REMOTE_ADDR") or "", environ["wsgi.url_scheme"])


def client_socket(environ: Environ) -> int | None:
    """The descriptor of the client's connection, where the server tells it and it can be waited on.

    Sockets of event loops under another name, such as those of gevent, are left to their loops.
    """
    for name in _SOCKETS:
        sock = environ.get(name)
        if sock is not None and type(sock).__module__ in {"socket", "ssl"}:
            number: int = sock.fileno()
            return number if number >= 0 else None
    return None


def asks_for_websocket(environ: Environ) -> bool:
    """Whether this is the handshake of a WebSocket (RFC 6455 section 4.1)."""
    return (
        "websocket" in environ.get("HTTP_UPGRADE", "").lower()
        and "upgrade" in environ.get("HTTP_CONNECTION", "").lower()
    )
