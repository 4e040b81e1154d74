"""Bounds of the panel's own server: connections that say nothing, or little, or are too many."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from canary_middleware.panel.serving import BoundedProtocol
from tests.support.servers import LOCALHOST, wait_until

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Hasty(BoundedProtocol):
    """The same with other figures."""

    patience = 0.4
    most = 5


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, takes its time for /slow, and answers."""
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * Hasty.patience)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Patient(BoundedProtocol):
    """As many, who may say nothing for long."""

    most = Hasty.most


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server((LOCALHOST, 0)) as listening, serving(listening, Hasty):
        yield listening.getsockname()[1]


@contextmanager
def serving(listening: socket.socket, protocol: type[BoundedProtocol]) -> Iterator[None]:
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        thread.join()


def opened(port: int, stack: ExitStack, sent: bytes = b"") -> socket.socket:
    connection = stack.enter_context(socket.create_connection((LOCALHOST, port), timeout=10))
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Waits for what comes first: an answer, or the end."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [
    b"", b"GET / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab",
])  # fmt: skip
def test_a_request_that_does_not_come_ends_its_connection(port: int, sent: bytes) -> None:
    with ExitStack() as stack:
        began = time.monotonic()
        assert is_closed(opened(port, stack, sent))
        assert time.monotonic() - began >= Hasty.patience


def test_one_that_dawdles_after_its_first_request_is_ended_too(port: int) -> None:
    with ExitStack() as stack:
        connection = opened(port, stack, ASK)
        assert b"204" in connection.recv(1000)
        connection.sendall(b"GET / HT")
        assert is_closed(connection)


def test_an_answer_may_take_its_time(port: int) -> None:
    with ExitStack() as stack:
        connection = opened(port, stack, ASK.replace(b"/ ", b"/slow "))
        assert b"204" in connection.recv(1000)


def test_too_many_connections_cost_those_that_say_nothing(port: int) -> None:
    with ExitStack() as stack:
        slow = opened(port, stack, ASK.replace(b"/ ", b"/slow "))
        silent = []
        for _ in range(3 * Hasty.most):
            silent.append(opened(port, stack))
            asked = opened(port, stack, ASK)
            assert b"204" in asked.recv(1000)  # whoever asks gets through
            asked.close()
        assert is_closed(silent[0])
        assert b"204" in slow.recv(1000)


def test_connections_that_come_all_at_once_are_not_more_than_so_many() -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((LOCALHOST, 0), backlog=64))
        port = listening.getsockname()[1]
        # They wait for the server, which takes all of them in before its loop turns.
        silent = [opened(port, stack) for _ in range(5 * Patient.most)]
        stack.enter_context(serving(listening, Patient))
        assert b"204" in opened(port, stack, ASK).recv(1000)
        over = silent[: -Patient.most]
        assert [is_closed(one) for one in over] == [True] * len(over)
        last = silent[-1]
        last.sendall(ASK)
        assert b"204" in last.recv(1000)
