"""The same applications with the middleware around them.

``asgi`` and ``wsgi``: no request of the suite is of the rollout, so the middleware must not change
a byte of any. ``asgi_canary`` and ``wsgi_canary``: all are, and everybody is on canary, which is
the upstream; stable is here, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from canary_middleware import Canary, Rollout
from canary_middleware.asgi import CanaryMiddleware as AsgiMiddleware
from canary_middleware.upstream.wsgi import StartResponse
from canary_middleware.wsgi import CanaryMiddleware as WsgiMiddleware
from tests.upstream.transparency import serve_asgi, serve_wsgi
from tests.upstream.transparency.known import RESCUED
from tests.upstream.transparency.serve_asgi import Receive, Send

KEY: Final = "a-key-of-these-tests-long-enough-to-be-one"
STABLE: Final = b"stable"


def _canary(path: str, autostart: str) -> Canary:
    shop = Rollout("shop", stable="1.4.2", canary="1.5.0", paths=(path,))
    return Canary(shop, namespace="shop", store="memory://", secret_keys=[KEY], autostart=autostart)


async def stable_asgi(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await serve_asgi.application(scope, receive, send)
        return
    headers = [(b"content-length", b"%d" % len(STABLE))]
    await send({"type": "http.response.start", "status": RESCUED, "headers": headers})
    await send({"type": "http.response.body", "body": STABLE})


def stable_wsgi(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    start_response(f"{RESCUED} Stable", [("Content-Length", str(len(STABLE)))])
    return [STABLE]


asgi = AsgiMiddleware(serve_asgi.application, _canary("/shop", "50%"))
wsgi = WsgiMiddleware(serve_wsgi.application, _canary("/shop", "50%"))
asgi_canary = AsgiMiddleware(
    stable_asgi, _canary("/", "100%"), targets={"shop": serve_asgi.application}
)
wsgi_canary = WsgiMiddleware(
    stable_wsgi, _canary("/", "100%"), targets={"shop": serve_wsgi.application}
)
