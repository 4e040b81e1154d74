"""Whether an upstream is ready: asked by its probe until it says so."""

from __future__ import annotations

import asyncio
import random

from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.events import BrokenUpstreamError, Start
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.framing import NONE
from canary_middleware.upstream.health import Probe
from canary_middleware.upstream.link import Link
from canary_middleware.upstream.site import Site, UnreachableError


async def is_ready(site: Site, origin: Origin, path: bytes | None, within: float) -> bool:
    """Whether the upstream answers its probe now; without one, whether it can be reached.

    Args:
        site: where to reach it.
        origin: the upstream.
        path: of the probe.
        within: seconds.
    """
    try:
        link = await site.take(trial=True)
    except UnreachableError:
        return False
    if path is None:
        site.release(link, reusable=link.alive)
        return link.alive
    exchange = Exchange(b"GET", path, [(b"Host", origin.authority)], NONE)
    try:
        async with asyncio.timeout(within):
            return await _asked(link, exchange) < 400
    except (BrokenUpstreamError, TimeoutError):
        return False
    finally:
        site.release(link, reusable=exchange.reusable)


async def until_ready(site: Site, origin: Origin, path: bytes | None, within: float) -> None:
    """Probe until the upstream is ready, less and less often.

    Args:
        site: where to reach it.
        origin: the upstream.
        path: of the probe.
        within: seconds that one probe may take.
    """
    book = Probe()
    while True:
        ready = await is_ready(site, origin, path, within)
        book.probed(ready, site.loop.time(), random.random())
        if ready:
            return
        await asyncio.sleep(book.due(site.loop.time()))


async def _asked(link: Link, exchange: Exchange) -> int:
    """Make a small exchange of our own; the status of its answer."""
    link.begin(exchange)
    link.write(exchange.head)
    status = 0
    while not exchange.done:
        if (coming := link.coming()) is not None:
            await coming
        for event in link.take():
            if isinstance(event, Start):
                status = event.status
    return status
