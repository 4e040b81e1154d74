"""Shared affinity in a real Redis ÷ starsessions, which reads and writes a session per request.

Seconds are those on the clock here, not of the processor: what is compared are round trips.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from redis.asyncio import Redis
from starlette.requests import HTTPConnection
from starsessions import SessionMiddleware, load_session
from starsessions.stores.redis import RedisStore

from benchmarks.measure import ratio_line
from benchmarks.request_asgi import App, bare, discard, exposing, receive, scope
from canary_middleware import Canary, Rollout, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.state import Plan
from tests.support.redis import RedisServer

ROUNDS = 21
CALLS = 256
TOGETHER = 64
Request = Callable[[], Awaitable[None]]


async def loading(given: Any, receive: Any, send: Any) -> None:
    """Asks for the session's user, as ours asks for its version."""
    await load_session(HTTPConnection(given))
    given["session"].get("user")
    await bare(given, receive, send)


async def signing_in(given: Any, receive: Any, send: Any) -> None:
    """Begins a session."""
    await load_session(HTTPConnection(given))
    given["session"]["user"] = "alice"
    await bare(given, receive, send)


def facade(store: str, affinity: str) -> Canary:
    """Identified visitors at 10 %."""
    rollout = Rollout(
        "checkout", stable="1.4.2", canary="1.5.0", paths=["/checkout"],
        policy="keep", affinity=affinity,
    )  # fmt: skip
    canary = Canary(
        rollout, store=store, namespace=affinity, secret_keys=["k" * 32], bucket_secret="b" * 32,
        identify=lambda view: view.header("x-user"), secure=False, telemetry=False,
    )  # fmt: skip
    plan = Plan.from_rollout(rollout)
    verbs.start(canary.store, "checkout", by="bench", plan=plan, weight=10_000)
    return canary


def user(app: App, names: Callable[[], str]) -> Request:
    """A request of the next user."""

    def request() -> Awaitable[None]:
        given = scope("/checkout", b"")
        given["headers"].append((b"x-user", names().encode()))
        return app(given, receive, discard)

    return request


def browser(app: App, cookies: list[bytes]) -> Request:
    """A request of the next browser."""
    turns = cycle(cookies)
    return lambda: app(scope("/checkout", next(turns)), receive, discard)


async def one_by_one(request: Request) -> float:
    """Seconds per request."""
    begun = perf_counter()
    for _ in range(CALLS):
        await request()
    return (perf_counter() - begun) / CALLS


async def together(request: Request) -> float:
    """Seconds per request, of as many as come at once."""
    begun = perf_counter()
    for _ in range(CALLS // TOGETHER):
        await asyncio.gather(*(request() for _ in range(TOGETHER)))
    return (perf_counter() - begun) / CALLS


Contenders = dict[str, tuple[Callable[[Request], Awaitable[float]], Request]]


async def measured(contenders: Contenders) -> dict[str, float]:
    """Medians, one round of each after the other."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (how, request) in contenders.items():
            samples[name].append(await how(request))
    return {name: median(values) for name, values in samples.items()}


async def sessions(client: Redis) -> tuple[App, list[bytes]]:
    """The peer, and the cookies of a hundred sessions that it holds."""
    store = RedisStore(connection=client)
    cookies: list[bytes] = []

    async def keep(message: Any) -> None:
        cookies.extend(
            value.partition(b";")[0]
            for name, value in message.get("headers", ())
            if name == b"set-cookie"
        )

    begins = SessionMiddleware(signing_in, store=store, cookie_https_only=False)
    for _ in range(100):
        await begins(scope("/checkout", b""), receive, keep)
    return SessionMiddleware(loading, store=store, cookie_https_only=False), cookies


async def ready(app: Any, canary: Canary) -> None:
    """Its agent has heard of the weight."""
    await user(app, lambda: "somebody")()
    assert canary.engine.document is not None


async def run(server: RedisServer) -> list[str]:
    """The lines of the issue."""
    shared, cookie = facade(server.url, "shared"), facade(server.url, "cookie")
    ours, plain = CanaryMiddleware(exposing, shared), CanaryMiddleware(exposing, cookie)
    await ready(ours, shared)
    await ready(plain, cookie)
    client = Redis.from_url(server.url)
    peer, sessions_of = await sessions(client)
    known, strangers = cycle([f"known-{n}" for n in range(100)]), count()
    one, many = (lambda: next(known)), (lambda: f"user-{next(strangers)}")
    base = user(bare, one)
    times = await measured(
        {
            "bare": (one_by_one, base),
            "known": (one_by_one, user(ours, one)),
            "first": (one_by_one, user(ours, many)),
            "peer": (one_by_one, browser(peer, sessions_of)),
            "bare, together": (together, base),
            "first, together": (together, user(ours, many)),
            "peer, together": (together, browser(peer, sessions_of)),
        }
    )
    alone = times["peer"] - times["bare"]
    crowd = times["peer, together"] - times["bare, together"]
    await client.aclose()
    server.pause()
    for _ in range(5):  # until the circuit is open
        await user(ours, many)()
    away = await measured(
        {
            "bare": (one_by_one, base),
            "shared": (one_by_one, user(ours, many)),
            "cookie": (one_by_one, user(plain, many)),
        }
    )
    server.resume()
    lost, local = away["shared"] - away["bare"], away["cookie"] - away["bare"]
    await ours._leave()  # noqa: SLF001  # what the lifespan calls
    await plain._leave()  # noqa: SLF001
    first, crowded = (
        times["first"] - times["bare"],
        (times["first, together"] - times["bare, together"]),
    )
    return [
        ratio_line(
            "shared, known here", times["known"] - times["bare"], alone, 0.05, "starsessions"
        ),
        ratio_line("shared, first sight", first, alone, 0.45, "starsessions"),
        ratio_line(
            f"shared, first sight, {TOGETHER} at once", crowded, crowd, 0.30, "starsessions"
        ),
        ratio_line("shared, Redis stopped", lost, local, 2.0, "cookie mode"),
    ]


@contextmanager
def parted(server: RedisServer) -> Iterator[None]:
    """The server on one processor and we on another: where both meet on one, a round trip takes
    twice as long, and the scheduler would decide who is the slower one.
    """
    all_of_them = os.sched_getaffinity(0)
    if len(all_of_them) > 1:
        first, *others = sorted(all_of_them)
        os.sched_setaffinity(0, {first})
        os.sched_setaffinity(server.pid, set(others))
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


def main() -> list[str]:
    """On a private server."""
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(Path(directory)) as server,
        parted(server),
    ):
        return asyncio.run(run(server))


if __name__ == "__main__":
    print("\n".join(main()))
