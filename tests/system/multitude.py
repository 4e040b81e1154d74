"""R18 and S23 of FAULTS.md: more visitors than a process can remember.

``python -m tests.system.multitude KIND COUNT [PID]`` is one process with an ASGI application under
shared affinity, which that many visitors call, each of them once, without a server in between; it
prints what it has used of memory. Visitors are users with names of up to 250 characters, browsers
without a cookie, or senders of cookies that they made up. PID is of a Redis to be stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canary_middleware import Canary, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.state import Plan
from canary_middleware.core.weight import parse_weight
from canary_middleware.stores import open_store
from tests.support.clients import NAVIGATION
from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.rig import ROOT
from tests.system.site import CANARY, Setup, canary

MB = 2**20
LIMIT = 20 * MB
"""Bytes by which a process may grow (R18, S23)."""
WARM = 2_000
"""Visitors before the first look at the memory."""
EACH = 5_000
"""Visitors between two looks."""
AT_ONCE = 16
SHARED = {"shop": {"policy": "keep", "affinity": "shared"}}

Headers = list[tuple[bytes, bytes]]


def users(rng: random.Random) -> Headers:
    name = f"{rng.getrandbits(96):x}" + "x" * rng.randrange(225)
    return [(b"x-user", name.encode())]


def browsers(_rng: random.Random) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in NAVIGATION.items()]


def forgers(rng: random.Random) -> Headers:
    cookie = f"canary-many=1.{rng.getrandbits(96):024x}.{rng.getrandbits(30):x}.{'s' * 43}"
    return [*browsers(rng), (b"cookie", cookie.encode())]


KINDS: dict[str, Callable[[random.Random], Headers]] = {
    "users": users, "browsers": browsers, "forgers": forgers,
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """What one process used.

    Attributes:
        grown: bytes of memory at most above what it used when it was warm.
        late: bytes of that which came in the second half.
        claims: how many it remembers.
        canary: answers by the canary.
        seconds: how long it took.
        events: what it counted.
    """

    grown: int
    late: int
    claims: int
    canary: int
    seconds: float
    events: dict[str, int]


def rss() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


class Called:
    """The application, called by so many visitors."""

    def __init__(self, made: Canary, kind: str) -> None:
        self.made = made
        self.canaries = 0
        self._headers, self._rng = KINDS[kind], random.Random(18)
        self._app = CanaryMiddleware(self._site, made)

    async def _site(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.canaries += variants.current("shop").version == CANARY
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def by(self, count: int) -> None:
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._one_after_another(numbers))

    async def _one_after_another(self, numbers: Iterator[int]) -> None:
        for _ in numbers:
            scope = {
                "type": "http", "method": "GET", "path": "/shop/", "raw_path": b"/shop/",
                "query_string": b"", "headers": self._headers(self._rng), "scheme": "http",
            }  # fmt: skip
            await self._app(scope, self._receive, self._send)
            await asyncio.sleep(0)  # as between two requests of a server

    async def _receive(self) -> Any:
        return {"type": "http.request", "body": b""}

    async def _send(self, _message: Any) -> None:
        pass


async def flood(setup: Setup, kind: str, count: int, stopped: int) -> Figures:
    made = canary(setup, "shop")
    await made.arrive()
    called, sizes = Called(made, kind), list[int]()
    await called.by(WARM)
    if stopped:
        os.kill(stopped, signal.SIGSTOP)
    before, began = rss(), time.monotonic()
    for first in range(WARM, count, EACH):
        await called.by(min(EACH, count - first))
        sizes.append(rss())
    seconds = time.monotonic() - began
    half = max(sizes[: len(sizes) // 2])
    figures = Figures(
        grown=max(sizes) - before,
        late=max(sizes) - half,
        claims=len(made.engine.claims),
        canary=called.canaries,
        seconds=seconds,
        events=dict(made.engine.recorder.events),
    )
    if stopped:
        os.kill(stopped, signal.SIGCONT)
    await made.asker.leave()
    made.stop()
    return figures


# --- the checks -----------------------------------------------------------------------------------


def run(
    server: RedisServer, kind: str, count: int, *, away: bool = False, variant: str = ""
) -> Figures:
    """Start the rollout, and let that many visitors come."""
    setup = Setup(
        server.url,
        "many",
        identified=True,
        plans=SHARED,
        variant=variant,
        max_staleness=None,
        # Nothing but visitors all the time: whoever is claimed has to wait for his turn.
        budget=0.02 if away else 1.0,
    )
    store = open_store(server.url, "many")
    plan = Plan.from_rollout(setup.rollout("shop"))
    if store.load().document is None:
        verbs.start(store, "shop", by="test", plan=plan, weight=parse_weight("50%"))
    store.close()
    command = [sys.executable, "-m", "tests.system.multitude", kind, str(count)]
    command += [str(server.pid)] if away else []
    env = {**os.environ, **setup.environment()}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def bounded(row: str, count: int, figures: Figures) -> None:
    print(
        f"\n{row}: {count} visitors in {figures.seconds:.0f} s, RSS + {figures.grown / MB:.1f} MB "
        f"(limit 20), {figures.late / MB:.1f} of them in the second half, "
        f"{figures.claims} claims remembered, {figures.canary} canary answers, "
        f"counted {figures.events}"
    )
    assert figures.grown <= LIMIT, "memory is bounded"


def kept(server: RedisServer, identities: int) -> str:
    """Every claim has an end, and nobody has two."""
    total = endless = 0
    with server.client() as client:
        keys: list[str] = []
        for key in client.scan_iter("canary:{many}:pin:*", count=5_000):
            keys.append(key)
            if len(keys) == 5_000:
                total, endless = total + len(keys), endless + _endless(client, keys)
                keys.clear()
        total, endless = total + len(keys), endless + _endless(client, keys)
        everything = client.dbsize()
    assert endless == 0, "every claim has an end"
    assert everything <= identities + 10, "nobody has two claims"
    return f"{total} claims in the store of {identities} identities (limit), {endless} without TTL"


def _endless(client: Any, keys: list[str]) -> int:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.pttl(key)
        return sum(left < 0 for left in pipe.execute())


if __name__ == "__main__":
    asked_kind, asked_count, *asked_stop = sys.argv[1:]
    found = asyncio.run(
        flood(Setup.read(), asked_kind, int(asked_count), int((asked_stop or ["0"])[0]))
    )
    print(json.dumps(found.__dict__))
