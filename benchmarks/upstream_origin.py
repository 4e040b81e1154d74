"""The server behind all proxies of :mod:`benchmarks.upstream`: as cheap as Python can be.

``python -m benchmarks.upstream_origin PORT``. ``GET /answer/1000`` is answered with 1000 bytes and
the headers of a usual page, head and body in one piece.
"""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from typing import cast

HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "Server: origin\r\n"
    "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Length: {}\r\n"
    "Cache-Control: private, max-age=0\r\n"
    'ETag: "5f3c-61a2b"\r\n'
    "Vary: Accept-Encoding\r\n"
    "\r\n"
)


@cache
def answer(path: bytes) -> bytes:
    """The answer to a path that ends with a length."""
    length = int(path.partition(b"?")[0].rpartition(b"/")[2])
    return HEAD.format(length).encode() + b"x" * length


class Answering(asyncio.Protocol):
    """Reads requests without bodies."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._held = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._held = (self._held + data).split(b"\r\n\r\n")
        for head in heads:
            self._transport.write(answer(head.split(b" ", 2)[1]))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
