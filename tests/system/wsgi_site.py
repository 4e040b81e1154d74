"""The site for WSGI servers: ``gunicorn tests.system.wsgi_site:app``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from canary_middleware.wsgi import CanaryMiddleware, Environ, StartResponse
from tests.system.site import Page, Setup, begin, canary, page

SETUP = Setup.read()


def site(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    found = page(SETUP, environ["PATH_INFO"], environ["QUERY_STRING"])
    if found.events:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events(found)
    if found.wait:
        time.sleep(found.wait)
    text = found.text
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
    start_response("200 OK", headers)
    return [text]


def events(found: Page) -> Iterator[bytes]:
    for _ in range(found.events):
        yield b"data: " + found.text + b"\n\n"
        time.sleep(found.wait)


def application() -> Any:
    begin(SETUP)
    app: Any = site
    for name in SETUP.apps:
        app = CanaryMiddleware(app, canary(SETUP, name))
    return app


app = application()
