"""httpx and httpx2: requests to services of your own carry the visitor's cohort.

``Client(event_hooks={"request": [request_hook(hosts=["orders.internal"])]})``, and
``async_request_hook`` for ``AsyncClient``. Imports neither library.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Protocol

from canary_middleware.outbound import Outbound


class Url(Protocol):
    """The part of a URL that is looked at."""

    @property
    def host(self) -> str:
        """Without the port."""

    @property
    def port(self) -> int | None:
        """``None`` where it is that of the scheme."""


class Request(Protocol):
    """The part of a request that is looked at."""

    @property
    def url(self) -> Url:
        """Where it goes."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """As they will be sent."""


def request_hook(*, hosts: Iterable[str]) -> Callable[[Request], None]:
    """An event hook for ``request`` of a ``Client``.

    Redirected requests pass through it again, so a redirect to another host carries nothing.

    Args:
        hosts: see :class:`canary_middleware.outbound.Outbound`.
    """
    outbound = Outbound(hosts)

    def hook(request: Request) -> None:
        outbound.dress(request.headers, request.url.host, request.url.port)

    return hook


def async_request_hook(*, hosts: Iterable[str]) -> Callable[[Request], Awaitable[None]]:
    """As :func:`request_hook` for an ``AsyncClient``."""
    plain = request_hook(hosts=hosts)

    async def hook(request: Request) -> None:
        plain(request)

    return hook
