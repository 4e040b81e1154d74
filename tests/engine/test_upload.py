"""W17: what outsiders do to the body of a request is no failure of a version, nor its time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from canary_middleware import asgi, current, wsgi
from canary_middleware.engine.upload import Input, Upload
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.facade import facade, outcomes
from tests.scenarios.words import Ask
from tests.scenarios.wsgi_apps import PLAIN, environ, ignore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Garbage(io.BytesIO):
    """The input of a server that cannot read what the client has sent."""

    def read(self, _size: int | None = -1, /) -> bytes:
        raise RuntimeError("no hexadecimal length")


def test_only_the_time_for_which_the_application_waits_is_the_clients() -> None:
    clock = Clock()
    upload = Upload(clock)
    upload.wait()
    clock.now += 3
    assert (upload.waiting, upload.waited(clock.now)) == (True, 3)
    upload.come()
    clock.now += 5
    assert (upload.waiting, upload.waited(clock.now)) == (False, 3)
    upload.over = True
    upload.wait()
    clock.now += 7
    assert (upload.waiting, upload.waited(clock.now)) == (False, 3)


@pytest.mark.parametrize(
    ("ask", "sent", "broken"),
    [
        (lambda body: body.read(), b"12345", True),
        (lambda body: body.read(10), b"12345", True),
        (lambda body: body.read(5), b"12345", False),
        (lambda body: body.read(99), b"1234567890", False),
        (lambda body: body.read(0), b"", False),
        (lambda body: [*body], b"1\n2", True),
        (lambda body: [*body], b"1\n2\n345678", False),
        (lambda body: body.readlines(), b"1\n2\n345678", False),
        (lambda body: body.readinto(bytearray(10)), b"1", False),
        (lambda body: body.readinto(bytearray(10)), b"", True),
    ],
)
def test_less_than_was_promised_is_the_clients(
    ask: Callable[[Any], object], sent: bytes, broken: bool
) -> None:
    upload = Upload(Clock())
    ask(Input(io.BytesIO(sent), upload, 10))
    assert upload.broken is broken


@pytest.mark.parametrize("body", [io.BytesIO(b"half"), Garbage()])
@pytest.mark.parametrize("raises", [True, False])
def test_wsgi_blames_nobody_for_a_body_that_does_not_come(body: Any, raises: bool) -> None:
    canary = facade()

    def app(given: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        try:
            if len(given["wsgi.input"].read(10)) < 10:
                raise RuntimeError("half of it")
        except RuntimeError:
            if raises:
                raise
        start_response("500 Broken", list(PLAIN))
        return [b"sorry"]

    given = {**environ(method="POST"), "CONTENT_LENGTH": "10", "wsgi.input": body}
    try:
        wsgi.CanaryMiddleware(app, canary)(given, ignore)
    except RuntimeError:
        assert raises
    assert outcomes(canary) == {"canary aborted": 1}


@pytest.mark.parametrize("gone", [True, False])
def test_asgi_blames_nobody_for_a_client_that_leaves(gone: bool) -> None:
    canary = facade()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        (await receive())["body"]
        raise RuntimeError("this one is its own")

    async def receive() -> Any:
        return {"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""}

    async def send(_message: Any) -> None: ...

    with pytest.raises(KeyError if gone else RuntimeError):
        asyncio.run(
            asgi.CanaryMiddleware(app, canary)(http_scope(Ask(method="POST")), receive, send)
        )
    assert outcomes(canary) == {"canary aborted" if gone else "canary exception": 1}


def test_a_client_that_has_left_is_answered_by_no_rescue() -> None:
    canary = facade()
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version)
        await receive()
        raise RuntimeError("nobody is there")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None: ...

    with pytest.raises(RuntimeError):
        asyncio.run(asgi.CanaryMiddleware(app, canary)(http_scope(Ask()), receive, send))
    assert (runs, outcomes(canary)) == (["2"], {"canary aborted": 1})
