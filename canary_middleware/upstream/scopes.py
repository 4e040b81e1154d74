"""What an ASGI scope says of a request, in the words of the wire."""

from __future__ import annotations

import asyncio
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.framing import NONE, UNKNOWN, Framing
from canary_middleware.upstream.passage import Message, Receive, RefusedError, Scope

_ABSOLUTE: Final = re.compile(rb"(?i:https?)://[^/?#]*")
"""What comes before the path in the absolute form (RFC 9112 section 3.2.2), which hypercorn leaves
as it is, and other servers where a WebSocket is asked for."""


def target(scope: Scope, origin: Origin) -> bytes:
    """Path and query as they go on the wire: the client's own bytes.

    Raises:
        ValueError: it is neither a path nor ``*``.
    """
    raw, decoded = scope.get("raw_path"), scope["path"]
    # A middleware that moves a request writes the path alone: what was decided about is passed on.
    path: bytes = raw if raw and _agrees(raw, decoded) else quote(decoded).encode()
    query: bytes = scope.get("query_string") or b""
    if path[:1] != b"/":
        if path == b"*" and scope.get("method") == "OPTIONS":
            return path
        absolute = _ABSOLUTE.match(path)
        if absolute is None:
            raise ValueError("a target that is no path")
        path = path[absolute.end() :] or b"/"
        if path[:1] != b"/":
            raise ValueError("an absolute target without a path")
    if query:
        return b"%b%b?%b" % (origin.prefix, path, query)
    return origin.prefix + path


def _agrees(raw: bytes, decoded: str) -> bool:
    """Whether a server can have decoded this path as that."""
    if raw == decoded.encode("utf-8", "surrogatepass"):
        return True
    plain = unquote_to_bytes(raw)
    readings = (("utf-8", "replace"), ("utf-8", "surrogateescape"), ("latin-1", "strict"))
    return any(plain.decode(*how) == decoded for how in readings)


def has_host(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether there is one, empty or not."""
    first = bool(headers) and headers[0][0] == b"host"  # as nearly always
    return first or any(name == b"host" for name, _ in headers)


def expects(scope: Scope) -> bool:
    """Whether the client waits for a 100 before it sends its body."""
    return any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]
    )


async def looked(receive: Receive, within: float) -> tuple[Framing, Receive]:
    """Whether a request of HTTP/2 without a length has a body: its first message tells."""
    try:
        async with asyncio.timeout(within):
            first = await receive()
    except TimeoutError:
        raise RefusedError(408, "the client sent nothing of its body") from None
    if first["type"] == "http.request" and not first.get("body") and not first.get("more_body"):
        return NONE, receive
    told = False

    async def receiving() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return first

    return UNKNOWN, receiving
