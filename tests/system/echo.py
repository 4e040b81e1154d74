"""Applications behind the middleware that show everything they see of a request."""

from __future__ import annotations

from typing import Any

from canary_middleware import Rollout, asgi, current, wsgi
from canary_middleware.config import canary_from

# CANARY_OVERRIDES says how tokens may come; the tests say it in the environment of a server.
canary = canary_from(
    rollouts=[Rollout("checkout", stable="1", canary="2", paths=["/checkout"])],
    namespace="shop",
    secret_keys=["k" * 32],
    autostart="0%",
    secure=False,
    telemetry=False,
)


def told(seen: Any) -> bytes:
    return f"version {current('checkout').version or 'none'}\n{seen!r}".encode()


async def scopes(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told(scope)})


def environs(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [told(environ)]


asgi_app = asgi.CanaryMiddleware(scopes, canary)
wsgi_app = wsgi.CanaryMiddleware(environs, canary)
