"""What the WSGI middleware adds to a request ÷ what verifying a session cookie costs Flask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any

from flask import Flask, session

from benchmarks.measure import interleaved, ratio_line
from benchmarks.request_asgi import KEY, facade, ten_cookies
from canary_middleware import current
from canary_middleware.wsgi import CanaryMiddleware

BROWSER = {
    "HTTP_HOST": "shop.example",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "text/html,application/xhtml+xml",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_SEC_FETCH_SITE": "none",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_DEST": "document",
}
Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def bare(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
    """The least that a WSGI application can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def exposing(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
    """The same, and it asks for its version."""
    current("checkout")
    return bare(environ, start_response)


def flask_app() -> Flask:
    """A page that begins a session, and one that asks for the session's user."""
    app = Flask("bench")
    app.secret_key = KEY

    @app.get("/sign-in")
    def sign_in() -> str:
        session["user"] = "alice"
        return "ok"

    @app.get("/checkout")
    def checkout() -> str:
        session.get("user")
        return "ok"

    return app


def request(app: App, path: str, cookie: str = "") -> list[tuple[str, str]]:
    """One request as a WSGI server makes it; the response's headers."""
    environ = {
        **BROWSER, "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path,
        "QUERY_STRING": "", "SERVER_NAME": "shop.example", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.multithread": True, "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }  # fmt: skip
    if cookie:
        environ["HTTP_COOKIE"] = cookie
    started: list[list[tuple[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started.append(headers)

    body = app(environ, start_response)
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()
    return started[0]


def first_cookie(app: App, path: str) -> str:
    """The cookie that a first request is given."""
    lines = [value for name, value in request(app, path) if name == "Set-Cookie"]
    return lines[0].split(";")[0]


def main() -> list[str]:
    """The line of the issue."""
    canary = facade()
    ours = CanaryMiddleware(exposing, canary=canary)
    flask = flask_app().wsgi_app
    cookies = cycle(ten_cookies(canary))
    signed = first_cookie(flask, "/sign-in")
    times = interleaved(
        {
            "bare": lambda: request(bare, "/checkout", next(cookies)),
            "returning": lambda: request(ours, "/checkout", next(cookies)),
            "without session": lambda: request(flask, "/checkout"),
            "with session": lambda: request(flask, "/checkout", signed),
        }
    )
    added = times["returning"] - times["bare"]
    verify = times["with session"] - times["without session"]
    return [ratio_line("WSGI, returning visitor", added, verify, 0.10, "Flask's session")]


if __name__ == "__main__":
    print("\n".join(main()))
