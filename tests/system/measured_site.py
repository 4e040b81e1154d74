"""A site with one rollout per kind of bad release, and what is wrong with each canary.

Every answer says which version gave it. ``/healthy`` has a canary with nothing wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from canary_middleware import Canary, Guard, Precaution, Ramp, Rescue, Rollout, current, observe
from canary_middleware.asgi import CanaryMiddleware

KEY: Final = "the-key-of-the-measured-site-is-long-enough"
STORE, NAMESPACE = "CANARY_TEST_STORE", "CANARY_TEST_NAMESPACE"
USUAL: Final = 0.02
"""Seconds that stable's answers take in the middle."""
GUARDS: Final = (*Guard.defaults(), Guard.never("charges"))
WIDE: Final = (Guard.errors(margin="25%"), Guard.latency(margin="25%"))
"""Margins that some hundred visitors can prove."""
OTHERS: Final[dict[str, dict[str, Any]]] = {
    "healthy": {"guards": WIDE},
    # Only what looks at both versions can see what it does to stable.
    "blocking": {"guards": [Guard.errors()], "precaution": Precaution(stall=0.4, window=2)},
}
NAMES: Final = ("crash", "errors", "latency", "charges", "healthy", "blocking")


def rollout(name: str) -> Rollout:
    """One rollout of the site; rescue is off, so that what fails is seen to fail."""
    return Rollout(
        name, stable="1.4.2", canary="1.5.0", paths=[f"/{name}"], owner="test",
        ramp=Ramp("20%", "50%", "100%", bake="2s", samples=5), rescue=Rescue(enabled=False),
        **{"guards": GUARDS, "precaution": None, **OTHERS.get(name, {})},
    )  # fmt: skip


def made_canary() -> Canary:
    """The facade of one worker."""
    return Canary(
        *(rollout(name) for name in NAMES),
        namespace=os.environ[NAMESPACE],
        store=os.environ[STORE],
        secret_keys=[KEY],
        secure=False,
        telemetry=False,
    )


async def usual() -> None:
    """As long as stable takes: log-normal."""
    await asyncio.sleep(USUAL * random.lognormvariate(0, 0.3))


async def crash() -> int:
    raise RuntimeError("this release crashes")


async def errors() -> int:
    await usual()
    return 500 if random.random() < 0.05 else 200


async def latency() -> int:
    await usual()
    await usual()
    return 200


async def charges() -> int:
    await usual()
    observe("charges")
    if random.random() < 0.12:
        observe("charges")
    return 200


async def blocking() -> int:
    time.sleep(0.6)  # noqa: ASYNC251  # that is what is wrong with it
    return 200


async def healthy() -> int:
    await usual()
    observe("charges")
    return 200


CANARIES: Final[dict[str, Callable[[], Awaitable[int]]]] = {
    "crash": crash,
    "errors": errors,
    "latency": latency,
    "charges": charges,
    "blocking": blocking,
    "healthy": healthy,
}


async def site(scope: Any, receive: Any, send: Any) -> None:
    """The application inside."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["path"].strip("/")
    if name not in CANARIES:
        await answer(send, 404, {})
        return
    given = current(name)
    status = await (CANARIES[name] if given.is_canary else healthy)()
    told = {"cohort": given.cohort.value, "reason": given.reason.value, "pid": os.getpid()}
    await answer(send, status, told)


async def answer(send: Any, status: int, told: dict[str, Any]) -> None:
    """One answer."""
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


if STORE in os.environ:
    app = CanaryMiddleware(site, made_canary())
