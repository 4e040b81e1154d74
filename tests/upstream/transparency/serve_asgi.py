"""The ASGI upstreams of the suite as one application: ``application``."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LONG: Final = Timeouts(connect=3.0, start=5.0, idle=5.0, total=20.0)
SHORT: Final = Timeouts(connect=0.3, start=0.5, idle=0.5, total=3.0)
LOCAL: Final = "http://127.0.0.1:{}"
MAIN: Final = AsgiUpstream(LOCAL.format(os.environ["ORIGIN"]), timeouts=LONG)
PLACES: Final = {
    "short": AsgiUpstream(LOCAL.format(os.environ["ORIGIN"]), timeouts=SHORT),
    "dead": AsgiUpstream(LOCAL.format(os.environ["DEAD"]), timeouts=SHORT),
    "full": AsgiUpstream(LOCAL.format(os.environ["FULL"]), timeouts=SHORT),
}


async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The upstream that the first segment of the path names."""
    place = scope.get("path", "").split("/")[1:2]
    await PLACES.get("".join(place), MAIN)(scope, receive, send)
