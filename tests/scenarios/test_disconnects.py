"""Clients that go away and requests that are cancelled, in the ASGI shell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import pytest

from canary_middleware import (
    Canary,
    current,
)
from canary_middleware.asgi import CanaryMiddleware
from tests.scenarios.asgi_driver import Connection, exchange, http_scope
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.words import Ask, Reply

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b""}


def fetch(app: App, canary: Canary, **scope: Any) -> Reply:
    return asyncio.run(exchange(CanaryMiddleware(app, canary), {**http_scope(Ask()), **scope}))


async def version(scope: Any, receive: Any, send: Any) -> None:
    body = current("checkout").version.encode()
    await send(dict(START))
    await send({"type": "http.response.body", "body": body})


# --- clients that go away, cancellation -----------------------------------------------------------


def test_a_client_that_goes_away_mid_stream() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await receive()
        while (await receive())["type"] != "http.disconnect":
            raise AssertionError
        # returns without an end, as applications do

    async def run() -> None:
        connection = Connection()
        connection.gone.set()
        await CanaryMiddleware(app, canary)(http_scope(Ask()), connection.receive, connection.send)

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError("gone")])
def test_a_server_that_says_so_by_an_error_of_send(error: OSError, method: str) -> None:
    """ASGI 2.4: ``send`` raises a subclass of OSError once the client is gone."""

    async def run() -> None:
        async def server(message: Message) -> None:
            if message["type"] == "http.response.body":
                raise error

        scope = http_scope(Ask(method=method))
        await CanaryMiddleware(streaming, canary)(scope, Connection().receive, server)

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        current("checkout")
        await send(dict(START))
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    canary = facade()
    with pytest.raises(OSError, match="gone"):
        asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


def test_a_canary_answer_nobody_waits_for_is_not_run_again() -> None:
    runs: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        runs.append(current("checkout").version)
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        raise RuntimeError("boom")

    async def run() -> Any:
        connection = Connection()
        connection.gone.set()
        await CanaryMiddleware(app, facade())(
            http_scope(Ask()), connection.receive, connection.send
        )

    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(run())
    assert runs == ["2"]


async def cancelled_while(app: App, canary: Canary, ready: asyncio.Event) -> Connection:
    """Cancels the request as soon as ``ready`` is set; checks that the cancellation comes out."""
    connection = Connection()
    middleware = CanaryMiddleware(app, canary)
    task = asyncio.ensure_future(middleware(http_scope(Ask()), connection.receive, connection.send))
    await ready.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled(), "the cancellation was swallowed"
    assert not canary.engine.recorder.running
    return connection


def test_cancellation_of_a_running_request_passes() -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            current("checkout")
            ready.set()
            await asyncio.Event().wait()

        await cancelled_while(app, canary, ready)

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary aborted": 1}


def test_cancellation_while_a_superseded_canary_unwinds_passes() -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert current("checkout").is_canary, "stable must not run for a cancelled request"
            kill(canary)
            try:
                await send(dict(START))
            finally:
                ready.set()
                await asyncio.sleep(60)

        connection = await cancelled_while(app, canary, ready)
        assert connection.messages == []

    canary = facade()
    asyncio.run(run())
    assert outcomes(canary) == {"canary superseded": 1}


@pytest.mark.parametrize("end", [kill, None], ids=["kill", "rescue"])
def test_cancellation_of_the_second_run_passes(end: Callable[[Canary], None] | None) -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if current("checkout").is_canary:
                if end is not None:
                    end(canary)
                raise RuntimeError("boom")
            ready.set()
            await asyncio.Event().wait()

        await cancelled_while(app, canary, ready)

    canary = facade()
    asyncio.run(run())
    first = "superseded" if end else "rescued"
    expected = {f"canary {first}": 1}
    assert outcomes(canary) == (expected if end is None else {**expected, "stable aborted": 1})


def test_superseding_inside_a_task_group_waits_for_its_tasks() -> None:
    notes: list[str] = []

    async def helper() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            notes.append("helper ended")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not current("checkout").is_canary:
            notes.append("stable runs")
            await version(scope, receive, send)
            return
        kill(canary)
        async with asyncio.TaskGroup() as group:
            group.create_task(helper())
            await asyncio.sleep(0)
            await send(dict(START))

    canary = facade()
    assert fetch(app, canary).body == b"1"
    assert notes == ["helper ended", "stable runs"]
    assert outcomes(canary) == {"canary superseded": 1, "stable 2xx": 1}


def test_swallowing_cancellation_would_be_seen() -> None:
    """The broken variant: a supersede that survives everything."""

    class Swallowing(CanaryMiddleware):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            with suppress(BaseException):
                await super().__call__(scope, receive, send)

    async def run() -> bool:
        task = asyncio.ensure_future(
            Swallowing(forever, facade())(
                http_scope(Ask()), Connection().receive, Connection().send
            )
        )
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    async def forever(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    assert asyncio.run(run()) is False
