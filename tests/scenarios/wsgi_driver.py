"""A WSGI server in memory, and neutral applications as WSGI applications.

Source: PEP 3333, https://peps.python.org/pep-3333/
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from tests.scenarios.words import END, READ, Ask, Reply, Start, Step

REASONS = {200: "OK", 204: "No Content", 302: "Found", 304: "Not Modified"}


def http_environ(ask: Ask, headers: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    path, _, query = ask.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": ask.method,
        "SCRIPT_NAME": ask.mount,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(ask.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if ask.body:
        environ["CONTENT_LENGTH"] = str(len(ask.body))
    for key, value in (*ask.headers, *headers):
        name = "HTTP_" + key.upper().replace("-", "_")
        joint = "; " if name == "HTTP_COOKIE" else ", "
        environ[name] = environ[name] + joint + value if name in environ else value
    return environ


def exchange(app: Any, environ: dict[str, Any], arrived: Callable[[bytes], object] = len) -> Reply:
    """One request to the end, errors included; the body is closed on every path."""
    reply = Reply()

    def write(chunk: bytes) -> None:
        arrived(chunk)
        reply.chunks.append(chunk)

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        assert exc_info or not reply.status, "two starts"
        reply.status = int(status[:3])
        reply.headers = [(key.lower(), value) for key, value in headers]
        return write

    body: Any = None
    try:
        body = app(environ, start_response)
        for chunk in body:
            assert reply.status, "a body before the start"
            if chunk:
                write(chunk)
        assert reply.status, "the application returned without an answer"
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever an application raises is what is looked at
        reply.error = error
    finally:
        if hasattr(body, "close"):
            body.close()
    return reply


def as_wsgi(handler: Callable[[], Any], *, lazy: bool) -> Any:
    """A neutral application for WSGI.

    Args:
        handler: makes the run.
        lazy: start the response at the first item, as a generator does, instead of in the call.
    """

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = NeutralBody(handler(), environ, start_response)
        if not lazy:
            body.begin()
        return body

    return app


class NeutralBody:
    """Runs the rest of a neutral application while the server asks for items."""

    def __init__(self, run: Any, environ: dict[str, Any], start_response: Any) -> None:
        self._run = run
        self._environ = environ
        self._start_response = start_response
        self._next: Step | None = None
        self._given: bytes | None = None
        self._ended = False
        self._started = False

    def begin(self) -> None:
        while not self._started:
            self._do(self._run.send(self._given))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._ended:
            step = self._run.send(self._given)
            self._given = None
            if isinstance(step, bytes):
                return step
            self._do(step)
        raise StopIteration

    def close(self) -> None:
        """What comes after the end, as a background task of other frameworks does."""
        if self._ended:
            for step in self._run:
                self._do(step)
        self._run.close()

    def _do(self, step: Step) -> None:
        self._given = None
        if isinstance(step, Start):
            try:
                status = f"{step.status} {REASONS.get(step.status, 'Status')}"
                self._start_response(status, list(step.headers))
            except BaseException as error:
                self._run.throw(error)
                raise
            self._started = True
        elif step is READ:
            self._given = self._environ["wsgi.input"].read(-1)
        else:
            assert step is END
            self._ended = True
