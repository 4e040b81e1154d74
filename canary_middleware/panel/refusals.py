"""Answers that are none: a page for people, JSON for programs; and what went wrong, for the log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canary_middleware.engine.views import app_path
from canary_middleware.errors import CanaryError
from canary_middleware.overview.wording import shown
from canary_middleware.panel import problems
from canary_middleware.panel.failing import status_of
from canary_middleware.panel.pages.rendering import page

logger = logging.getLogger("canary_middleware.panel")

_LONGEST: Final = 256
"""Characters of what strangers sent, in one line of a log."""


def refusal(
    request: Request,
    status: int,
    words: str,
    headers: Mapping[str, str] | None = None,
    code: str = "",
) -> Response:
    """A refusal in the form that the asker reads: a sentence on a page, or a problem as JSON.

    Programs get ``code``; by default the usual one of the status.
    """
    if for_program(request.scope):
        return problems.of_status(status, words, headers=headers, code=code)
    answer = page(request, "error.html", status, status=status, words=words)
    answer.headers.update(headers or {})
    return answer


async def of_http(request: Request, error: Exception) -> Response:
    """What routing refuses, such as a path that nothing has."""
    if not isinstance(error, HTTPException):
        raise error
    words = _WORDS.get(error.status_code) or error.detail
    return refusal(request, error.status_code, words, headers=error.headers)


async def of_canary(request: Request, error: Exception) -> Response:
    """What a verb or the store refuses, where a page did not say it better."""
    if not isinstance(error, CanaryError):
        raise error
    failure = status_of(error)
    if failure.status == 500:
        log_failure(request.scope, error)
    if for_program(request.scope):
        return problems.of_failure(failure)
    text = f"{failure.message}; {failure.hint}" if failure.hint else failure.message
    return refusal(request, failure.status, text)


_WORDS: Final = {404: "There is nothing here.", 405: "That cannot be done here in this way."}


def for_program(scope: Scope) -> bool:
    """Whether the asker is a program, and no person who reads pages."""
    path = app_path(scope)
    return path == "/events" or path.startswith("/api/")


class FailuresMiddleware:
    """Answers 500 where something raised, so that it has our headers, and logs it.

    Starlette's own would answer outside of every middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "websocket":  # there is none in here
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # whatever a page or the host's own check raises ends here
            if scope["type"] != "http":
                raise
            if started and isinstance(error, (ClientDisconnect, OSError)):
                return  # the reader of an answer has left, as ASGI servers tell it
            log_failure(scope, error)
            # Raised further, a server would log it with whatever strangers have put into it. An
            # answer that has begun and does not end is torn by the server.
            if not started:
                await _failed(scope)(scope, receive, send)


def _failed(scope: Scope) -> Response:
    words = "Something is wrong in here; the log of the panel says what."
    if for_program(scope):
        return problems.of_status(500, words)
    # No page: perhaps it is the pages that are wrong.
    return PlainTextResponse(f"{words}\n", 500)


def log_failure(scope: Scope, error: Exception) -> None:
    """Log an error; no line of it begins with what somebody sent, and none is long."""
    if isinstance(error, CanaryError):
        logger.error("panel: %s failed: %s", asked(scope), clipped(str(error)))
        return
    lines = "".join(traceback.format_exception(error)).splitlines()
    told = "\n".join(f"  | {clipped(line)}" for line in lines)
    logger.error("panel: %s failed\n%s", asked(scope), told)


def asked(scope: Scope) -> str:
    """Method and path, for a log."""
    return clipped(f"{scope['method']} {scope['path']}")


def clipped(text: str) -> str:
    """Text of strangers, for a log: escaped, and not long."""
    return shown(text[:_LONGEST])
