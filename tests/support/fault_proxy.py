"""A TCP proxy that does to a connection what networks do: delay, silence, refusal, a cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.servers import LOCALHOST

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens on a loopback port and passes bytes on to ``port``, as long as it is let.

    Attributes:
        latency: seconds by which each chunk is late, in each direction.
        port: where to connect instead of to the server.
        accepted: connections accepted so far.
    """

    def __init__(self, target: int, host: str = LOCALHOST) -> None:
        self.latency = 0.0
        self.accepted = 0
        self._target = (host, target)
        self._dropping = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener = socket.create_server((LOCALHOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def url(self, path: str = "0") -> str:
        """The address of a Redis behind this proxy."""
        return f"redis://{LOCALHOST}:{self.port}/{path}"

    def black_hole(self) -> None:
        """From now on bytes are accepted and nothing arrives, on old and new connections.

        As with lost packets, TCP delivers what was sent meanwhile after :meth:`heal`.
        """
        self._do(self._open.clear)

    def drop_new(self) -> None:
        """Reset new connections at once; those that exist go on."""
        self._dropping = True

    def lead_to(self, target: int) -> None:
        """New connections go to another port; those that exist stay where they are."""
        self._target = (self._target[0], target)

    def heal(self) -> None:
        """Undo every fault."""
        self.latency, self._dropping = 0.0, False
        self._do(self._open.set)

    def cut(self) -> None:
        """Reset every connection that exists; new ones are welcome."""
        self._do(self._reset_all)

    def _do(self, change: Callable[[], None]) -> None:
        """Make a change in the proxy's own thread and wait for it."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(change)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(5), "the proxy is not running"

    def _reset_all(self) -> None:
        for writer in self._writers:
            reset(writer)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, sock=self._listener)
        await self._over.wait()
        server.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(back)
        try:
            if self._dropping:
                return
            await self._open.wait()
            await self._join(client, back)
        except (OSError, asyncio.CancelledError):
            pass  # either side went away, or the proxy ends: both close the connection below
        finally:
            self._writers.discard(back)
            reset(back)

    async def _join(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        server, forth = await asyncio.open_connection(*self._target)
        self._writers.add(forth)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(client, forth))
                both.create_task(self._pump(server, back))
        except* OSError:
            pass  # a reset on one side is a reset on the other
        finally:
            self._writers.discard(forth)
            reset(forth)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            await asyncio.sleep(self.latency)
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the peer hears of it even if it never reads."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
