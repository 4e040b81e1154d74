"""Pages that say everything an application can say about caching, with their version.

Served as they are, they are a deployment of one version (``VERSION``) that knows of no canary.
"""

from __future__ import annotations

import os
from typing import Final

from canary_middleware import current
from canary_middleware.asgi import Receive, Scope, Send

PAGES: Final[dict[str, tuple[int, dict[str, str]]]] = {
    "/checkout": (200, {"Vary": "Accept-Encoding"}),
    "/checkout/max-age": (200, {"Cache-Control": "max-age=60"}),
    "/checkout/vary": (200, {"Vary": "accept, cookie", "Cache-Control": "max-age=60"}),
    "/checkout/no-store": (200, {"Cache-Control": "no-store"}),
    "/checkout/edge": (200, {"X-Accel-Expires": "60"}),
    "/checkout/missing": (404, {"Cache-Control": "max-age=60"}),
    "/checkout/moved": (302, {"Location": "/checkout"}),
    "/checkout/public": (200, {"Cache-Control": "public, max-age=60"}),
    "/checkout/forever": (200, {"Cache-Control": "max-age=60, immutable"}),
    "/checkout/shared": (200, {"Cache-Control": "s-maxage=60"}),
    "/static/app.css": (200, {"Cache-Control": "public, max-age=60"}),
    "/about": (200, {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}),
}
"""By path: status and headers."""


async def pages(scope: Scope, receive: Receive, send: Send) -> None:
    """One of the pages, with validators."""
    if scope["type"] != "http":
        raise NotImplementedError("no lifespan, no WebSockets")
    while (await receive()).get("more_body"):
        pass
    status, extra = PAGES[scope["path"]]
    version = os.environ.get("VERSION") or current("checkout").version or "the same for all"
    if scope["path"].startswith(("/static", "/about")):
        version = "the same for all"
    etag = f'"{version.replace(" ", "-")}{scope["path"]}"'
    asked = dict(scope["headers"])
    if status == 200 and asked.get(b"if-none-match") == etag.encode():
        status = 304
    body = b"" if status == 304 or scope["method"] == "HEAD" else f"page {version}\n".encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
    headers += [(b"etag", etag.encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
