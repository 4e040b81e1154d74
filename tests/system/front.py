"""One address for several processes: each new connection goes to the next of them.

``python -m tests.system.front PORT FILE [mute]``; the file lists the ports behind it and is read at
every connection, so that a rolling restart can take one out. A process of its own, so that passing
bytes on takes nothing from the clients' event loop.

With ``mute`` it stands before a Redis and swallows what is pushed to subscribers: their connection
lives, they are answered, and they hear nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from tests.support.servers import LOCALHOST


class Side(asyncio.Protocol):
    """One of two joined connections; what ends one ends the other."""

    transport: asyncio.Transport
    other: Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.transport.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class Mute(Side):
    """A Redis whose pushes are lost on the way (RESP2: an array that begins with "message")."""

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"*3\r\n$7\r\nmessage\r\n"):
            super().data_received(data)


class Front:
    """Answers the address.

    Args:
        ports: the file that lists who stands behind it.
        server: what is made for the connection to one of them.
    """

    def __init__(self, ports: Path, server: Callable[[], Side]) -> None:
        self._ports = ports
        self._server = server
        self._turn = itertools.count()
        self._joining: set[asyncio.Task[None]] = set()

    def accept(self) -> Side:
        return Incoming(self)

    def join(self, client: Side) -> None:
        task = asyncio.create_task(self._join(client))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, client: Side) -> None:
        server = self._server()
        server.other = client
        for _ in range(20):
            if await self._connected(server):
                client.other = server
                client.transport.resume_reading()
                return
        client.transport.close()

    async def _connected(self, server: Side) -> bool:
        ports = self._ports.read_text().split()
        port = int(ports[next(self._turn) % len(ports)])
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, LOCALHOST, port)
        except OSError:
            return False
        return True


class Incoming(Side):
    """A client's connection: silent until somebody stands behind it."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self._front.join(self)


async def main(port: int, ports: Path, kind: str = "") -> None:
    front = Front(ports, Mute if kind == "mute" else Side)
    server = await asyncio.get_running_loop().create_server(front.accept, LOCALHOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
