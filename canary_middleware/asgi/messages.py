"""What passes between a server and an application, and the starts that we have a say in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from canary_middleware.engine.heads import asgi_heads
from canary_middleware.engine.visit import Visit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

HEADS: Final = asgi_heads()
ENDED: Final = "the rollout has moved on, and the time for open streams of this version is over"


def edited(visit: Visit, message: Message) -> Message:
    """The start message of a visit whose head we have a say in."""
    # As a list, once: it may be a generator.
    return {**message, "headers": HEADS.edited(visit, list(message.get("headers", ())))}


def keeping(send: Send, cookie: str) -> Send:
    """``send`` of a request outside of every rollout, whose answer carries this cookie."""

    def sender(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            message = {**message, "headers": HEADS.keeping(cookie, given)}
        return send(message)

    return sender
