"""What the ASGI middleware adds to a request ÷ what Starlette's SessionMiddleware adds to it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import cycle
from typing import Any

import itsdangerous
from starlette.middleware.sessions import SessionMiddleware

from benchmarks.measure import interleaved_async, ratio_line
from canary_middleware import Canary, Rollout, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.routing import by_weight

KEY = "k" * 32
BROWSER = [
    (b"host", b"shop.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


async def bare(scope: Any, receive: Receive, send: Send) -> None:
    """The least that an ASGI application can do."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def exposing(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
    """The same, and it asks for its version; a plain function: the asking is all it adds."""
    current("checkout")
    return bare(scope, receive, send)


def reading(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
    """The same, and it asks for the session's user, as ours asks for its version."""
    scope["session"].get("user")
    return bare(scope, receive, send)


def signing_in(scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
    """The same, and it begins a session."""
    scope["session"]["user"] = "alice"
    return bare(scope, receive, send)


def scope(path: str, cookie: bytes) -> dict[str, Any]:
    """A request as uvicorn hands it over."""
    headers = [*BROWSER, (b"cookie", cookie)] if cookie else list(BROWSER)
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5000), "scheme": "http",
        "method": "GET", "root_path": "", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": headers, "state": {},
    }  # fmt: skip


async def receive() -> Message:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def discard(message: Message) -> None:
    """A server that writes nothing."""


def call(app: App, path: str, *cookies: bytes) -> Callable[[], Awaitable[None]]:
    """A coroutine function without arguments: one request, of each visitor in turn."""
    turns = cycle(cookies or [b""])

    def request() -> Awaitable[None]:
        return app(scope(path, next(turns)), receive, discard)

    return request


def ten_cookies(canary: Canary) -> list[str]:
    """Cookies of ten visitors, of whom one is on the canary, as at 10 % they are."""
    lane = canary.engine.snapshot.by_name["checkout"]
    visitors = canary.engine.visitors
    stable: list[str] = []
    lucky: list[str] = []
    while len(stable) < 9 or not lucky:
        known = visitors.draw()
        line = visitors.line(known.cookie).partition(";")[0]
        (lucky if by_weight(lane, known.drawn).is_canary else stable).append(line)
    return [*stable[:9], lucky[0]]


def rollout() -> Rollout:
    """What every benchmark rolls out."""
    return Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=["/checkout"])


def facade() -> Canary:
    """One process at 10 %."""
    return Canary(rollout(), secret_keys=[KEY], autostart="10%", secure=False, telemetry=False)


async def run() -> list[str]:
    """The four lines of the issue."""
    canary = facade()
    ours = CanaryMiddleware(exposing, canary=canary)
    outside = CanaryMiddleware(bare, canary=canary)
    session = SessionMiddleware(reading, secret_key=KEY)
    new_session = SessionMiddleware(signing_in, secret_key=KEY)
    cookies = [cookie.encode() for cookie in ten_cookies(canary)]
    payload = b64encode(json.dumps({"user": "alice"}).encode())
    signed = b"session=" + itsdangerous.TimestampSigner(KEY).sign(payload)
    elsewhere = facade()
    stranger = call(CanaryMiddleware(exposing, canary=elsewhere), "/checkout", *cookies)

    def unseen() -> Awaitable[None]:
        elsewhere.engine.visitors.forget()
        return stranger()

    times = await interleaved_async(
        {
            "bare": call(bare, "/checkout", *cookies),
            "bare, no cookie": call(bare, "/checkout"),
            "returning": call(ours, "/checkout", *cookies),
            "unseen": unseen,
            "new": call(ours, "/checkout"),
            "outside": call(outside, "/catalogue", *cookies),
            "session": call(session, "/checkout", signed),
            "new session": call(new_session, "/checkout"),
        }
    )
    base, base_new = times["bare"], times["bare, no cookie"]
    verify, begin = times["session"] - base, times["new session"] - base_new
    return [
        ratio_line("ASGI, returning visitor", times["returning"] - base, verify, 0.25, "session"),
        ratio_line("ASGI, cookie not yet seen", times["unseen"] - base, verify, 0.5, "session"),
        ratio_line("ASGI, new visitor", times["new"] - base_new, begin, 0.6, "new session"),
        ratio_line("ASGI, outside every scope", times["outside"] - base, verify, 0.03, "session"),
    ]


def main() -> list[str]:
    """Run in a fresh event loop."""
    return asyncio.run(run())


if __name__ == "__main__":
    print("\n".join(main()))
