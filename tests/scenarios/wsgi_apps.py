"""WSGI applications and bodies that tests of the WSGI shell share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from canary_middleware import current
from tests.scenarios.words import Ask
from tests.scenarios.wsgi_driver import http_environ

PLAIN = [("Content-Type", "text/plain")]


def environ(path: str = "/checkout", method: str = "GET", body: bytes = b"") -> dict[str, Any]:
    return http_environ(Ask(path, method, body=body))


def ignore(status: str, headers: Any, exc_info: Any = None) -> Any:
    """A ``start_response`` of a server that does not care."""


def version(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = current("checkout").version.encode()
    start_response("200 OK", list(PLAIN))
    return [body]


class Tracked:
    """A body that counts how often it is closed.

    Args:
        chunks: its items; a callable is called for its item.
    """

    def __init__(self, *chunks: bytes | Callable[[], bytes]) -> None:
        self.closed = 0
        self.seen_at_close = ""
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        return chunk if isinstance(chunk, bytes) else chunk()

    def close(self) -> None:
        self.closed += 1
        self.seen_at_close = current("checkout").version


def boom() -> bytes:
    raise RuntimeError("boom")


def streaming(body: Tracked) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", list(PLAIN))
        return body

    return app
