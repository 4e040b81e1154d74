"""The WSGI upstreams of the suite as one application: ``application``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.wsgi import StartResponse, WsgiUpstream

LONG: Final = Timeouts(connect=3.0, start=5.0, idle=5.0, total=20.0)
SHORT: Final = Timeouts(connect=0.3, start=0.5, idle=0.5, total=3.0)
LOCAL: Final = "http://127.0.0.1:{}"
MAIN: Final = WsgiUpstream(LOCAL.format(os.environ["ORIGIN"]), timeouts=LONG)
PLACES: Final = {
    "short": WsgiUpstream(LOCAL.format(os.environ["ORIGIN"]), timeouts=SHORT),
    "dead": WsgiUpstream(LOCAL.format(os.environ["DEAD"]), timeouts=SHORT),
    "full": WsgiUpstream(LOCAL.format(os.environ["FULL"]), timeouts=SHORT),
}


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The upstream that the first segment of the path names."""
    place = environ.get("PATH_INFO", "").split("/")[1:2]
    return PLACES.get("".join(place), MAIN)(environ, start_response)
