"""The relay under servers in processes of their own: what each passes on, and what many cost."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.servers import LOCALHOST, Process, accepts, free_port
from tests.upstream.websocket_rig import client, closed, eventually, in_loop, library

ROOT = Path(__file__).parents[2]
SITE = "tests.upstream.websocket_site:app"
COMMANDS = {
    "uvicorn, websockets": f"uvicorn {SITE} --ws websockets --port",
    "uvicorn, sansio": f"uvicorn {SITE} --ws websockets-sansio --port",
    "uvicorn, wsproto": f"uvicorn {SITE} --ws wsproto --port",
    "hypercorn": f"hypercorn {SITE} --bind",
    "granian": f"granian {SITE} --interface asgi --port",
}
servers = pytest.mark.parametrize("kind", COMMANDS)
MIB = 2**20


@asynccontextmanager
async def served(kind: str, log: Path, origin: int) -> AsyncIterator[tuple[int, Process]]:
    port = free_port()
    module, *arguments = COMMANDS[kind].split()
    where = f"{LOCALHOST}:{port}" if kind == "hypercorn" else str(port)
    command = [sys.executable, "-m", module, *arguments, where]
    env = {"ORIGIN": f"http://{LOCALHOST}:{origin}"}
    with Process(command, log, env=env, cwd=ROOT) as process:
        await eventually(lambda: accepts(port), 15)
        yield port, process


def select(socket: ServerConnection, offer: object) -> Subprotocol | None:
    return Subprotocol("b") if offer else None


def refuse(socket: ServerConnection, request: Request) -> Response | None:
    if request.path != "/refused":
        return None
    fields = Headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "4")])
    return Response(401, "Who?", fields, b"who?")


def cookies(socket: ServerConnection, request: Request, response: Response) -> None:
    if response.status_code == 101:
        response.headers["Set-Cookie"] = "c=3"
        response.headers["Set-Cookie"] = "d=4"


class Played:
    """An origin that does what the path says, and remembers how its WebSockets ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[int | None, str | None]] = []
        self.origin = library(
            self._play, select_subprotocol=select, process_request=refuse,
            process_response=cookies, ping_interval=None,
        )  # fmt: skip

    async def _play(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        doing, _, code = socket.request.path[1:].partition("/")
        if doing == "echo":
            async for message in socket:
                await socket.send(message)
        elif doing == "close":
            await socket.close(int(code), "why")
        elif doing == "cut":
            socket.transport.abort()
        self.ends.append(await closed(socket))


@servers
@in_loop
async def test_what_passes(kind: str, tmp_path: Path) -> None:
    played = Played()
    async with played.origin as origin, served(kind, tmp_path / "log", origin) as (port, _):
        async with client(
            port, "/echo", subprotocols=[Subprotocol("a"), Subprotocol("b")]
        ) as socket:
            assert socket.subprotocol == "b"
            assert socket.response is not None
            set_cookie = socket.response.headers.get_all("Set-Cookie")
            # Granian gives no header of an acceptance to its client.
            assert set_cookie == ([] if kind == "granian" else ["c=3", "d=4"])
            for message in (bytes(10 * MIB), "gr\u00fc\u00df"):
                await socket.send(message)
                assert await socket.recv() == message
        for code in (1000, 1001, 1011, 1012, 1014, 3000, 4999):
            async with client(port, f"/close/{code}") as socket:
                assert await closed(socket) == (code, "why")
        async with client(port, "/cut") as socket:
            assert await closed(socket) == (1014, "Bad Gateway")
        with pytest.raises(InvalidStatus) as caught:
            await client(port, "/refused")
        refused = caught.value.response
        assert (refused.status_code, refused.body) == (401, b"who?")
        # Two of a name end its worker.
        expected = ["a=1"] if kind == "granian" else ["a=1", "b=2"]
        assert refused.headers.get_all("Set-Cookie") == expected


@servers
@in_loop
async def test_how_clients_leave(kind: str, tmp_path: Path) -> None:
    played = Played()
    async with played.origin as origin, served(kind, tmp_path / "log", origin) as (port, _):
        for code in (1000, 1001, 1012, 4000):
            async with client(port, "/watch") as socket:
                await socket.close(code, "bye")
        await eventually(lambda: len(played.ends) == 4, 1)
        async with client(port, "/watch") as socket:
            socket.transport.abort()
        await eventually(lambda: len(played.ends) == 5, 1)
    *orderly, cut = played.ends
    if kind == "hypercorn":  # says 1006 of everybody
        assert orderly == [(1001, "")] * 4
    else:
        reason = "" if kind == "granian" else "bye"
        assert orderly == [(1000, reason), (1001, reason), (1012, reason), (4000, reason)]
    assert cut[0] in (1001, 1005)


def memory(process: Process) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.faults
@in_loop
async def test_500_idle_websockets_harm_nobody(tmp_path: Path) -> None:
    played = Played()
    loop = asyncio.get_running_loop()
    async with (
        played.origin as origin,
        served("uvicorn, sansio", tmp_path / "log", origin) as (port, process),
    ):
        async with client(port, "/echo") as socket:
            await socket.send("x")
            await socket.recv()
            before = memory(process)
            idle = [await client(port, "/idle", ping_interval=None) for _ in range(500)]
            grown = memory(process) - before
            slowest = 0.0
            for _ in range(200):
                start = loop.time()
                await socket.send("x")
                await socket.recv()
                slowest = max(slowest, loop.time() - start)
        for one in idle:
            one.transport.abort()
        gone = await eventually(lambda: len(played.ends) == 501)
        print(f"\n500 idle: {grown / 500 / 1024:.0f} KiB each, slowest echo {slowest * 1e3:.1f} ms,"
              f" all gone after {gone:.2f} s")  # fmt: skip
        assert grown < 500 * 128 * 1024
        assert slowest < 0.1


@pytest.mark.faults
@in_loop
async def test_stalled_readers_hold_little(tmp_path: Path) -> None:
    async def flood(socket: ServerConnection) -> None:
        while True:
            await socket.send(bytes(64 * 1024))

    quiet = logging.getLogger("tests.origin")
    quiet.propagate = False
    async with (
        library(flood, ping_interval=None) as origin,
        served("uvicorn, sansio", tmp_path / "log", origin) as (port, process),
    ):
        first = await client(port, max_queue=1, ping_interval=None)
        await asyncio.sleep(0.5)
        before = memory(process)
        stalled = [await client(port, max_queue=1, ping_interval=None) for _ in range(20)]
        await asyncio.sleep(3)
        grown = memory(process) - before
        for one in [first, *stalled]:
            one.transport.abort()
    print(f"\n20 stalled: {grown / MIB:.1f} MiB")
    assert grown < 64 * MIB
