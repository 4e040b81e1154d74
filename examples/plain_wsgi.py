"""Two versions without any framework, in WSGI: one function that asks.

    waitress-serve --listen 127.0.0.1:8000 examples.plain_wsgi:app
    curl -i http://localhost:8000/greeting

``targets={"greeting": other_application}`` works as in ``plain_asgi.py``. ``examples/settings.py``
says what can be set.
"""

from __future__ import annotations

from collections.abc import Iterable

from canary_middleware import Rollout, current
from canary_middleware.wsgi import CanaryMiddleware, Environ, StartResponse
from examples.settings import canary_from_environment

GREETING = Rollout("greeting", stable="1.0", canary="2.0", paths=("/greeting",))


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """One application that is both versions."""
    if environ["PATH_INFO"] != "/greeting":
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    chosen = current("greeting")
    words = "Hello" if chosen.is_canary else "Good day"
    body = f"{words} from {chosen.version}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


app = CanaryMiddleware(application, canary_from_environment(GREETING))
