"""requests: requests to services of your own carry the visitor's cohort.

``carry(session, hosts=["orders.internal"])``. Imports nothing of the library.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from canary_middleware.outbound import Outbound


class Carrying:
    """A transport adapter around another one.

    An adapter and not an ``auth``: it sees the request after everything else has written to its
    headers, and it writes to a copy, so that a redirect does not take them along to another host.
    """

    def __init__(self, adapter: Any, outbound: Outbound) -> None:
        self._adapter = adapter
        self._outbound = outbound

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        """Send a request with what it has to carry."""
        dressed = request.copy()
        headers: MutableMapping[str, str] = dressed.headers
        url = urlsplit(dressed.url)
        self._outbound.dress(headers, url.hostname, url.port)
        return self._adapter.send(dressed, *args, **options)

    def close(self) -> None:
        """Close the adapter that does the work."""
        self._adapter.close()


def carry(session: Any, *, hosts: Iterable[str]) -> None:
    """Let a ``requests.Session`` carry the cohort to these hosts.

    Args:
        session: with its adapters mounted; one that is mounted later carries nothing.
        hosts: see :class:`canary_middleware.outbound.Outbound`.
    """
    outbound = Outbound(hosts)
    for prefix, adapter in tuple(session.adapters.items()):
        session.mount(prefix, Carrying(adapter, outbound))
