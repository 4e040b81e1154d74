"""The client of :mod:`benchmarks.upstream`, in a process of its own: 64 keep-alive connections.

It reads lines ``PORT LENGTH REQUESTS``. To each it says ``warm`` when it has connected and asked
a little, waits for a line, asks so many times in all, and says ``done``. Each answer is checked.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

CONNECTIONS = 64
WARM_UP = 5
"""Requests on each connection that are not counted."""
REQUEST = (
    "GET /answer/{}?from=front HTTP/1.1\r\n"
    "Host: shop.example\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Cookie: session=c2Vzc2lvbi1vZi1hLXZpc2l0b3I; theme=dark\r\n"
    "Sec-Fetch-Site: none\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class Count:
    """How many requests are still to be sent, and who waits for the last answer."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.request = REQUEST.format(length).encode()
        self.left = self.missing = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, callers: list[Caller], requests: int) -> None:
        """Ask so many times, on all connections at a time."""
        self.left = self.missing = requests
        self.over = asyncio.get_running_loop().create_future()
        for caller in callers:
            caller.ask()
        await self.over


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, count: Count) -> None:
        self._count = count
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._count.over.done():
            self._count.over.set_exception(exc or ConnectionError("closed by the server"))

    def ask(self) -> None:
        if self._count.left:
            self._count.left -= 1
            self.transport.write(self._count.request)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        elif not self._begun(data):
            return
        if not self._left:
            self._count.missing -= 1
            self.ask()
            if not self._count.missing:
                self._count.over.set_result(None)

    def _begun(self, data: bytes) -> bool:
        """Whether the head of an answer is whole."""
        data = self._head + data
        at = data.find(b"\r\n\r\n")
        if at < 0:
            self._head = data
            return False
        self._head = b""
        found = LENGTH.search(data, 0, at + 2)
        if not data.startswith(b"HTTP/1.1 200 ") or not found:
            raise SystemExit(f"not the answer: {data[:500]!r}")
        if int(found[1]) != self._count.length:
            raise SystemExit(f"an answer of {found[1]!r} bytes instead of {self._count.length}")
        self._left = self._count.length + at + 4 - len(data)
        return True


async def run(port: int, length: int, requests: int) -> None:
    """One round."""
    loop = asyncio.get_running_loop()
    count = Count(length)
    callers = [
        (await loop.create_connection(lambda: Caller(count), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await count.run(callers, WARM_UP * CONNECTIONS)
    print("warm", flush=True)
    sys.stdin.readline()
    await count.run(callers, requests)
    print("done", flush=True)
    for caller in callers:
        caller.transport.close()


def main() -> None:
    for line in sys.stdin:
        asyncio.run(run(*map(int, line.split())))


if __name__ == "__main__":
    main()
