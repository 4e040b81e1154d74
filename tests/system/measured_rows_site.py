"""The measured site for rows of FAULTS.md: what a version does is in the path that is asked for.

``/name?what`` is served by rollout ``name``; ``what`` is something that a visitor can ask for.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from canary_middleware import (
    Canary,
    Guard,
    Precaution,
    Ramp,
    Rescue,
    Rollout,
    asgi,
    current,
    observe,
    wsgi,
)  # fmt: skip
from tests.system.measured_site import KEY, answer, usual
from tests.system.observing import export

STORE, NAMESPACE = "CANARY_ROWS_STORE", "CANARY_ROWS_NAMESPACE"
OTLP: Final = "CANARY_ROWS_OTLP"
"""URL of a receiver, for a site with telemetry."""

RATES: Final = {
    # What stable and canary fail at.
    "both-bad": (0.3, 0.3),
    "one-bad": (0.0, 0.3),
    "all-bad": (0.8, 0.8),
    "steady": (0.03, 0.03),
    "slowly": (0.03, 0.03),
}
STILL: Final = Ramp("50%", "100%", bake="10m")
CEILING: Final = Precaution(stall=60.0)
"""Of failures alone: other rows stop the loops of these processes."""
SOME: Final = (Guard.errors(margin=None), Guard.latency(margin=None))
LONG: Final = tuple(f"{weight}%" for weight in range(15, 87, 6))
PLANS: Final[dict[str, dict[str, Any]]] = {
    # W10
    "hang": {},
    "page": {"guards": [Guard.never("broken", above=0)]},
    # W10 "leaks": from a pool of both, from one of its own, and where nobody looks at both
    "leak": {"precaution": CEILING},
    "leak-apart": {"guards": [Guard.errors()]},
    "leak-unseen": {},
    # W13, and what shows that its measure is large enough
    "both-bad": {"ramp": Ramp("20%", "50%", "100%", bake="2s", samples=5)},
    "one-bad": {"guards": [Guard.errors()]},
    "all-bad": {"precaution": CEILING},
    # W14
    "rare": {"ramp": Ramp("50%", "100%", bake="1s", samples=1000, patience="8s")},
    "nobody": {"ramp": Ramp("50%", "100%", bake="1s", patience="8s")},
    # W9
    "stalled": {},
    # W17, and the same with somebody who counts it
    "attacked": {},
    "attacked-wsgi": {},
    "strict": {"guards": [Guard.never("missing", above=0)]},
    "choking": {"guards": [Guard.never("choked", above=0)]},
    # W1 to W3, W12: a ramp of many steps, for the core suite and for a minute's stop
    "steady": {"guards": SOME, "ramp": Ramp(*LONG, bake="2s", samples=5)},
    "slowly": {"guards": SOME, "ramp": Ramp(*LONG, bake="12s", samples=5)},
}
HANGS: Final = 20.0
SLOTS: Final = 6
"""Connections in the pool of a process."""
QUEUE: Final = 0.3
"""Seconds for which a request waits for one of them."""
STALL: Final = 2.0
PIECE: Final = b"." * 65_536


def rollout(name: str) -> Rollout:
    """One rollout; without rescue, so that what fails is seen to fail."""
    return Rollout(
        name, stable="1.4.2", canary="1.5.0", paths=[f"/{name}"], owner="test",
        rescue=Rescue(enabled=False),
        **{"guards": Guard.defaults(), "precaution": None, "ramp": STILL, **PLANS[name]},
    )  # fmt: skip


def made_canary() -> Canary:
    """The facade of one worker."""
    url = os.environ.get(OTLP)
    if url:
        export(url)
    return Canary(
        *(rollout(name) for name in PLANS),
        namespace=os.environ[NAMESPACE],
        store=os.environ[STORE],
        secret_keys=[KEY],
        secure=False,
        telemetry=None if url else False,
    )


def told(name: str) -> dict[str, Any]:
    """Which version answers, and why."""
    given = current(name)
    return {"cohort": given.cohort.value, "reason": given.reason.value, "pid": os.getpid()}


def failed(name: str, *, canary: bool) -> bool:
    """Whether this request fails by chance."""
    return random.random() < RATES.get(name, (0.0, 0.0))[canary]


async def asgi_site(scope: Any, receive: Any, send: Any) -> None:
    """The application inside."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    name, what = scope["path"].strip("/"), scope["query_string"].decode()
    given = current(name)
    await usual()
    if name == "hang" and given.is_canary:
        await asyncio.sleep(HANGS)
    if name == "page" and given.is_canary:
        observe("broken")
    if what == "stall" and not given.is_canary:
        time.sleep(STALL)  # noqa: ASYNC251  # that is what is wrong with it
    if what == "wait":
        await asyncio.sleep(STALL)
    if what == "missing":
        observe("missing")
    if what == "body":
        await swallow(name, receive)
    if what == "long":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    fails = failed(name, canary=given.is_canary) or await starved(name, canary=given.is_canary)
    status = 404 if what == "missing" else 500 if fails else 200
    await answer(send, status, told(name))


@cache
def pool(name: str, *, apart: bool) -> asyncio.Semaphore:
    """The connections of a process for one name, or those that its canary has for itself."""
    return asyncio.Semaphore(SLOTS)


async def starved(name: str, *, canary: bool) -> bool:
    """Whether no connection of a pool came free for a query; the canary never gives one back."""
    if not name.startswith("leak"):
        return False
    connections = pool(name, apart=canary and name == "leak-apart")
    try:
        await asyncio.wait_for(connections.acquire(), QUEUE)
    except TimeoutError:
        return True
    await usual()
    if not canary:
        connections.release()
    return False


async def swallow(name: str, receive: Any) -> None:
    """Read the body, as somebody does who has never heard of clients that leave."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            observe("choked")
            raise RuntimeError(f"{name} cannot do anything with half a body")
        more = message.get("more_body", False)


def wsgi_site(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
    """The same, as far as outsiders can ask for it."""
    name, what = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"]
    text = json.dumps(told(name)).encode()
    time.sleep(0.01)
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if what == "body" and len(environ["wsgi.input"].read(length or 1_000)) < length:
        raise RuntimeError(f"{name} cannot do anything with half a body")
    status = "404 Not Found" if what == "missing" else "200 OK"
    start_response(status, [("Content-Type", "application/json")])
    return pieces() if what == "long" else [text]


def pieces() -> Iterator[bytes]:
    for _ in range(100):
        yield PIECE


def applications() -> tuple[Any, Any]:
    """For ASGI and for WSGI; each process uses one of them."""
    canary = made_canary()
    if os.environ.get("CANARY_ROWS_KIND") == "wsgi":
        return None, wsgi.CanaryMiddleware(wsgi_site, canary)
    return asgi.CanaryMiddleware(asgi_site, canary), None


app, wsgi_app = applications() if STORE in os.environ else (None, None)
