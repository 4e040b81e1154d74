"""An ASGI server in a thread, an application that tests exchange, and clients of plain sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from canary_middleware.upstream.asgi import AsgiUpstream
from tests.support.servers import wait_until
from tests.upstream.origins import Origin, Script

App = Callable[[Any, Any, Any], Awaitable[None]]
ENDING = 5.0


@dataclass
class Got:
    """An answer; ``cut`` where it ended before its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Caller:
    """A client's connection."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, method: str = "GET") -> Got:
        """The next answer, whole or cut."""
        response = HTTPResponse(self.sock, method=method)
        response.begin()
        try:
            body, cut = response.read(), False
        except IncompleteRead as error:
            body, cut = error.partial, True
        except OSError:
            body, cut = b"", True
        return Got(response.status, response.getheaders(), body, cut)

    def until(self, text: bytes) -> bytes:
        """What comes until this was seen, or the end."""
        data = b""
        while text not in data and (piece := self.sock.recv(65536)):
            data += piece
        return data

    def rest(self) -> bytes:
        """What comes until the server closes."""
        return self.until(b"\0never\0")

    def close(self) -> None:
        self.sock.close()


@dataclass
class Front:
    """The server.

    Attributes:
        port: of the server.
        loop: of the server.
        said: what was logged, for the test that serves now.
    """

    port: int
    loop: asyncio.AbstractEventLoop
    said: list[logging.LogRecord] = field(default_factory=list)
    app: App | None = None

    def run(self, coro: Any) -> Any:
        """The result of a coroutine that runs where the server does."""
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(20)

    def caller(self, timeout: float = 10.0) -> Caller:
        return Caller(self.port, timeout)

    def ask(
        self, target: str = "/", method: str = "GET", body: bytes | None = None, *lines: str
    ) -> Got:
        """One request on a connection of its own."""
        length = [f"Content-Length: {len(body)}"] if body is not None else []
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: shop", *length, *lines, "", ""])
        with closing(self.caller()) as caller:
            caller.send(head.encode("latin-1") + (body or b""))
            return caller.answer(method)

    @property
    def lines(self) -> list[str]:
        """What this package logged."""
        return [one.getMessage() for one in self.said if one.name == "canary_middleware"]

    @contextmanager
    def serving(self, app: App) -> Iterator[App]:
        """Serve this, with its lifespan; nothing of it may be left afterwards."""
        before = self.run(_tasks())
        self.said.clear()
        talk = Lifespan(app)
        self.run(talk.start())
        self.app = app
        try:
            yield app
        finally:
            self.app = None
            self.run(talk.stop())
        wait_until(lambda: self.run(_tasks()) <= before, timeout=ENDING, what="no task is left")
        noise = [one.getMessage() for one in self.said if one.name == "asyncio"]
        assert not noise, f"the event loop complains: {noise}"

    @contextmanager
    def passing(
        self, script: Script, around: Callable[[App], App] | None = None, **options: Any
    ) -> Iterator[Origin]:
        """Serve an upstream whose origin runs this script; no connection to it may be left."""
        with Origin(script) as origin:
            upstream = AsgiUpstream(origin.url, **options)
            with self.serving(upstream if around is None else around(upstream)):
                yield origin
            wait_until(lambda: not connections(origin.port), timeout=ENDING, what="none is left")


def connections(port: int) -> int:
    """Those of this machine to this port that somebody still holds open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[9] != "0" for row in rows)


class Lifespan:
    """What a server says to an application at its start and at its end."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._says: asyncio.Queue[Any] = asyncio.Queue()
        self._hears: asyncio.Queue[Any] = asyncio.Queue()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        await self._say("startup")

    async def stop(self) -> None:
        await self._say("shutdown")
        await self._task

    async def _say(self, what: str) -> None:
        await self._says.put({"type": f"lifespan.{what}"})
        assert await self._hears.get() == {"type": f"lifespan.{what}.complete"}

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        await self._app(scope, self._says.get, self._hears.put)


class Ear(logging.Handler):
    """Hears all that is logged."""

    def __init__(self, said: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record)


class Uvicorn:
    """Runs in a thread, on a port of its own."""

    def __init__(self, **options: Any) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.front = Front(self._listener.getsockname()[1], asyncio.new_event_loop())
        config = uvicorn.Config(
            self._app, lifespan="off", log_config=None, access_log=False,
            **{"http": "httptools", "loop": "asyncio", "interface": "asgi3", **options},
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.front.app is not None, "a request outside of every test"
        await self.front.app(scope, receive, send)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.front.loop) as runner:
            runner.run(self._server.serve([self._listener]))

    def __enter__(self) -> Self:
        self._ear = Ear(self.front.said)
        logging.getLogger().addHandler(self._ear)
        self._thread.start()
        wait_until(lambda: self._server.started, what="uvicorn serves")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        logging.getLogger().removeHandler(self._ear)
        assert not self._thread.is_alive()


async def _tasks() -> int:
    return len(asyncio.all_tasks())
