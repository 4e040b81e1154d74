"""The relay as an application for servers in processes of their own; the origin is in ORIGIN."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any

from canary_middleware.upstream.address import parse
from canary_middleware.upstream.headers import Trust
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.websocket import relay

ORIGIN = parse(os.environ["ORIGIN"])


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await relay(scope, receive, send, ORIGIN, timeouts=Timeouts(start=5), trust=Trust())
    elif scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
