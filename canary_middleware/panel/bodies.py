"""Bodies of requests: read as a whole before anybody acts, within bounds of size and time."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canary_middleware.panel.refusals import refusal

LARGEST: Final = 64 * 1024
"""Bytes."""
PATIENCE: Final = 10.0
"""Seconds for the whole body."""
READING: Final = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


class BodiesMiddleware:
    """Reads the body of what may change something, and hands it on in one piece.

    It is in ``request.state.body``, too, so that a form can be looked at before its route is.

    Args:
        app: what comes next.
        patience: seconds for the whole body.
    """

    def __init__(self, app: ASGIApp, patience: float = PATIENCE) -> None:
        self._app, self._patience = app, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(_read(receive), self._patience)
        except TimeoutError:
            answer = _last(scope, 408, "The request took too long to arrive.")
            await answer(scope, receive, send)
            return
        except _TooLargeError:
            answer = _last(scope, 413, f"A request has {LARGEST // 1024} KiB at most.")
            await answer(scope, receive, send)
            return
        if body is not None:
            scope["state"]["body"] = body
            await self._app(scope, _replayed(body, receive), send)


def _last(scope: Scope, status: int, words: str) -> Response:
    # The rest of the body is not read: the connection cannot be used again.
    return refusal(Request(scope), status, words, headers={"Connection": "close"})


class _TooLargeError(Exception):
    """The body has more bytes than any of ours."""


async def _read(receive: Receive) -> bytes | None:
    """The whole body; ``None`` when the client left before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise _TooLargeError
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def fields(request: Request) -> dict[str, str]:
    """The fields of a form, each of them once; of anything else none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        text = request.state.body.decode("ascii", "replace")
        found = parse_qs(text, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}
