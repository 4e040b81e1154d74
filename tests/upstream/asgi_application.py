"""An ASGI upstream for servers that are processes of their own: ``application``."""

from __future__ import annotations

import os

from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts

application = AsgiUpstream(
    os.environ["ORIGIN"],
    timeouts=Timeouts(
        connect=float(os.environ.get("CONNECT", "1")), start=5.0, idle=3.0, total=120.0
    ),
    connections=int(os.environ.get("CONNECTIONS", "100")),
)
