"""aiohttp: requests to services of your own carry the visitor's cohort.

``ClientSession(middlewares=[carrying(hosts=["orders.internal"])])``, from aiohttp 3.12 on. Imports
nothing of the library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from canary_middleware.outbound import Outbound

Response = TypeVar("Response")


def carrying(
    *, hosts: Iterable[str]
) -> Callable[[Any, Callable[[Any], Awaitable[Response]]], Awaitable[Response]]:
    """A client middleware; see :class:`canary_middleware.outbound.Outbound`.

    Not a ``TraceConfig``: what that writes follows a redirect to any host, while a middleware gets
    a request of its own for each.
    """
    outbound = Outbound(hosts)

    async def middleware(request: Any, handler: Callable[[Any], Awaitable[Response]]) -> Response:
        outbound.dress(request.headers, request.url.host, request.url.port)
        return await handler(request)

    return middleware
